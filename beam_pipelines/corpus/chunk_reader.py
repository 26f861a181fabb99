"""Reads the inputs of a chunk: each gives its bytes, or the reason why it has none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.archives import archive_reader
from beam_pipelines.corpus.chunks import Container, Item, Row, too_large
from job_runtime import io_errors, storage

FETCHED_AHEAD_BYTES = 1 << 20  # the largest archive that is fetched before its turn


def read(chunk: bytes, *, max_bytes: int) -> Iterator[Item]:
    """Every input of the chunk, once. No more than `max_bytes` of any input is read.

    Raises:
      UserError: credentials are missing or refused, or there is no such bucket.
    """
    groups = itertools.groupby(chunks.unpack(chunk), key=lambda each: each[0])
    groups_of_rows = ((container, [row for _, row in group]) for container, group in groups)
    for container, rows, archive in storage.map_in_threads(_open, groups_of_rows, is_slow=_is_fetched_ahead):
        if archive is None:
            yield from _read_files(container, rows, max_bytes)
        else:
            yield from archive_reader.read_members(archive, container, rows, max_bytes)


def _open(inputs: tuple[Container, list[Row]]) -> tuple[Container, list[Row], BinaryIO | OSError | None]:
    container, rows = inputs
    return container, rows, None if container.kind == chunks.FOLDER else archive_reader.open_archive(container)


def _is_fetched_ahead(inputs: tuple[Container, list[Row]]) -> bool:
    """Whether opening it costs only a request and little memory, as when each song has an archive of its own."""
    container = inputs[0]
    is_remote_archive = container.kind != chunks.FOLDER and storage.is_remote(container.path)
    return is_remote_archive and container.size <= FETCHED_AHEAD_BYTES


def _read_files(container: Container, rows: Sequence[Row], max_bytes: int) -> Iterator[Item]:
    wanted = (container.path + row.name for row in rows if not _is_refused(row, max_bytes))
    answers = storage.read_many(wanted, max_bytes=max_bytes)
    for row in rows:
        source = chunks.source_of(container, row)
        if row.reason:
            yield Item(source, None, row.size, row.reason, row.message)
        elif row.size > max_bytes:
            yield Item(source, None, row.size, *too_large(row.size, max_bytes))
        else:
            yield _answered(source, row, next(answers), max_bytes)


def _is_refused(row: Row, max_bytes: int) -> bool:
    return bool(row.reason) or row.size > max_bytes


def _answered(source: str, row: Row, answer: bytes | OSError, max_bytes: int) -> Item:
    if isinstance(answer, OSError):
        return Item(source, None, row.size, "unreadable", f"the file cannot be read: {io_errors.reason(answer)}")
    if len(answer) > max_bytes:  # it has grown since it was listed, or its size was not known
        return Item(source, None, len(answer), *too_large(len(answer), max_bytes))
    return Item(source, answer, len(answer))
