"""The pieces of a dataset's split, one after another."""

from __future__ import annotations

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
    paths = dataset_info.shard_paths(root, info, split)
    pieces: Iterable[Piece] = (piece for path in paths for piece in records.read_pieces(path, time_base=info.time_base))
    if label is not None:
        pieces = progress(pieces, total=info.splits[split].num_pieces, unit=f"{split} pieces", label=label)
    try:
        yield from pieces
    except (OSError, ValueError) as error:
        raise UserError(f"{root!r} cannot be read: {error}") from error
