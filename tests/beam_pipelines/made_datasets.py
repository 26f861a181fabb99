"""Datasets written straight from notes, for tests of what reads them."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.value_counts import ValueCounts
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DUPLICATE_KINDS, SPLITS, DatasetInfo, SplitInfo
from midi_codec.dataset.records import Piece
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, Notes

Row = tuple[str, str, str | None, Notes]  # split, source, group (None: the piece's own), notes


def make_dataset(
    root: Path,
    rows: Sequence[Row],
    *,
    rejects: Sequence[ledger.Reject] = (),
    duplicates: Sequence[ledger.Duplicate] = (),
    salvaged: Sequence[ledger.Salvaged] = (),
    time_base: str = MILLISECONDS,
    num_shards: int = 2,
) -> DatasetInfo:
    """A whole dataset: pieces go to shards in turn, sorted by id inside."""
    root.mkdir(parents=True, exist_ok=True)
    pieces = [
        (split, Piece(notes.piece_id, group or notes.piece_id, source, notes.from_first_onset()))
        for split, source, group, notes in rows
    ]
    counts, splits = ValueCounts(), {}
    for place, split in enumerate(SPLITS):
        mine = [piece for name, piece in pieces if name == split]
        counts.add(
            NoteBatch.from_notes([piece.notes for piece in mine], time_base), np.full(len(mine), place, np.uint8)
        )
        lengths = []
        for shard in range(num_shards):
            part = sorted(mine[shard::num_shards], key=lambda piece: piece.piece_id)
            data = records.write_records([records.serialize_example(piece) for piece in part])
            (root / dataset_info.shard_name(split, shard, num_shards)).write_bytes(data)
            lengths.append(len(part))
        splits[split] = SplitInfo(
            num_pieces=len(mine),
            num_notes=sum(len(piece.notes) for piece in mine),
            seconds=round(sum(piece.notes.seconds for piece in mine), 3),
            shard_lengths=tuple(lengths),
        )
    for kind, lines in zip(ledger.KINDS, (rejects, duplicates, salvaged), strict=True):
        ledger.write(str(root), kind, lines)
    info = DatasetInfo(
        time_base=time_base,
        programs=tuple(sorted({int(program) for _, piece in pieces for program in piece.notes.program})),
        splits=splits,
        inputs=len(pieces) + len(rejects) + len(duplicates),
        other_files=1,
        examples=len(pieces),
        rejects=ledger.count_reasons(rejects),
        duplicates={kind: sum(line.kind == kind for line in duplicates) for kind in DUPLICATE_KINDS},
        salvaged=dict(sorted(collections.Counter(line.rung for line in salvaged).items())),
        groups=_group_counts(pieces),
        histograms=counts.histograms(),
        settings={"num_shards": num_shards, "limits": {"max_notes": 1_000_000}, "split_percents": [90, 5, 5]},
    )
    dataset_info.save(str(root), info)
    return info


def _group_counts(pieces: Sequence[tuple[str, Piece]]) -> dict[str, int]:
    members: dict[str, list[str]] = {}
    for split, piece in pieces:
        members.setdefault(piece.group_id, []).append(split)
    tied = [splits for splits in members.values() if len(splits) > 1]
    return {
        "groups": len(tied),
        "pieces": sum(map(len, tied)),
        "largest": max(map(len, tied), default=0),
        "in_several_splits": sum(len(set(splits)) > 1 for splits in tied),
    }
