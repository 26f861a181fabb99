"""How large the files of finished work are: written before the file that says "complete".

A restart compares it with a listing, so that it does not call complete what has lost a file or a part of one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from job_runtime import json_text, storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSizes:
    """`files` gives bytes by path from the output folder; `of` names the work, so that nothing else is taken for it."""

    of: str
    files: Mapping[str, int]

    def to_json(self) -> bytes:
        return (json.dumps({"of": self.of, "files": dict(sorted(self.files.items()))}, indent=0) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileSizes | None:
        """The inverse; None where it is not whole itself, and says nothing."""
        try:
            fields = json_text.parse(data)
            found = cls(of=fields["of"], files=fields["files"])
            is_whole = found.to_json() == data and all(type(size) is int for size in found.files.values())
            return found if is_whole else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def differences(self, there: Mapping[str, int]) -> dict[str, str]:
        """What is wrong with each file that is not as it was; `there` as `list_sizes` gives it."""
        return {
            path: "is missing" if path not in there else f"has {there[path]:,} bytes, want {size:,}"
            for path, size in self.files.items()
            if there.get(path) != size
        }


def list_sizes(root: str, folder: str = "") -> dict[str, int]:
    """Bytes of all files below a folder of `root`, by path from `root`; one listing."""
    start, prefix = len(storage.join(root, "x")) - 1, storage.join(root, folder).rstrip("/") + "/"
    try:
        return {entry.path[start:]: entry.size for entry in storage.list_files(prefix)}
    except FileNotFoundError:
        return {}
