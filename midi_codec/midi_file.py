"""MIDI bytes to `Notes`, and `Notes` to MIDI bytes.

Reading: `midi_header` walks over the chunks; `symusic_reader` reads the events, or `track_reader` where
symusic might misread them; `midi_ticks` puts them on the grid. docs/midi.md lists every rule.
Writing: `midi_writer`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from midi_codec import midi_ticks, symusic_reader, track_reader
from midi_codec.midi_header import Limits, MidiError, read_header
from midi_codec.midi_writer import serialize
from midi_codec.note_batch import NoteBatch
from midi_codec.notes import MILLISECONDS, TIME_BASES, Notes

__all__ = ["DEFAULT_LIMITS", "Limits", "MidiError", "Parsed", "parse", "parse_many", "serialize"]

DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True, eq=False)
class Parsed:
    """What became of some files: each is a piece of the batch, or has an error."""

    batch: NoteBatch
    rows: np.ndarray  # [pieces] int64, ascending: piece i was read from datas[rows[i]]
    errors: dict[int, MidiError]  # by index in datas
    rungs: dict[int, str]  # by index in datas: how a file was salvaged that strict reading refuses


def parse(data: bytes, *, time_base: str = MILLISECONDS, limits: Limits = DEFAULT_LIMITS) -> Notes:
    """Reads a file's notes; times as in the file, leading silence kept.

    `tempo` of the result is the one in force at the first onset.

    Raises:
      MidiError: a file we cannot use; its `reason` says which of the rules in docs/midi.md it breaks.
    """
    if time_base not in TIME_BASES:
        raise ValueError(f"time_base is {time_base!r}, want one of {', '.join(TIME_BASES)}")
    header = read_header(data, limits)
    ticks = symusic_reader.read(data, header, limits) or track_reader.read(data, header, limits)
    return midi_ticks.to_notes(ticks, division=header.division, time_base=time_base, limits=limits)


def parse_many(
    datas: Sequence[bytes],
    *,
    time_base: str = MILLISECONDS,
    limits: Limits = DEFAULT_LIMITS,
    apply_sustain: bool = False,
    salvage: bool = True,
) -> Parsed:
    """Reads many files; each gives what `parse` gives, whatever the others hold."""
    pieces, rows, errors = [], [], {}
    for row, data in enumerate(datas):
        try:
            pieces.append(parse(data, time_base=time_base, limits=limits))
            rows.append(row)
        except MidiError as error:
            errors[row] = error
    return Parsed(NoteBatch.from_notes(pieces, time_base), np.array(rows, np.int64), errors, {})
