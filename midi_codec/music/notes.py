"""A piece of music as columns.

    pitch      [n] uint8   0..127
    velocity   [n] uint8   1..127
    start      [n] int32   ticks of the grid, from the start of the piece
    duration   [n] int32   ticks of the grid; 0 is allowed, some files have such notes
    program    [n] uint8   0..127 General MIDI, 128 for drums

Notes are always in the total order (start, pitch, program, duration, velocity), so that equal music has equal columns,
whatever the order of the tracks in a file. A tick is 1 ms (`milliseconds`) or 1/24 of a quarter note (`beats`). The
order and the hash in `piece_id` are part of the dataset format.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from midi_codec.music import note_order
from midi_codec.music.signatures import Signatures

if TYPE_CHECKING:
    import pretty_midi

MILLISECONDS = "milliseconds"
BEATS = "beats"
TIME_BASES = (MILLISECONDS, BEATS)
TICKS_PER_SECOND = 1000  # of the milliseconds grid
TICKS_PER_BEAT = 24  # of the beats grid: divides into halves, thirds, quarters, sixths, eighths
DRUM_PROGRAM = 128
DEFAULT_TEMPO = 120.0  # of a MIDI file without a tempo event
MAX_TEMPO_MICROSECONDS = 0xFFFFFF  # a tempo event holds microseconds per quarter note in 24 bits

COLUMN_DTYPES = {
    "pitch": np.uint8,
    "velocity": np.uint8,
    "start": np.int32,
    "duration": np.int32,
    "program": np.uint8,
}
ORDER = ("start", "pitch", "program", "duration", "velocity")  # of notes: by start first
COLUMN_RANGES = {
    "pitch": (0, 127),
    "velocity": (1, 127),
    "start": (0, 2**31 - 1),
    "duration": (0, 2**31 - 1),
    "program": (0, DRUM_PROGRAM),
}

_INTEGER_RANGES = {
    np.dtype(kind): (np.iinfo(kind).min, np.iinfo(kind).max)
    for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
}


def canonical_tempo(microseconds_per_quarter: int) -> float:
    """Quarter notes per minute, rounded to float32: a value that survives both a record and a MIDI file."""
    return float(np.float32(60e6 / microseconds_per_quarter))


def canonical_tempos(microseconds_per_quarter: np.ndarray) -> np.ndarray:
    """`canonical_tempo` of each, float64."""
    return (60e6 / microseconds_per_quarter).astype(np.float32).astype(np.float64)


def tempo_to_microseconds(tempo: float) -> int:
    """Microseconds per quarter note, as in a MIDI tempo event.

    Raises:
      ValueError: the tempo does not fit a tempo event.
    """
    if not tempo > 0:  # written so that NaN fails too
        raise ValueError(f"tempo is {tempo}, want quarter notes per minute above 0")
    microseconds = round(60e6 / tempo)
    if not 1 <= microseconds <= MAX_TEMPO_MICROSECONDS:
        raise ValueError(f"tempo is {tempo}, want {60e6 / MAX_TEMPO_MICROSECONDS:.2f} to 60e6")
    return microseconds


def _within(values: np.ndarray, low: int, high: int) -> bool:
    """Whether all values are in the range; checks only the bounds that the dtype does not guarantee."""
    lowest, highest = _INTEGER_RANGES.get(values.dtype, (-np.inf, np.inf))
    return bool((lowest >= low or values.min() >= low) and (highest <= high or values.max() <= high))


def check_columns(columns: Mapping[str, np.ndarray]) -> None:
    """Checks the lengths and the ranges of all five columns.

    Raises:
      ValueError: lengths differ, or a value is out of range; the message names column, index and value.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"columns differ in length: {lengths}")
    for name, values in columns.items():
        low, high = COLUMN_RANGES[name]
        if values.size and not _within(values, low, high):
            index = int(np.flatnonzero(~((values >= low) & (values <= high)))[0])  # also finds NaN
            raise ValueError(f"{name}[{index}] is {values[index]}, want {low} to {high}")


def seconds_per_tick(time_base: str, tempo: float) -> float:
    """The length of a tick of a grid, at `tempo` quarter notes per minute."""
    if time_base == MILLISECONDS:
        return 1.0 / TICKS_PER_SECOND
    return 60.0 / tempo / TICKS_PER_BEAT


def ticks_per_quarter(time_base: str, tempo: float) -> float:
    """The ticks of a grid per quarter note, at `tempo` quarter notes per minute."""
    return TICKS_PER_BEAT if time_base == BEATS else TICKS_PER_SECOND * 60.0 / tempo


@dataclasses.dataclass(frozen=True, eq=False)
class Notes:
    """One piece: columns of equal length in the total order, and what converts ticks to seconds.

    Make one with `Notes.from_columns`, which checks and sorts. `tempo` is in quarter notes per minute at the start of
    the piece; lengths in seconds depend on it only on the `beats` grid. Pieces that differ only in `signatures`, which
    say how the music is written down, are equal.
    """

    pitch: np.ndarray
    velocity: np.ndarray
    start: np.ndarray
    duration: np.ndarray
    program: np.ndarray
    tempo: float = DEFAULT_TEMPO
    time_base: str = MILLISECONDS
    signatures: Signatures = Signatures()

    @classmethod
    def from_columns(
        cls,
        *,
        pitch: np.ndarray,
        velocity: np.ndarray,
        start: np.ndarray,
        duration: np.ndarray,
        program: np.ndarray,
        tempo: float = DEFAULT_TEMPO,
        time_base: str = MILLISECONDS,
    ) -> Notes:
        """Checks ranges, converts to the column dtypes and sorts.

        Raises:
          ValueError: lengths differ, or a value is out of range; the message names column, index and value.
        """
        if time_base not in TIME_BASES:
            raise ValueError(f"time_base is {time_base!r}, want one of {', '.join(TIME_BASES)}")
        arguments = {"pitch": pitch, "velocity": velocity, "start": start, "duration": duration, "program": program}
        columns = {name: np.asarray(values) for name, values in arguments.items()}
        check_columns(columns)
        typed = [columns[name].astype(COLUMN_DTYPES[name], order="C", copy=False) for name in ORDER]
        ordered = note_order.sort_pieces(typed, np.array([0, len(typed[0])]))
        in_order: dict[str, Any] = dict(zip(ORDER, ordered, strict=True))
        return cls(**in_order, tempo=tempo, time_base=time_base)

    @classmethod
    def empty(cls, time_base: str) -> Notes:
        """A piece without a note."""
        columns: dict[str, Any] = {name: np.zeros(0, dtype) for name, dtype in COLUMN_DTYPES.items()}
        return cls(**columns, time_base=time_base)

    def __len__(self) -> int:
        return len(self.pitch)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Notes):
            return NotImplemented
        same_time = self.tempo == other.tempo and self.time_base == other.time_base
        return same_time and all(np.array_equal(getattr(self, c), getattr(other, c)) for c in COLUMN_DTYPES)

    __hash__ = None  # type: ignore[assignment]  # arrays inside; use `piece_id`

    @property
    def end(self) -> np.ndarray:
        """`[n]` int64, the tick at which each note ends."""
        return self.start.astype(np.int64) + self.duration

    @property
    def step(self) -> np.ndarray:
        """`[n]` int32, ticks since the previous onset; `step[0]` is 0."""
        return np.diff(self.start, prepend=self.start[:1])

    @property
    def seconds_per_tick(self) -> float:
        return seconds_per_tick(self.time_base, self.tempo)

    @property
    def seconds(self) -> float:
        """From the start of the piece to the end of its last note."""
        return float(self.end.max() * self.seconds_per_tick) if len(self) else 0.0

    @functools.cached_property
    def piece_id(self) -> str:
        """32 hex digits, a hash of the notes from the first onset on; bytes, path and tempo do not matter."""
        digest = hashlib.sha256(self.time_base.encode())
        first = self.start[0] if len(self) else 0
        shifted = dataclasses.replace(self, start=self.start - first)
        for name in COLUMN_DTYPES:
            column = getattr(shifted, name)
            digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()[:32]

    def take(self, index: slice | np.ndarray) -> Notes:
        """The selected notes, in order if `index` is ascending; their times stay the same."""
        return dataclasses.replace(self, **{c: getattr(self, c)[index] for c in COLUMN_DTYPES})

    def from_first_onset(self) -> Notes:
        """The same notes, moved so that the first one starts at tick 0, as in datasets."""
        if not len(self):
            return self
        first = int(self.start[0])
        signatures = self.signatures.counted_from(first, ticks_per_quarter(self.time_base, self.tempo))
        return dataclasses.replace(self, start=self.start - first, signatures=signatures)

    def to_pretty_midi(self) -> pretty_midi.PrettyMIDI:
        """The same music for use with pretty_midi: times in seconds, one instrument per program."""
        import pretty_midi  # slow to import, and no job needs it

        midi = pretty_midi.PrettyMIDI(initial_tempo=self.tempo)
        for program in np.unique(self.program):
            is_drum = bool(program == DRUM_PROGRAM)
            instrument = pretty_midi.Instrument(program=0 if is_drum else int(program), is_drum=is_drum)
            rows = np.flatnonzero(self.program == program)
            starts = self.start[rows] * self.seconds_per_tick
            ends = self.end[rows] * self.seconds_per_tick
            instrument.notes = [
                pretty_midi.Note(int(self.velocity[row]), int(self.pitch[row]), start, end)
                for row, start, end in zip(rows, starts.tolist(), ends.tolist(), strict=True)
            ]
            midi.instruments.append(instrument)
        return midi

    @classmethod
    def from_pretty_midi(cls, midi: pretty_midi.PrettyMIDI, time_base: str = MILLISECONDS) -> Notes:
        """Rounds pretty_midi's seconds to the grid; halves round up.

        With `beats`, seconds are converted with the tempo at the start alone. For music with tempo changes use the
        milliseconds grid, or `midi_file.parse`.
        """
        tempos = midi.get_tempo_changes()[1]
        tempo = canonical_tempo(round(60e6 / tempos[0])) if len(tempos) else DEFAULT_TEMPO
        ticks_per_second = TICKS_PER_SECOND if time_base == MILLISECONDS else TICKS_PER_BEAT * tempo / 60.0
        rows = [
            (note.pitch, note.velocity, note.start, note.end, DRUM_PROGRAM if part.is_drum else part.program)
            for part in midi.instruments
            for note in part.notes
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        start = np.floor(table[:, 2] * ticks_per_second + 0.5).astype(np.int64)
        end = np.floor(table[:, 3] * ticks_per_second + 0.5).astype(np.int64)
        pitch, velocity, program = (table[:, column].astype(np.int64) for column in (0, 1, 4))
        return cls.from_columns(
            pitch=pitch,
            velocity=velocity,
            start=start,
            duration=end - start,
            program=program,
            tempo=tempo,
            time_base=time_base,
        )
