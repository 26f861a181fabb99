"""The sizes of the files of finished work, written before the file that marks it as complete.

A restart compares them with a listing, so that work which has lost a file, or part of one, is not taken for complete.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from job_runtime import json_text, storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSizes:
    """Bytes per path, relative to the output folder; `work` identifies the work, so that no other is taken for it."""

    work: str
    files: Mapping[str, int]

    def to_json(self) -> bytes:
        return (json.dumps({"of": self.work, "files": dict(sorted(self.files.items()))}, indent=0) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileSizes | None:
        """The inverse of `to_json`; None if the data is damaged."""
        try:
            fields = json_text.parse(data)
            sizes = cls(work=fields["of"], files=fields["files"])
            is_intact = sizes.to_json() == data and all(type(size) is int for size in sizes.files.values())
            return sizes if is_intact else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def differences(self, actual: Mapping[str, int]) -> dict[str, str]:
        """What is wrong with each file that differs; `actual` is what `list_sizes` returns."""
        return {
            path: "is missing" if path not in actual else f"has {actual[path]:,} bytes, want {size:,}"
            for path, size in self.files.items()
            if actual.get(path) != size
        }


def list_sizes(root: str, folder: str = "") -> dict[str, int]:
    """Bytes of all files below a folder of `root`, by path relative to `root`; one listing."""
    start, prefix = len(storage.join(root, "x")) - 1, storage.join(root, folder).rstrip("/") + "/"
    return {entry.path[start:]: entry.size for entry in storage.list_files(prefix, missing_ok=True)}
