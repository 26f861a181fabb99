"""The files of a complete dataset, and whether each still exists with its size.

Their sizes are written just before `dataset_info.json`, so that checking a complete dataset costs one listing. A
dataset without that file (older versions wrote none) is read once, and gets it.
"""

from __future__ import annotations

from collections.abc import Mapping

from beam_pipelines.encoding import ledger
from job_runtime import file_sizes, storage
from job_runtime.file_sizes import FileSizes
from midi_codec.dataset import dataset_info, tfrecord_framing
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo

SIZES = "file_sizes.json"
INPUT_HASHES = "input_hashes.npy"  # [m, 2] uint64, ascending: the inputs that a dataset accounts for
LEDGERS = (*map(ledger.file_name, ledger.KINDS), INPUT_HASHES)


def names(info: DatasetInfo) -> set[str]:
    """All files except `dataset_info.json`, `run_info.json` and the file of sizes."""
    return {*LEDGERS, *_shards(info)}


def _shards(info: DatasetInfo) -> dict[str, int]:
    """How many records each shard holds, by name."""
    shards: dict[str, int] = {}
    for split in SPLITS:
        lengths = info.splits[split].shard_lengths
        shards |= {dataset_info.shard_name(split, index, len(lengths)): num for index, num in enumerate(lengths)}
    return shards


def write_sizes(output: str, info: DatasetInfo) -> None:
    """Writes the sizes of the files as they are now.

    Raises:
      RuntimeError: something is missing.
    """
    there = file_sizes.list_sizes(output)
    if missing := sorted(names(info) - there.keys()):
        raise RuntimeError(f"{storage.join(output, missing[0])} disappeared during the run; start the command again")
    sizes = FileSizes(work=info.hash, files={name: there[name] for name in names(info)})
    storage.write_bytes(storage.join(output, SIZES), sizes.to_json())


def find_damage(output: str, info: DatasetInfo) -> Mapping[str, str]:
    """What is wrong with each damaged file: `is missing`, or another size."""
    there = file_sizes.list_sizes(output)
    try:
        sizes = FileSizes.from_json(storage.read_bytes(storage.join(output, SIZES)))
    except (FileNotFoundError, IsADirectoryError):
        sizes = None
    if sizes is not None and sizes.work == info.hash:
        return sizes.differences(there)
    damage = {name: "is missing" for name in sorted(names(info) - there.keys())}
    for name, num_records in _shards(info).items():
        if name not in damage and (problem := _problem_of_shard(storage.join(output, name), num_records)):
            damage[name] = problem
    if not damage:
        write_sizes(output, info)
    return damage


def _problem_of_shard(path: str, num_records: int) -> str | None:
    try:
        num_found = sum(1 for _ in tfrecord_framing.read_records(storage.read_bytes(path)))
    except ValueError as error:
        return f"is damaged ({error})"
    return None if num_found == num_records else f"holds {num_found:,} records, want {num_records:,}"


def describe(damage: Mapping[str, str], *, at_most: int = 5) -> str:
    """`train-00000-of-00001.tfrecord is missing; ... and 3 more`."""
    shown = [f"{name} {problem}" for name, problem in list(damage.items())[:at_most]]
    more = len(damage) - len(shown)
    return "; ".join(shown) + (f" and {more:,} more" if more else "")
