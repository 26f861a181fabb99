"""Converts MIDI ticks to the grid of `Notes`, exactly.

A tick lasts (microseconds per quarter note) / division microseconds, so time multiplied by the division is a whole
number of microseconds. It fits int64 unless the file is refused as too long, so no float is needed. Halves round up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from midi_codec.midi.midi_header import Limits, MidiError
from midi_codec.midi.tempo_map import TempoMaps
from midi_codec.music import note_order, notes
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.piece_offsets import join_slices, offsets_of, reduce_pieces
from midi_codec.music.signatures import Signatures

MICROSECONDS_PER_GRID_TICK = 1_000_000 // notes.TICKS_PER_SECOND  # of the milliseconds grid
BEAT_FACTOR = 2 * notes.TICKS_PER_BEAT
MAX_SCALED = 2**62  # leaves room in int64 for what is added before rounding
MAX_GRID_TICK = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TickNotes:
    """The notes and tempos of a file, in its own ticks; the notes in any order."""

    start: np.ndarray  # [n] int64
    end: np.ndarray  # [n] int64
    pitch: np.ndarray  # [n]
    velocity: np.ndarray  # [n]
    program: np.ndarray  # [n]
    tempo_ticks: np.ndarray  # [m] int64, ascending; of several at one tick the last counts
    tempo_microseconds: np.ndarray  # [m] int64, per quarter note; above 0
    signatures: Signatures = Signatures()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TickBatch:
    """`TickNotes` of several files, one after the other."""

    start: np.ndarray  # [total] int32 or int64
    end: np.ndarray  # [total] int32 or int64
    pitch: np.ndarray  # [total] uint8
    velocity: np.ndarray  # [total] uint8
    program: np.ndarray  # [total] uint8
    offsets: np.ndarray  # [files + 1] int64: file i has the notes offsets[i] to offsets[i + 1]
    tempo_ticks: np.ndarray  # [changes] int64
    tempo_microseconds: np.ndarray  # [changes] int64
    tempo_offsets: np.ndarray  # [files + 1] int64, the same for the tempos
    divisions: np.ndarray  # [files] int64, ticks per quarter note
    signatures: Sequence[Signatures]  # [files]

    @classmethod
    def of_one(cls, ticks: TickNotes, division: int) -> TickBatch:
        """A batch of one file, its columns checked.

        Raises:
          ValueError: columns differ in length, or have impossible values.
        """
        names = ("pitch", "velocity", "program")
        columns = {name: getattr(ticks, name) for name in names}
        duration = np.minimum(ticks.end - ticks.start, MAX_GRID_TICK)  # a file's own ticks may be larger
        notes.check_columns({**columns, "start": ticks.start * 0, "duration": duration})
        return cls(
            start=ticks.start,
            end=ticks.end,
            **{name: column.astype(np.uint8, copy=False) for name, column in columns.items()},
            offsets=offsets_of([len(ticks.start)]),
            tempo_ticks=ticks.tempo_ticks,
            tempo_microseconds=ticks.tempo_microseconds,
            tempo_offsets=offsets_of([len(ticks.tempo_ticks)]),
            divisions=np.array([division], np.int64),
            signatures=[ticks.signatures],
        )

    def __len__(self) -> int:
        return len(self.divisions)

    @functools.cached_property
    def first_ticks(self) -> np.ndarray:
        """`[files]` int64, the earliest start; 0 for a file without notes."""
        return reduce_pieces(np.minimum, self.start, self.offsets).astype(np.int64)

    @functools.cached_property
    def last_ticks(self) -> np.ndarray:
        """`[files]` int64, the latest end; 0 for a file without notes."""
        return reduce_pieces(np.maximum, self.end, self.offsets).astype(np.int64)

    def take(self, rows: np.ndarray | Sequence[int]) -> TickBatch:
        """The files `rows`, in that order."""
        rows = np.asarray(rows, np.int64)
        names = ("start", "end", "pitch", "velocity", "program")
        tempo_names = ("tempo_ticks", "tempo_microseconds")
        return TickBatch(
            **{name: join_slices(getattr(self, name), self.offsets, rows) for name in names},
            **{name: join_slices(getattr(self, name), self.tempo_offsets, rows) for name in tempo_names},
            offsets=offsets_of(np.diff(self.offsets)[rows]),
            tempo_offsets=offsets_of(np.diff(self.tempo_offsets)[rows]),
            divisions=self.divisions[rows],
            signatures=[self.signatures[row] for row in rows.tolist()],
        )


def to_batch(ticks: TickBatch, *, time_base: str, limits: Limits) -> tuple[NoteBatch, np.ndarray, dict[int, MidiError]]:
    """Converts notes to the grid. Onsets and ends are rounded independently, so errors do not add up.

    Returns:
      The pieces, the file of each piece (ascending), and by file the errors of the others: `no_notes`,
      `too_many_notes`, `too_many_tempo_changes`, `too_long`.
    """
    tempo_maps = TempoMaps(ticks.tempo_ticks, ticks.tempo_microseconds, ticks.tempo_offsets)
    errors = _find_errors(ticks, tempo_maps, time_base, limits)
    files = np.array([index for index in range(len(ticks)) if index not in errors], np.int64)
    if errors:
        ticks = ticks.take(files)
        tempo_maps = TempoMaps(ticks.tempo_ticks, ticks.tempo_microseconds, ticks.tempo_offsets)
    start, duration = _to_grid(ticks, tempo_maps, time_base)
    signatures = [_signatures_to_grid(index, ticks, tempo_maps, time_base) for index in range(len(ticks))]
    columns = [start, ticks.pitch, ticks.program, duration, ticks.velocity]
    ordered = note_order.sort_pieces(columns, ticks.offsets)
    batch = NoteBatch(
        **dict(zip(notes.ORDER, ordered, strict=True)),
        offsets=ticks.offsets,
        tempo=tempo_maps.tempo_at(ticks.first_ticks),
        time_base=time_base,
        signatures=signatures,
    )
    return batch, files, errors


def to_notes(ticks: TickNotes, *, division: int, time_base: str, limits: Limits) -> notes.Notes:
    """`to_batch` of one file.

    Raises:
      MidiError: as there, for the file.
    """
    batch, _, errors = to_batch(TickBatch.of_one(ticks, division), time_base=time_base, limits=limits)
    if errors:
        raise errors[0]
    return batch.piece(0)


def _find_errors(ticks: TickBatch, tempo_maps: TempoMaps, time_base: str, limits: Limits) -> dict[int, MidiError]:
    """By file, the first rule that it breaks. Values that later rules use may have overflowed by then."""
    lengths, num_changes, last = np.diff(ticks.offsets), np.diff(ticks.tempo_offsets), ticks.last_ticks
    beyond_clocks = last > MAX_SCALED // tempo_maps.slowest
    scaled = tempo_maps.scaled_at(last)
    seconds = scaled / ticks.divisions / 1e6
    units = _units(ticks.divisions, time_base)
    last_on_grid = ((last * BEAT_FACTOR if time_base == notes.BEATS else scaled) + units // 2) // units
    checks: list[tuple[np.ndarray, str, Callable[[int], str]]] = [
        (lengths == 0, "no_notes", lambda i: "the file holds no note"),
        (
            lengths > limits.max_notes,
            "too_many_notes",
            lambda i: f"{lengths[i]:,} notes, want at most {limits.max_notes:,}",
        ),
        (
            num_changes > limits.max_tempo_changes,
            "too_many_tempo_changes",
            lambda i: f"{num_changes[i]:,} tempo changes, want at most {limits.max_tempo_changes:,}",
        ),
        (beyond_clocks, "too_long", lambda i: f"ends at tick {last[i]:,}, too late to convert to time"),
        (
            seconds > limits.max_seconds,
            "too_long",
            lambda i: f"lasts {seconds[i]:,.0f} s, want at most {limits.max_seconds:,.0f}",
        ),
        (
            last_on_grid > MAX_GRID_TICK,
            "too_long",
            lambda i: f"ends at tick {last_on_grid[i]:,} of the grid, want at most {MAX_GRID_TICK:,}",
        ),
    ]
    errors: dict[int, MidiError] = {}
    for is_broken, reason, message in checks:
        for index in is_broken.nonzero()[0].tolist():
            errors.setdefault(index, MidiError(reason, message(index)))
    return errors


def _units(divisions: np.ndarray, time_base: str) -> np.ndarray:
    """`[files]` the divisors: for ticks times BEAT_FACTOR, or for microseconds times the division."""
    return divisions * (2 if time_base == notes.BEATS else MICROSECONDS_PER_GRID_TICK)


def _to_grid(ticks: TickBatch, tempo_maps: TempoMaps, time_base: str) -> tuple[np.ndarray, np.ndarray]:
    """`[total]` int32 each, starts and durations on the grid.

    Handles one file at a time, starts and ends together, so that the 64-bit numbers stay in the nearest cache.
    """
    start, duration = np.empty((2, len(ticks.start)), np.int32)
    offsets, stretches = ticks.offsets.tolist(), tempo_maps.offsets.tolist()
    room = np.empty(2 * int(np.diff(ticks.offsets).max(initial=0)), np.int64)
    for index, unit in enumerate(_units(ticks.divisions, time_base).tolist()):
        begin, stop = offsets[index], offsets[index + 1]
        times = room[: 2 * (stop - begin)]
        starts, ends = times[: stop - begin], times[stop - begin :]
        starts[:] = ticks.start[begin:stop]
        ends[:] = ticks.end[begin:stop]
        if time_base == notes.BEATS:
            times *= BEAT_FACTOR
        else:
            tempo_maps.scale(times, stretches[index], stretches[index + 1])
        times += unit // 2
        times //= unit
        ends -= starts
        start[begin:stop] = starts
        duration[begin:stop] = ends
    return start, duration


def _signatures_to_grid(index: int, ticks: TickBatch, tempo_maps: TempoMaps, time_base: str) -> Signatures:
    """The signatures of one file up to its last note, rounded as notes are."""
    own = ticks.signatures[index].until(int(ticks.last_ticks[index]))
    if not any(own.ticks):  # as in most files
        return own
    times = np.array(own.ticks, np.int64)
    if time_base == notes.BEATS:
        times *= BEAT_FACTOR
    else:
        tempo_maps.scale(times, *tempo_maps.offsets[index : index + 2].tolist())
    unit = _units(ticks.divisions[index : index + 1], time_base)[0]
    return own.map_ticks(((times + unit // 2) // unit).tolist())
