"""Small field tables, pieces and datasets for tests of the trainer and the decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from job_runtime import storage
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import (
    COLUMNS,
    SPLITS,
    DatasetInfo,
    Histogram,
    SplitInfo,
)
from midi_codec.dataset.labels import LabelCounts, Vocabulary
from midi_codec.fields import CATEGORICAL, CATEGORY, MAX_TICK, TIME, FieldSpec, FieldTable
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes

STEP_EDGES = (0, 1, 5, 20, 31, MAX_TICK + 1)
ALL_PITCHES = tuple(range(128))  # what a context wants
DURATION_EDGES = (0, 10, 40, 61, MAX_TICK + 1)


def make_table(
    *, timing_loss: str = CATEGORICAL, programs: tuple[int, ...] = (), pitches: tuple[int, ...] = (60, 62, 65)
) -> FieldTable:
    """Five step bins, three pitches, four duration bins, two velocities, and a program where there are any.

    The last bin of each time holds what no training note has.
    """
    fields = [
        FieldSpec(name="step", kind=TIME, edges=STEP_EDGES, largest=30, loss=timing_loss, scale=8.0),
        FieldSpec(name="pitch", kind=CATEGORY, values=pitches),
        FieldSpec(name="duration", kind=TIME, edges=DURATION_EDGES, largest=60, loss=timing_loss, scale=20.0),
        FieldSpec(name="velocity", kind=CATEGORY, values=(40, 90)),
    ]
    if programs:
        fields.append(FieldSpec(name="program", kind=CATEGORY, values=programs))
    return FieldTable(tuple(fields), MILLISECONDS, None if programs else 0)


COMPOSER = Vocabulary(name="composer", values=("Bach", "Mozart"))
LIVE = Vocabulary(name="live", values=("yes",))


def make_labels(number: int) -> dict[str, str]:
    """Labels for a table with `COMPOSER` and `LIVE`; some are unknown, or no value of the table."""
    composer = ("Bach", "Mozart", "Haydn", "")[number % 4]
    return {**({"composer": composer} if composer else {}), **({"live": "yes"} if number % 3 else {})}


def make_notes(number: int, *, num_notes: int) -> Notes:
    """A piece that fits `make_table()`, another for each number; a melody, so that there is something to learn."""
    rng = np.random.default_rng(number)
    steps = rng.choice([3, 8, 8, 25], num_notes)
    return Notes.from_columns(
        pitch=np.array([60, 62, 65, 62])[(np.arange(num_notes) + number) % 4],
        velocity=rng.choice([40, 90], num_notes),
        start=np.cumsum(steps) - steps[:1].sum(),
        duration=rng.choice([5, 20, 55], num_notes),
        program=np.zeros(num_notes, np.int64),
    )


def make_many(lengths: Sequence[int]) -> list[Notes]:
    return [make_notes(number, num_notes=length) for number, length in enumerate(lengths)]


PIECES_BY_SPLIT = {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([12, 20])}


def make_info(
    sizes: Mapping[str, tuple[int, int]], *, time_base: str = BEATS, programs: tuple[int, ...] = (0,)
) -> DatasetInfo:
    """What a dataset would say of its pieces and notes by split; without histograms."""
    return DatasetInfo.of_examples(
        time_base=time_base,
        programs=programs,
        splits={
            name: SplitInfo(num_pieces=pieces, num_notes=notes, shard_lengths=(pieces,))
            for name, (pieces, notes) in sizes.items()
        },
        histograms={name: dict.fromkeys(COLUMNS, Histogram()) for name in sizes},
    )


def _histogram(pieces: Sequence[Notes], column: str) -> Histogram:
    values = np.concatenate([getattr(notes, column) for notes in pieces] or [np.zeros(0, np.int64)])
    distinct, counts = np.unique(values, return_counts=True)
    return Histogram(values=tuple(distinct.tolist()), counts=tuple(counts.tolist()))


def write_dataset(
    root: str, splits: dict[str, list[Notes]], *, time_base: str = MILLISECONDS, has_labels: bool = False
) -> DatasetInfo:
    """A dataset folder of one shard a split, as the encode job leaves it; labels are those of `make_labels`."""
    pieces = {split: splits.get(split, []) for split in SPLITS}
    counts = LabelCounts()
    if has_labels:
        for split, notes in pieces.items():
            for index in range(len(notes)):
                counts.add(split, make_labels(index))
    info = DatasetInfo.of_examples(
        time_base=time_base,
        programs=(0,),
        splits={
            split: SplitInfo(
                num_pieces=len(notes),
                num_notes=sum(map(len, notes)),
                seconds=sum(piece.seconds for piece in notes),
                shard_lengths=(len(notes),) if notes else (),
            )
            for split, notes in pieces.items()
        },
        histograms={split: {c: _histogram(notes, c) for c in COLUMNS} for split, notes in pieces.items()},
        labels=counts.counts(),
    )
    for split, notes in pieces.items():
        examples = [
            records.serialize_example(
                records.Piece(
                    piece.piece_id,
                    piece.piece_id,
                    f"{split}-{index}.mid",
                    piece,
                    make_labels(index) if has_labels else {},
                )
            )
            for index, piece in enumerate(notes)
        ]
        if notes:
            storage.write_bytes(dataset_info.shard_paths(root, info, split)[0], records.write_records(examples))
    dataset_info.save(root, info)
    return info
