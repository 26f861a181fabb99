"""MIDI bytes to `Notes`; `midi_writer` is the inverse.

`midi_header` finds the chunks; `symusic_reader` reads the events, or `track_reader` if symusic might misread them;
`midi_ticks` converts them to the grid. docs/midi.md lists every rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from midi_codec.midi import midi_ticks
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.fast_reader import symusic_reader
from midi_codec.midi.midi_header import Header, Limits, MidiError, read_header
from midi_codec.midi.midi_ticks import TickBatch
from midi_codec.midi.salvage import salvage_reader
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, TIME_BASES, Notes

DEFAULT_LIMITS = Limits()
GROUP_BYTES = 1 << 21  # of files that are processed together, unless a single file has more


@dataclasses.dataclass(frozen=True, eq=False)
class Parsed:
    """The result for several files: each is a piece of the batch, or has an error."""

    batch: NoteBatch
    rows: np.ndarray  # [pieces] int64, ascending: piece i was read from files[rows[i]]
    errors: dict[int, MidiError]  # by index in files
    salvage_levels: dict[int, str]  # by index in files, of those that strict reading refuses


def parse(
    data: bytes,
    *,
    time_base: str = MILLISECONDS,
    limits: Limits = DEFAULT_LIMITS,
    apply_sustain: bool = False,
) -> Notes:
    """Reads the notes of a file, with times as in the file: leading silence is kept.

    The `tempo` of the result is the one at the first onset.

    Raises:
      MidiError: the file cannot be used; `reason` is the rule in docs/midi.md that it breaks.
    """
    parsed = parse_many([data], time_base=time_base, limits=limits, apply_sustain=apply_sustain, salvage=False)
    if parsed.errors:
        raise parsed.errors[0]
    return parsed.batch.piece(0)


def parse_many(
    files: Sequence[bytes],
    *,
    time_base: str = MILLISECONDS,
    limits: Limits = DEFAULT_LIMITS,
    apply_sustain: bool = False,
    salvage: bool = True,
) -> Parsed:
    """Reads many files; the result for each does not depend on the others.

    Args:
      files: the bytes of each file.
      apply_sustain: whether the sustain pedal extends notes.
      salvage: whether files that strict reading refuses go to `salvage_reader.recover`.
    """
    if time_base not in TIME_BASES:
        raise ValueError(f"time_base is {time_base!r}, want one of {', '.join(TIME_BASES)}")
    reader = _Reader(time_base, limits, apply_sustain, salvage)
    for group in _group(files):
        reader.read(group, files)
    return reader.parsed()


def _group(files: Sequence[bytes]) -> Iterator[list[int]]:
    """Indices of files that are processed together; each group fits a processor's cache."""
    rows: list[int] = []
    num_bytes = 0
    for row, data in enumerate(files):
        if rows and num_bytes + len(data) > GROUP_BYTES:
            yield rows
            rows, num_bytes = [], 0
        rows.append(row)
        num_bytes += len(data)
    if rows:
        yield rows


class _Reader:
    """Collects the results for all files."""

    def __init__(self, time_base: str, limits: Limits, apply_sustain: bool, salvage: bool):
        self._time_base, self._limits = time_base, limits
        self._apply_sustain, self._salvage = apply_sustain, salvage
        self._batches: list[NoteBatch] = []
        self._rows: list[np.ndarray] = []
        self._errors: dict[int, MidiError] = {}
        self._salvage_levels: dict[int, str] = {}

    def read(self, rows: Sequence[int], files: Sequence[bytes]) -> None:
        """Reads the files `rows`."""
        headers: dict[int, Header] = {}
        refused: dict[int, MidiError] = {}
        for row in rows:
            try:
                headers[row] = read_header(files[row], self._limits)
            except MidiError as error:
                refused[row] = error
        rows = list(headers)
        reading = symusic_reader.read_many(
            [files[row] for row in rows], list(headers.values()), self._limits, apply_sustain=self._apply_sustain
        )
        refused |= {rows[file]: error for file, error in reading.errors.items()}
        refused |= self._add(reading.ticks, [rows[file] for file in reading.files])
        for row in (rows[file] for file in reading.left):
            try:
                ticks = track_reader.read(files[row], headers[row], self._limits, apply_sustain=self._apply_sustain)
            except MidiError as error:
                refused[row] = error
            else:
                refused |= self._add(TickBatch.of_one(ticks, headers[row].division), [row])
        for row, refusal in refused.items():
            if not (self._salvage and self._try_salvage(row, files[row], refusal)):
                self._errors[row] = refusal

    def _try_salvage(self, row: int, data: bytes, error: MidiError) -> bool:
        """Adds what can be salvaged of a file that strict reading refuses; returns whether anything could."""
        try:
            recovered = salvage_reader.recover(
                data, limits=self._limits, apply_sustain=self._apply_sustain, error=error
            )
        except MidiError:
            return False
        if self._add(TickBatch.of_one(recovered.ticks, recovered.division), [row]):
            return False
        self._salvage_levels[row] = recovered.level
        return True

    def _add(self, ticks: TickBatch, rows: Sequence[int]) -> dict[int, MidiError]:
        """Adds the pieces in `ticks`, which come from the files `rows`; returns the errors of the others, by row."""
        batch, files, errors = midi_ticks.to_batch(ticks, time_base=self._time_base, limits=self._limits)
        self._batches.append(batch)
        self._rows.append(np.array(rows, np.int64)[files])
        return {rows[file]: error for file, error in errors.items()}

    def parsed(self) -> Parsed:
        """All results, in the order of the files."""
        batch = NoteBatch.join(self._batches, self._time_base)
        rows = np.concatenate([np.empty(0, np.int64), *self._rows])
        if np.any(rows[1:] < rows[:-1]):
            order = rows.argsort()
            batch, rows = batch.take(order), rows[order]
        return Parsed(batch, rows, self._errors, self._salvage_levels)
