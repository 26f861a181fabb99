"""The pieces of a dataset's split, one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.records import Piece


def load_trainable(root: str) -> DatasetInfo:
    """The info of a dataset with training pieces.

    Raises:
      UserError: there is no complete dataset, or its train split is empty.
    """
    info = dataset_info.load(root)
    if not info.splits["train"].num_pieces:
        raise UserError(f"{root!r} has no piece in its train split, want at least one")
    return info


def read_split(root: str, info: DatasetInfo, split: str, *, label: str | None = None) -> Iterator[Piece]:
    """The pieces in the order of the shards; with a label, progress is shown.

    Raises:
      UserError: a shard cannot be read.
    """
    pieces: Iterable[Piece] = itertools.chain.from_iterable(read_shards(root, info, split))
    if label is not None:
        pieces = progress(pieces, total=info.splits[split].num_pieces, unit=f"{split} pieces", label=label)
    yield from pieces


def read_shards(root: str, info: DatasetInfo, split: str) -> Iterator[Iterator[Piece]]:
    """The pieces of each shard; reads a shard when its first piece is asked for.

    Raises:
      UserError: the shard cannot be read.
    """
    for path in dataset_info.shard_paths(root, info, split):
        yield _read_shard(root, path, info.time_base)


def _read_shard(root: str, path: str, time_base: str) -> Iterator[Piece]:
    try:
        yield from records.read_pieces(path, time_base=time_base)
    except (OSError, ValueError) as error:
        raise UserError(f"{root!r} cannot be read: {error}") from error
