"""An encode as a list of work items. Each one leaves a part in the work folder, whichever engine runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.encode_chunk import Known, encode_chunk
from beam_pipelines.encoding.part_file import DamagedPartError, Part
from beam_pipelines.execution import base_dataset
from beam_pipelines.output import dataset_files, output_folder
from beam_pipelines.settings.encode_settings import Settings
from job_runtime import storage
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import shard_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkItem:
    """Either a chunk of inputs, or a shard of the older dataset: its split and path."""

    chunk: bytes = b""
    shard: tuple[str, str] = ("", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """What every step needs to know. It is small enough to be sent to every worker."""

    output: str
    settings: Settings
    splits: tuple[str, ...]  # those that get shards
    num_inputs: int
    other_files: int
    claim: str = ""  # the key under which this run holds the output folder; "" if it holds no claim

    def file_names(self) -> set[str]:
        """The files of the finished dataset, except `dataset_info.json` and `run_info.json`."""
        num = self.settings.num_shards
        names = {shard_name(split, index, num) for split in self.splits for index in range(num)}
        return names | {*dataset_files.LEDGERS}

    def part_key(self, item: WorkItem) -> str:
        """The name of the part of a work item: 32 hex digits."""
        return self.settings.part_key(item.chunk or f"shard {item.shard[0]} {item.shard[1]}".encode())

    def part_path(self, item: WorkItem) -> str:
        """Where the part of a work item is written."""
        return self.path_of_part(self.part_key(item))

    def path_of_part(self, key: str) -> str:
        return storage.join(output_folder.work_folder(self.output), f"{key}.part")

    def ensure_part(
        self, item: WorkItem, *, known: Known, on_files: Callable[[int], None] = lambda _: None
    ) -> tuple[str, Part]:
        """Makes the part of a work item, unless an earlier run has made it.

        Args:
          on_files: called with the number of files after each batch; may raise to stop.

        Returns:
          The part's path and its header.
        """
        path = self.part_path(item)
        part = _read_finished(path)
        if part is not None:
            on_files(part.num_listed)
            return path, part
        if item.chunk:
            part, records = encode_chunk(item.chunk, self.settings, known=known, on_files=on_files)
        else:
            part, records = base_dataset.encode_shard(*item.shard, self.settings)
        part, packed = part_file.pack(part, records)
        storage.write_bytes(path, packed, durable=False)
        return path, part


def _read_finished(path: str) -> Part | None:
    """The header of a part that need not be made again; None if there is no such part."""
    size = storage.size(path)
    if size is None:
        return None
    try:
        part = part_file.read_header(path, size=size)
    except (DamagedPartError, FileNotFoundError):  # damaged by a crash of the machine, or just deleted
        return None
    has_unreadable = any(reject.reason == "unreadable" for reject in part.rejects)  # worth another attempt
    return None if has_unreadable else part


def list_work_items(corpus: Corpus, settings: Settings) -> list[WorkItem]:
    """All work items of an encode, in an order that follows from the inputs and settings."""
    items = [WorkItem(chunk=chunk) for chunk in corpus.chunks]
    if settings.base:
        items += [WorkItem(shard=shard) for shard in base_dataset.shards_of(settings.base)]
    return items


def check_complete(num_listed: int, job: EncodeJob) -> None:
    """Checks that the parts account for every input that was listed.

    Raises:
      RuntimeError: they do not, which would be a fault of this program.
    """
    if num_listed != job.num_inputs:
        raise RuntimeError(f"{job.num_inputs:,} inputs were listed and the parts account for {num_listed:,}")


def make_job(corpus: Corpus, settings: Settings, output: str) -> EncodeJob:
    """The job that encodes a corpus; shards of the older dataset keep their splits."""
    splits = settings.split_rule.splits_of(corpus.sources())
    if settings.base:
        old = {split for split, _ in base_dataset.shards_of(settings.base)}
        splits = tuple(split for split in dataset_info.SPLITS if split in {*splits, *old})
    return EncodeJob(
        output=output, settings=settings, splits=splits, num_inputs=corpus.num_inputs, other_files=corpus.other_files
    )
