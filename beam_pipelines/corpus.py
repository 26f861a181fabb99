"""Which files an encode reads: lists folders, prefixes and globs, and names each file.

An input is a file with a MIDI extension, in any case; other files are only counted. A file's `source` is its
path below the input root: the folder given, or the folder a glob starts from, or a file's own folder. Where
several roots are given, a source begins with its root's name: `--input corpora/pop909 --input asap` gives
`pop909/001/001.mid` and `asap/Bach/…`; with as many folders above it as it takes to tell the roots apart.
A root inside another one counts as that one. So a source depends neither on the order of the inputs nor on
where the corpora lie, no two files share one, and a file that two inputs name is taken once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence

from beam_pipelines import glob_pattern
from beam_pipelines.glob_pattern import MIDI_EXTENSIONS
from midi_codec import storage
from midi_codec.command import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """What was found, sorted by source: `sources[i]` has `sizes[i]` bytes and lies at `path_of(sources[i], roots)`."""

    roots: Mapping[str, str]
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


def path_of(source: str, roots: Mapping[str, str]) -> str:
    """Where the file lies: `roots` gives for the beginning of a source the folder it stands for."""
    cut = -1
    if "" in roots:
        return storage.join(roots[""], source)
    while (cut := source.find("/", cut + 1)) >= 0:
        if source[:cut] in roots:
            return storage.join(roots[source[:cut]], source[cut + 1 :])
    raise KeyError(f"{source} lies below none of {', '.join(roots)}")


def find(inputs: Sequence[str], *, output: str | None = None) -> Corpus:
    """Lists every input; what lies below `output` is never one of them.

    Raises:
      UserError: an input is missing, matches nothing or holds no MIDI file; all such inputs at once.
    """
    found: dict[str, int] = {}
    others: set[str] = set()
    roots, problems = [], []
    for given in sorted(set(inputs)):
        try:
            root, entries = _list(_absolute(given), _absolute(output) if output else None)
            num_before = len(others)
            is_empty = True
            for entry in entries:
                if entry.path.lower().endswith(MIDI_EXTENSIONS):
                    found[entry.path] = entry.size
                    is_empty = False
                else:
                    others.add(entry.path)
            if is_empty:
                problems.append(_nothing(given, len(others) - num_before))
            roots.append(root)
        except FileNotFoundError:
            problems.append(f"--input {given}: no such file or folder")
        except ValueError as error:
            problems.append(f"--input {given}: {error}")
        except UserError as error:
            problems += [f"--input {given}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return _name(found, name_roots(roots), len(others))


def _list(path: str, output: str | None) -> tuple[str, Iterator[storage.Entry]]:
    """The root of one input, and its files but those below the output."""
    if storage.exists(path):
        root, entries = path.rpartition("/")[0] or "/", storage.list_files(path)
    elif glob_pattern.is_pattern(path) and not storage.is_folder(path):
        expression = glob_pattern.compile_pattern(path)
        root = glob_pattern.literal_folder(path)
        entries = (entry for entry in storage.list_files(root) if expression.fullmatch(entry.path))
    else:
        root, entries = path.rstrip("/") or "/", storage.list_files(path)
    if output is None:
        return root, entries
    ours = output.rstrip("/") + "/"
    return root, (entry for entry in entries if not entry.path.startswith(ours))


def _absolute(path: str) -> str:
    """Local paths from the root down, so that two spellings of a file are one; a final slash stays."""
    if "://" in path:
        return path
    return os.path.abspath(path) + ("/" if path.endswith("/") and path.strip("/") else "")


def name_roots(folders: Sequence[str]) -> dict[str, str]:
    """What sources begin with, and the folder it stands for; `{"": folder}` where there is one.

    No name is the beginning of another, so sources cannot clash.
    """
    outer = _outermost(folders)
    if len(outer) == 1:
        return {"": outer[0]}
    below_scheme = [folder.partition("://")[2] or folder for folder in outer]
    parts = [[part for part in folder.split("/") if part] for folder in below_scheme]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(_outermost(names)) == len(outer):
            return dict(zip(names, outer, strict=True))
    return {folder: folder for folder in outer}  # the same path in two kinds of storage


def _outermost(folders: Sequence[str]) -> list[str]:
    """The folders that lie in no other one, once each, sorted."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=lambda folder: folder.rstrip("/") + "/"):  # one below follows its parent
        if not kept or not (folder.rstrip("/") + "/").startswith(kept[-1].rstrip("/") + "/"):
            kept.append(folder)
    return kept


def _name(found: Mapping[str, int], roots: Mapping[str, str], other_files: int) -> Corpus:
    named = []
    folders = {folder: name for name, folder in roots.items()}
    for path, size in found.items():
        folder = path.rpartition("/")[0] or "/"
        while folder not in folders:
            folder = folder.rpartition("/")[0] or "/"
        below = path[len(folder.rstrip("/")) + 1 :]
        named.append((storage.join(folders[folder], below) if folders[folder] else below, size))
    named.sort()
    return Corpus(
        roots=roots,
        sources=tuple(source for source, _ in named),
        sizes=tuple(size for _, size in named),
        other_files=other_files,
    )


def _nothing(given: str, other_files: int) -> str:
    wanted = ", ".join(MIDI_EXTENSIONS)
    if other_files:
        return f"--input {given}: none of {other_files} files has a MIDI extension ({wanted})"
    return f"--input {given}: matches no file; want files with a MIDI extension ({wanted})"
