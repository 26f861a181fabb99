"""A split of a dataset in memory: all its pieces as columns, one after the other.

An event is a note, or the END after a piece's last note. A note takes 4 bytes a field here, so a split of a hundred
million notes takes 2 GB.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from midi_codec import dataset_info, fields, records
from midi_codec.notes import DRUM_PROGRAM, Notes
from midi_codec.progress import progress


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The events of many pieces.

    Attributes:
      raw: `[num_events, num_fields]` int32, values in the order of the field table; zeros at an END.
      first_event: `[num_pieces + 1]` int64, where each piece begins; its END is the event before the next.
      milliseconds_per_tick: `[num_pieces]` float32.
      is_drum: `[num_events]` bool, notes whose pitch names an instrument, and so must not be transposed.
      piece_id: `[num_pieces]` bytes of 32 characters.
      group: `[num_pieces]` int64, the same number for pieces of one group: near-duplicates, takes of the same music.
    """

    raw: np.ndarray
    first_event: np.ndarray
    milliseconds_per_tick: np.ndarray
    is_drum: np.ndarray
    piece_id: np.ndarray
    group: np.ndarray

    @property
    def num_pieces(self) -> int:
        return len(self.first_event) - 1

    @property
    def num_notes(self) -> int:
        return len(self.raw) - self.num_pieces

    @property
    def num_events(self) -> np.ndarray:
        """`[num_pieces]` int64, the events of each piece, END included."""
        return np.diff(self.first_event)


def stack_pieces(
    pieces: Sequence[Notes],
    table: fields.FieldTable,
    *,
    piece_ids: Sequence[str] | None = None,
    group_ids: Sequence[str] | None = None,
) -> Pieces:
    """Lays pieces out one after the other, each with its END.

    Where they are not given, `piece_ids` are made of the notes, and every piece is a group of its own.
    """
    names = [notes.piece_id for notes in pieces] if piece_ids is None else piece_ids
    groups = np.arange(len(pieces)) if group_ids is None else np.unique(group_ids, return_inverse=True)[1]
    end = np.zeros((1, len(table)), np.int32)
    blocks = [block for notes in pieces for block in (table.raw(notes), end)]
    drums = [np.append(notes.program == DRUM_PROGRAM, False) for notes in pieces]
    lengths = np.array([len(notes) + 1 for notes in pieces], np.int64)
    return Pieces(
        raw=np.concatenate(blocks) if blocks else np.zeros((0, len(table)), np.int32),
        first_event=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        milliseconds_per_tick=np.array([1000 * notes.seconds_per_tick for notes in pieces], np.float32),
        is_drum=np.concatenate(drums) if drums else np.zeros(0, bool),
        piece_id=np.array([name.encode("ascii") for name in names], "S32"),
        group=groups.astype(np.int64),
    )


def load_split(root: str, info: dataset_info.DatasetInfo, split: str, table: fields.FieldTable) -> Pieces:
    """Reads every shard of a split; pieces come in the order of the shards, so the same for any reader.

    Raises:
      ValueError: a shard is damaged; the message names it and the place.
    """
    paths = dataset_info.shard_paths(root, info, split)
    with progress(paths, unit="shard", label=f"reading {split}") as shards:
        pieces = [piece for path in shards for piece in records.read_pieces(path, time_base=info.time_base)]
    return stack_pieces(
        [piece.notes for piece in pieces],
        table,
        piece_ids=[piece.piece_id for piece in pieces],
        group_ids=[piece.group_id for piece in pieces],
    )
