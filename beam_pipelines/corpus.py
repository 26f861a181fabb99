"""Which files an encode reads: lists folders, prefixes and globs, and names each file.

An input is a file with a MIDI extension, in any case; other files are only counted. A file's `source` is its
path below the root, the deepest folder that holds every `--input`: for one folder that folder itself, for
`corpus/pop909` and `corpus/asap` the folder `corpus`. So a source does not depend on the order of the
inputs, no two files share one, and a file that two inputs name is taken once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence

from beam_pipelines import glob_pattern
from beam_pipelines.glob_pattern import MIDI_EXTENSIONS
from midi_codec import storage
from midi_codec.command import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """What was found, sorted by source; `storage.join(root, sources[i])` has `sizes[i]` bytes."""

    root: str
    sources: tuple[str, ...]
    sizes: tuple[int, ...]
    other_files: int

    @property
    def hash(self) -> str:
        """32 hex digits of the names and sizes of the inputs: whether two runs were given the same corpus."""
        digest = hashlib.sha256()
        for source, size in zip(self.sources, self.sizes, strict=True):
            digest.update(f"{size} {source}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]

    def chunks(self, size: int) -> Iterator[list[tuple[str, int]]]:
        """Runs of (source, bytes), `size` at a time."""
        for begin in range(0, len(self.sources), size):
            end = begin + size
            yield list(zip(self.sources[begin:end], self.sizes[begin:end], strict=True))


def find(inputs: Sequence[str], *, output: str | None = None) -> Corpus:
    """Lists every input; what lies below `output` is never one of them.

    Raises:
      UserError: an input is missing, matches nothing or holds no MIDI file; all such inputs at once.
    """
    found: dict[str, int] = {}
    others: set[str] = set()
    roots, problems = [], []
    ours = _absolute(output).rstrip("/") + "/" if output else None
    for given in sorted(set(inputs)):
        try:
            root, entries = _list(_absolute(given))
            midi = other = 0
            for entry in entries:
                if ours and entry.path.startswith(ours):
                    continue
                if entry.path.lower().endswith(MIDI_EXTENSIONS):
                    found[entry.path] = entry.size
                    midi += 1
                else:
                    others.add(entry.path)
                    other += 1
            if not midi:
                problems.append(_nothing(given, other))
            roots.append(root)
        except FileNotFoundError:
            problems.append(f"--input {given}: no such file or folder")
        except ValueError as error:
            problems.append(f"--input {given}: {error}")
        except UserError as error:
            problems += [f"--input {given}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return _corpus(_common_folder(roots), found, len(others))


def _corpus(root: str, found: dict[str, int], other_files: int) -> Corpus:
    begin = len(root.rstrip("/")) + 1 if root else 0
    named = sorted((path[begin:], size) for path, size in found.items())
    return Corpus(
        root=root,
        sources=tuple(source for source, _ in named),
        sizes=tuple(size for _, size in named),
        other_files=other_files,
    )


def _list(path: str) -> tuple[str, Iterator[storage.Entry]]:
    """The root of one input, and its files."""
    if storage.exists(path):
        return path.rpartition("/")[0] or "/", storage.list_files(path)
    if glob_pattern.is_pattern(path) and not storage.is_folder(path):
        expression = glob_pattern.compile_pattern(path)
        folder = glob_pattern.literal_folder(path)
        entries = storage.list_files(folder)
        return folder, (entry for entry in entries if expression.fullmatch(entry.path))
    return path.rstrip("/") or "/", storage.list_files(path)


def _absolute(path: str) -> str:
    """Local paths from the root down, so that two spellings of a file are one; a final slash stays."""
    if "://" in path:
        return path
    return os.path.abspath(path) + ("/" if path.endswith("/") and path.strip("/") else "")


def _common_folder(roots: Sequence[str]) -> str:
    """The deepest folder above all roots; nothing when they share none, as two buckets do not."""
    shared = os.path.commonprefix([root.split("/") for root in roots])  # of names: it takes any sequences
    if "://" in roots[0]:
        return "/".join(shared) if len(shared) > len(["gs:", ""]) else ""
    return "/".join(shared) or ("/" if shared else "")


def _nothing(given: str, other_files: int) -> str:
    wanted = ", ".join(MIDI_EXTENSIONS)
    if other_files:
        return f"--input {given}: none of {other_files} files has a MIDI extension ({wanted})"
    return f"--input {given}: matches no file; want files with a MIDI extension ({wanted})"
