"""An encode as a list of works, each of which leaves a part in the work folder: the same for any engine or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.encoding import part_file as parts
from beam_pipelines.encoding.encode_chunk import Known, encode_chunk
from beam_pipelines.encoding.part_file import DamagedPartError, Part
from beam_pipelines.execution import base_dataset
from beam_pipelines.output import dataset_files, output_folder
from beam_pipelines.settings.encode_settings import Settings
from job_runtime import storage
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import shard_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Either a chunk of inputs, or a shard of the older dataset: its split and path."""

    chunk: bytes = b""
    shard: tuple[str, str] = ("", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One encode: what every step needs to know, small enough to be sent to every worker."""

    output: str
    settings: Settings
    splits: tuple[str, ...]  # those that get shards
    num_inputs: int
    other_files: int
    claim: str = ""  # the key under which this run holds the output (`claim`); "": it holds none

    def file_names(self) -> set[str]:
        """What will stand in the output folder, but for `dataset_info.json` and `run_info.json`."""
        num = self.settings.num_shards
        names = {shard_name(split, index, num) for split in self.splits for index in range(num)}
        return names | {*dataset_files.LEDGERS}

    def part_path(self, work: Work) -> str:
        """Where the part of a work lies."""
        named = work.chunk or f"shard {work.shard[0]} {work.shard[1]}".encode()
        return storage.join(output_folder.work_folder(self.output), f"{self.settings.part_key(named)}.part")

    def ensure_part(
        self, work: Work, *, known: Known, on_files: Callable[[int], None] = lambda _: None
    ) -> tuple[str, Part]:
        """Makes the part of a work, unless a run before this one has.

        Args:
          on_files: told how many files are done, after each batch; may raise to stop.

        Returns:
          Its path and its head.
        """
        path = self.part_path(work)
        size = storage.size(path)
        if size is not None:
            try:
                part = parts.read_head(path, size=size)
                if not any(reject.reason == "unreadable" for reject in part.rejects):  # those are worth another try
                    on_files(part.num_listed)
                    return path, part
            except (DamagedPartError, FileNotFoundError):
                pass  # left by a crash of the machine, or just deleted; it is made again
        if work.chunk:
            part, records = encode_chunk(work.chunk, self.settings, known=known, on_files=on_files)
        else:
            part, records = base_dataset.encode_shard(*work.shard, self.settings)
        part, packed = parts.pack(part, records)
        storage.write_bytes(path, packed, durable=False)
        return path, part


def list_works(corpus: Corpus, settings: Settings) -> list[Work]:
    """All works of an encode, in an order that follows from the inputs and settings."""
    works = [Work(chunk=chunk) for chunk in corpus.chunks]
    if settings.base:
        works += [Work(shard=shard) for shard in base_dataset.shards_of(settings.base)]
    return works


def check_complete(parts: Iterable[Part], job: Job) -> None:
    """Whether the parts account for every input that was listed.

    Raises:
      RuntimeError: they do not, which no run should ever see.
    """
    num_listed = sum(part.num_listed for part in parts)
    if num_listed != job.num_inputs:
        raise RuntimeError(f"{job.num_inputs:,} inputs were listed and the parts account for {num_listed:,}")


def make_job(corpus: Corpus, settings: Settings, output: str) -> Job:
    splits = settings.split_rule.splits_of(corpus.sources())
    if settings.base:
        old = {split for split, _ in base_dataset.shards_of(settings.base)}
        splits = tuple(split for split in dataset_info.SPLITS if split in {*splits, *old})
    return Job(
        output=output, settings=settings, splits=splits, num_inputs=corpus.num_inputs, other_files=corpus.other_files
    )
