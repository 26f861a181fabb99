"""The states of the output folder: empty, then ours and incomplete, then complete.

`run_info.json` is written first and marks the folder as ours, so the files of a killed run may be deleted;
`dataset_info.json` comes last. `run_info.json` says when, where and how the encode ran, and is not covered by the
promise of equal bytes.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from beam_pipelines.settings.encode_settings import Settings
from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo

RUN_INFO = "run_info.json"
WRITER = "beam_pipelines.encode_corpus"

_SHARD = re.compile(rf"(?:{'|'.join(SPLITS)})-\d{{5}}-of-\d{{5}}\.tfrecord")
_LEDGER = re.compile(r"(?:rejects|duplicates|salvaged)-\d{5}-of-\d{5}\.jsonl")


def work_folder(output: str) -> str:
    """Where parts stay until the dataset is complete; a killed run that is started again finds them there."""
    return storage.join(output, "work")


def _too_few_path(output: str) -> str:
    return storage.join(work_folder(output), "too_few")


def mark_too_few(output: str, problems: Sequence[str]) -> None:
    """Writes a file that says that the run has ended with too few pieces for a dataset."""
    storage.write_bytes(_too_few_path(output), json.dumps(problems).encode())


def problems_of_too_few(output: str) -> list[str]:
    """What `mark_too_few` wrote.

    Raises:
      FileNotFoundError: it wrote nothing; the run did not reach its end.
    """
    return json_text.load(_too_few_path(output), list[str])


def delete_work(output: str) -> None:
    """Deletes the files that only an unfinished dataset needs, and those that killed runs left half written."""
    storage.delete_leftovers(output)
    with contextlib.suppress(OSError):  # a late task may still write there; the dataset is complete all the same
        storage.delete_folder(work_folder(output))


def find_dataset(output: str, settings: Settings) -> DatasetInfo | None:
    """The dataset of a folder with `dataset_info.json` (`dataset_files` checks its files), or None if there is none.

    Raises:
      UserError: the folder holds another dataset, or files that are not ours.
    """
    if storage.exists(output):
        raise UserError(f"--output {output} is a file, want a folder")
    if storage.exists(storage.join(output, dataset_info.FILE_NAME)):
        try:
            info = dataset_info.load(output)
        except UserError as error:
            hint = (
                f"delete {storage.join(output, dataset_info.FILE_NAME)}, and the same command makes the dataset again"
            )
            raise UserError([*error.problems, hint]) from error
        there = {"time_base": info.time_base, **info.settings}
        differences = _differences(there, {"time_base": settings.time_base, **settings.as_dict()})
        if differences:
            raise UserError(f"--output {output} holds another dataset, want another folder: {'; '.join(differences)}")
        return info
    if not _is_ours(output):
        stranger = next((path for path in _paths_in(output) if not posixpath.basename(path).startswith(".")), None)
        if stranger and not _is_ours(output):  # another task may have marked it since the first check
            raise UserError(f"--output {output} is neither empty nor a dataset: it holds {stranger}")
    return None


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} is {there.get(key)!r} there and {wanted.get(key)!r} here"
        for key in sorted({*there, *wanted})
        if there.get(key) != wanted.get(key)
    ]


def _is_ours(output: str) -> bool:
    try:
        return json_text.load(storage.join(output, RUN_INFO), dict[str, Any]).get("writer") == WRITER
    except (FileNotFoundError, UserError):
        return False


def _paths_in(output: str) -> list[str]:
    if not storage.is_folder(output):
        return []
    return [entry.path for entry in storage.list_files(output)]


def prepare(output: str, run_info: Mapping[str, Any], *, will_write: Collection[str] = ()) -> None:
    """Marks the folder as ours, then deletes files of a killed run that this one will not overwrite.

    Files that will be overwritten stay: another run of the same encode may be writing the same bytes. Parts stay too.
    """
    write_run_info(output, run_info)
    storage.delete(storage.join(output, dataset_info.FILE_NAME))  # of a damaged dataset
    storage.delete(_too_few_path(output))
    for path in _paths_in(output):
        name = path.removeprefix(output.rstrip("/") + "/")
        if name not in will_write and (_SHARD.fullmatch(name) or _LEDGER.fullmatch(name)):
            storage.delete(path)
    storage.delete_leftovers(output)


def mark(output: str, run_info: Mapping[str, Any]) -> None:
    """Marks the folder as ours, and deletes nothing: another task may be writing there."""
    if not _is_ours(output):
        write_run_info(output, run_info)


def write_run_info(output: str, run_info: Mapping[str, Any]) -> None:
    """Replaces `run_info.json`."""
    text = json.dumps({"writer": WRITER, **run_info}, indent=2) + "\n"
    storage.write_bytes(storage.join(output, RUN_INFO), text.encode())
