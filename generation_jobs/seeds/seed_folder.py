"""A folder of MIDI files, or a bucket's prefix, as a seed list: every file is a seed that continues all of it.

A seed's id depends only on its file's path below the folder, so it does not change when other files come or go: the
file's name for people, and a hash of the path so that `a/x.mid`, `b/x.mid` and `x.midi` differ.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from job_runtime import storage
from midi_codec.midi.midi_header import EXTENSIONS

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_]+")
_NAME_LENGTH = 60
_HASH_LENGTH = 10


def read(folder: str) -> tuple[list[dict[str, Any]], str]:
    """A record per MIDI file, sorted by path, and a hash of the paths below the folder (32 hex digits).

    A record's `midi` is relative to the folder. Other files are skipped.

    Raises:
      FileNotFoundError, UserError: as `storage.list_files`.
    """
    root = folder if folder.endswith("/") else f"{folder}/"
    paths = [entry.path for entry in storage.list_files(root) if entry.path.lower().endswith(EXTENSIONS)]
    below = [path.removeprefix(root) for path in paths]
    digest = hashlib.sha256("\0".join(below).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return [{"id": make_id(path, _hash(path)), "midi": path} for path in below], digest


def make_id(path: str, digest: str) -> str:
    """A safe name: the file's name without its extension, and the first digits of a hash."""
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    name = _NOT_IN_IDS.sub("-", stem).strip("-")[:_NAME_LENGTH]
    return f"{name or 'piece'}-{digest[:_HASH_LENGTH]}"


def _hash(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
