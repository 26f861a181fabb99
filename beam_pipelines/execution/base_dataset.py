"""Adding to an older dataset: its pieces are copied unchanged, and its inputs are not encoded again.

The older dataset is never changed: the result is a new version beside it. An input counts as known if a file of the
same name and the same bytes went into the older dataset. Inputs that it could not read are tried again.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.encode_chunk import Known, PartBuilder
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.output import dataset_files
from beam_pipelines.output.dataset_files import INPUT_HASHES
from beam_pipelines.planning.plan import Carried
from beam_pipelines.settings.encode_settings import Base, Settings
from job_runtime import storage
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo

_MAY_DIFFER = {"inputs_hash", "num_shards", "added_to", "label_file"}


def problems_with(base: Base, info: DatasetInfo, settings: Settings) -> list[str]:
    """Sentences on missing files, and on settings that would treat newcomers differently from the old pieces."""
    old = {"time_base": info.time_base, **info.settings}
    new = {"time_base": settings.time_base, **settings.as_dict()}
    names = [INPUT_HASHES, *map(ledger.file_name, ledger.KINDS)]
    missing = [name for name in names if not storage.exists(storage.join(base.path, name))]
    problems = [
        f"--add-to {base.path}: it has no {name}, so new inputs cannot be told from old ones" for name in missing
    ]
    if not missing and (damage := dataset_files.find_damage(base.path, info)):
        problems.append(
            f"--add-to {base.path} is not whole: {dataset_files.describe(damage)}; "
            "start the command that made it again to repair it"
        )
    return problems + [
        f"--add-to {base.path}: its {key} is {old.get(key)!r}, but {new.get(key)!r} is asked for; want the same"
        for key in sorted({*old, *new} - _MAY_DIFFER)
        if old.get(key) != new.get(key)
    ]


def shards_of(base: Base) -> list[tuple[str, str]]:
    """(split, path) of every shard of the older dataset."""
    info = dataset_info.load(base.path)
    return [(split, path) for split in SPLITS for path in dataset_info.shard_paths(base.path, info, split)]


def encode_shard(split: str, path: str, settings: Settings) -> tuple[Part, bytes]:
    """A shard of the older dataset as a part: its records unchanged, its pieces in their old groups.

    Raises:
      UserError: the shard is damaged; the message names it.
    """
    builder = PartBuilder(settings)
    try:
        packed = list(records.read_records(storage.read_bytes(path)))
        pieces = [records.deserialize_example(record, time_base=settings.time_base) for record in packed]
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    builder.add_old_pieces(pieces, packed, split)
    return builder.build()


def known_inputs(base: Base | None) -> Known:
    """The inputs that the older dataset accounts for; none without one."""
    if base is None:
        return Known()
    unread = frozenset(line.path for line in ledger.read(base.path, ledger.REJECTS) if line.stage == "read")
    return Known({row.tobytes() for row in _hashes(base).astype(">u8")}, unread)


def _hashes(base: Base) -> np.ndarray:
    path = storage.join(base.path, INPUT_HASHES)
    try:
        hashes = array_file.parse_array(storage.read_bytes(path))
        if hashes.dtype.kind != "u" or hashes.dtype.itemsize != 8 or hashes.ndim != 2 or hashes.shape[1] != 2:
            raise ValueError(f"it holds {hashes.dtype} of shape {hashes.shape}, want pairs of uint64")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; want the whole dataset to add to") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}; want the file as encode_corpus wrote it") from error
    return hashes


def carried(base: Base | None) -> Carried:
    """What a plan takes from the older dataset, besides its pieces."""
    if base is None:
        return Carried()
    return Carried(
        duplicates=ledger.read(base.path, ledger.DUPLICATES),
        moved_groups=dataset_info.load(base.path).moved_groups,
        contents=_hashes(base),
    )


def lines(base: Base | None, kind: str, retried: Collection[str]) -> list[ledger.Line]:
    """A ledger of the older dataset, without the inputs that it could not read and that were tried again."""
    old = ledger.read(base.path, kind) if base is not None else []
    return [line for line in old if kind != ledger.REJECTS or line.stage != "read" or line.path not in retried]
