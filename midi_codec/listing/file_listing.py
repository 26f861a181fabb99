"""The files that a path names: the file itself, everything below a folder, or what matches a glob."""

from __future__ import annotations

import os
from collections.abc import Iterator

from job_runtime import storage
from job_runtime.storage import Entry
from midi_codec.listing import glob_pattern
from midi_codec.listing.source_roots import with_slash


def open_listing(path: str) -> tuple[str, Iterator[Entry]]:
    """The folder that names start from, and the files with those that cannot be read, sorted by path, streamed.

    Raises:
      ValueError: the path cannot be listed, or is not a glob; the iterator may raise it, too.
      FileNotFoundError, UserError: as `storage.list_files`, from the iterator.
    """
    path = absolute(path)
    if glob_pattern.is_pattern(store_of(path)):
        raise ValueError("a bucket's name takes no wildcards")
    if storage.exists(path):
        return folder_of(path), storage.list_files(path)
    if not glob_pattern.is_pattern(path) or storage.is_folder(path):
        return path.rstrip("/") or "/", _list(path)
    matches = glob_pattern.compile_pattern(path).fullmatch
    may_lie_below = glob_pattern.compile_folders(path).fullmatch
    root = glob_pattern.literal_folder(path)
    entries = (
        entry
        for entry in _list(root)
        if matches(entry.path) or (entry.path.endswith("/") and may_lie_below(entry.path[:-1]))
    )
    return root, entries


def _list(folder: str) -> Iterator[Entry]:
    """All files below a folder, including those that cannot be read; the folder itself must be readable."""
    for entry in storage.list_files(folder, with_unreadable=True):
        if entry.trouble and entry.path == with_slash(folder):
            raise ValueError(f"cannot be listed: {entry.trouble}")
        yield entry


def absolute(path: str) -> str:
    """Local paths as absolute ones, so that two spellings of a file are equal; a final slash stays."""
    if "://" in path:
        return path
    return os.path.abspath(path) + ("/" if path.endswith("/") and path.strip("/") else "")


def folder_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def store_of(path: str) -> str:
    """The bucket of a path; "" for a local file."""
    scheme, separator, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else ""
