"""Several pieces as one set of columns, one piece after the other.

A NumPy call costs about a microsecond whatever the length, so work on many small pieces is done on all of them at once.
Piece i is the rows `offsets[i]` to `offsets[i + 1]`; its results never depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from midi_codec.music.notes import COLUMN_DTYPES, MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes
from midi_codec.music.piece_offsets import join_slices, offsets_of, reduce_pieces
from midi_codec.music.signatures import Signatures


@dataclasses.dataclass(frozen=True, eq=False)
class NoteBatch:
    """Pieces in the total order of `Notes`, with times as in their files: leading silence is kept.

    The columns have the dtypes of `Notes` and the length `offsets[-1]`; they are not checked here.
    """

    pitch: np.ndarray  # [total] uint8
    velocity: np.ndarray  # [total] uint8
    start: np.ndarray  # [total] int32
    duration: np.ndarray  # [total] int32
    program: np.ndarray  # [total] uint8
    offsets: np.ndarray  # [pieces + 1] int64, ascending from 0
    tempo: np.ndarray  # [pieces] float64, `Notes.tempo` of each
    time_base: str
    signatures: Sequence[Signatures]  # [pieces], with ticks from the same tick 0 as the notes

    @classmethod
    def from_notes(cls, pieces: Sequence[Notes], time_base: str) -> NoteBatch:
        """Joins pieces, one after the other.

        Raises:
          ValueError: a piece has another time base.
        """
        for index, notes in enumerate(pieces):
            if notes.time_base != time_base:
                raise ValueError(f"piece {index} has time_base {notes.time_base!r}, want {time_base!r}")
        columns = {
            name: np.concatenate([np.empty(0, dtype), *(getattr(notes, name) for notes in pieces)])
            for name, dtype in COLUMN_DTYPES.items()
        }
        offsets = offsets_of([len(notes) for notes in pieces])
        tempo = np.array([notes.tempo for notes in pieces], np.float64)
        signatures = [notes.signatures for notes in pieces]
        return cls(**columns, offsets=offsets, tempo=tempo, time_base=time_base, signatures=signatures)

    @classmethod
    def join(cls, batches: Sequence[NoteBatch], time_base: str) -> NoteBatch:
        """The pieces of several batches of this time base, in order."""
        if len(batches) == 1:
            return batches[0]
        columns = {
            name: np.concatenate([np.empty(0, dtype), *(getattr(batch, name) for batch in batches)])
            for name, dtype in COLUMN_DTYPES.items()
        }
        offsets = offsets_of(np.concatenate([np.empty(0, np.int64), *(batch.lengths for batch in batches)]))
        tempo = np.concatenate([np.empty(0), *(batch.tempo for batch in batches)])
        signatures = [each for batch in batches for each in batch.signatures]
        return cls(**columns, offsets=offsets, tempo=tempo, time_base=time_base, signatures=signatures)

    def __len__(self) -> int:
        return len(self.tempo)

    @property
    def lengths(self) -> np.ndarray:
        """`[pieces]` int64, the number of notes of each piece."""
        return np.diff(self.offsets)

    @property
    def first_onsets(self) -> np.ndarray:
        """`[pieces]` int32, the tick of each piece's first note; 0 for a piece without notes."""
        if not len(self.start):
            return np.zeros(len(self), np.int32)
        first = self.start[np.minimum(self.offsets[:-1], len(self.start) - 1)]
        return np.where(self.lengths > 0, first, np.int32(0))

    @property
    def step(self) -> np.ndarray:
        """`[total]` int32, ticks since the previous onset of the piece; 0 for a piece's first note."""
        step = np.zeros_like(self.start)
        np.subtract(self.start[1:], self.start[:-1], out=step[1:])
        step[self.offsets[:-1][self.lengths > 0]] = 0
        return step

    def piece(self, index: int) -> Notes:
        """Piece `index` as `Notes`; its columns are views."""
        begin, stop = self.offsets[index], self.offsets[index + 1]
        columns = {name: getattr(self, name)[begin:stop] for name in COLUMN_DTYPES}
        return Notes(
            **columns, tempo=float(self.tempo[index]), time_base=self.time_base, signatures=self.signatures[index]
        )

    def take(self, rows: np.ndarray | Sequence[int]) -> NoteBatch:
        """The pieces `rows`, in that order."""
        rows = np.asarray(rows, np.int64)
        columns = {name: join_slices(getattr(self, name), self.offsets, rows) for name in COLUMN_DTYPES}
        offsets = offsets_of(self.lengths[rows])
        return NoteBatch(
            **columns,
            offsets=offsets,
            tempo=self.tempo[rows],
            time_base=self.time_base,
            signatures=[self.signatures[row] for row in rows.tolist()],
        )

    def seconds(self) -> np.ndarray:
        """`[pieces]` float64, from the first onset to the last end; 0 for a piece without notes."""
        last_end = reduce_pieces(np.maximum, self.start + self.duration.astype(np.int64), self.offsets)
        if self.time_base == MILLISECONDS:
            return (last_end - self.first_onsets) * (1.0 / TICKS_PER_SECOND)
        return (last_end - self.first_onsets) * (60.0 / self.tempo / TICKS_PER_BEAT)

    def piece_ids(self) -> list[str]:
        """`Notes.piece_id` of each piece: 32 hex digits."""
        shifted = self.start - np.repeat(self.first_onsets, self.lengths)
        columns = [
            np.ascontiguousarray(column, column.dtype.newbyteorder("<")).view(np.uint8).data
            for column in (self.pitch, self.velocity, shifted, self.duration, self.program)
        ]
        widths = [np.dtype(dtype).itemsize for dtype in COLUMN_DTYPES.values()]
        bounds = self.offsets.tolist()
        ids = []
        for begin, stop in zip(bounds, bounds[1:], strict=False):
            digest = hashlib.sha256(self.time_base.encode())
            for column, width in zip(columns, widths, strict=True):
                digest.update(column[begin * width : stop * width])
            ids.append(digest.hexdigest()[:32])
        return ids
