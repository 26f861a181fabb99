"""Which files an encode reads: lists folders, prefixes, globs, archives and lists of paths, and names each input.

An input is a file with a MIDI extension, in any case, or a member of an archive with such a name; other files are only
counted. A file's `source` is its path below the input root: the given folder, the folder where a glob starts, or a
file's own folder. A member's source is its archive's, `!`, and its name. If several roots are given, a source begins
with its root's name: `--input corpora/pop909 --input asap` gives `pop909/001/001.mid` and `asap/Bach/…`. So a source
depends neither on the order of the inputs nor on where the corpora are, no two inputs share one, and a file that two
`--input` flags name is read once.

Names are packed as they are listed: a million of them take tens of megabytes, and are never a million objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.archives import archive_listing
from beam_pipelines.corpus.chunks import FOLDER, Container, Input, PackedInputs, Row
from beam_pipelines.corpus.input_listing import InputArgument, Listing, open_listings
from job_runtime import storage
from job_runtime.problem_report import UserError
from job_runtime.storage import Entry
from midi_codec.listing.glob_pattern import ARCHIVE_EXTENSIONS, MIDI_EXTENSIONS
from midi_codec.listing.source_roots import name_roots, with_slash

CHUNKS_AIMED_AT = 32  # enough for tens of workers; then a chunk's fixed cost hardly matters
FEWEST_IN_CHUNK = 50
MOST_IN_CHUNK = 250

_LIKE_MEMBER = re.compile(rf"^(.*?(?:{'|'.join(map(re.escape, ARCHIVE_EXTENSIONS))}))!", re.IGNORECASE | re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """The inputs. `hash`: 32 hex digits, from the inputs' names and sizes alone, wherever the corpus is."""

    num_inputs: int
    other_files: int
    hash: str
    chunks: tuple[bytes, ...] = dataclasses.field(repr=False)  # for chunk_reader
    indexes: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False, compare=False)  # path -> bytes

    def sources(self) -> Iterator[str]:
        for chunk in self.chunks:
            for container, row in chunks.unpack(chunk):
                yield chunks.source_of(container, row)

    def save_indexes(self) -> None:
        """Writes the seek points of .tar.gz archives, to which chunks refer; call once the folder may be written.

        Without them a chunk can still be read, from the start of its archive.
        """
        for path, data in self.indexes.items():
            storage.write_bytes(path, data, durable=False)


def find(inputs: Sequence[str], *, output: str | None = None, work_folder: str = "") -> Corpus:
    """Lists every input; files below `output` never count as inputs.

    Args:
      work_folder: where seek points of archives may be kept; those of an earlier run are used.

    Raises:
      UserError: inputs are missing, match nothing or hold no MIDI file; names all of them at once.
    """
    arguments, listings = [], []
    for text in sorted(set(inputs)):
        argument, opened = open_listings(text, output)
        arguments.append(argument)
        listings += opened
    finder = _Finder(work_folder)
    for name, root in sorted(name_roots([listing.root for listing in listings]).items(), key=_by_prefix):
        ours = with_slash(root)
        merged = _merge([each for each in listings if with_slash(each.root).startswith(ours)])
        finder.add_root(Container(FOLDER, ours, name and with_slash(name)), merged)
    problems = [problem for argument in arguments for problem in argument.all_problems()] + finder.problems
    if problems:
        raise UserError(problems)
    return _describe(finder)


def _by_prefix(named: tuple[str, str]) -> str:
    return with_slash(named[0])


def _merge(listings: Sequence[Listing]) -> Iterator[tuple[Entry, list[InputArgument]]]:
    """Each file once, by path, and the inputs that named it."""
    if len(listings) == 1:
        arguments, last = [listings[0].argument], None
        for entry in listings[0].entries:
            if entry.path != last:  # a list may name a file twice
                yield entry, arguments
            last = entry.path
        return
    streams = (_keyed(number, listing.entries) for number, listing in enumerate(listings))
    for _, same in itertools.groupby(heapq.merge(*streams), key=lambda keyed: keyed[0]):
        same_path = list(same)
        path, size, version, _, trouble = same_path[
            -1
        ]  # a list does not know the size of a bucket's object, a listing does
        numbers = {each[3] for each in same_path}
        yield Entry(path, size, version, trouble), [listings[number].argument for number in numbers]


def _keyed(number: int, entries: Iterable[Entry]) -> Iterator[tuple[str, int, str, int, str]]:
    return ((entry.path, entry.size, entry.version, number, entry.trouble) for entry in entries)


class _Finder:
    """Collects inputs root by root, in the order of their sources; members in the order of their archive."""

    def __init__(self, work_folder: str):
        self.inputs = PackedInputs()
        self.other_files = 0
        self.indexes: dict[str, bytes] = {}
        self.problems: list[str] = []
        self._work_folder = work_folder
        self._archives: set[str] = set()

    def add_root(self, container: Container, files: Iterator[tuple[Entry, list[InputArgument]]]) -> None:
        opened = storage.map_in_threads(lambda file: self._open(container, *file), files, is_slow=_is_remote_archive)
        for entry, arguments, archive in opened:
            if archive is not None:
                self.inputs.extend(archive.inputs)
                self.indexes.update(archive.indexes)
                self._count(arguments, len(archive.inputs), archive.num_others)
            elif entry.trouble:
                self._add_unreadable(container, entry, arguments)
            elif entry.path.lower().endswith(MIDI_EXTENSIONS):
                self._check_name(entry.path)
                row = Row(entry.path[len(container.path) :], entry.size, entry.version)
                self.inputs.add(container, row)
                self._count(arguments, 1, 0)
            else:
                self._count(arguments, 0, 1)

    def _add_unreadable(self, container: Container, entry: Entry, arguments: Iterable[InputArgument]) -> None:
        """A folder that cannot be listed counts as one input, like a damaged archive: its content is unknown."""
        is_folder = entry.path.endswith("/")
        if not is_folder and not entry.path.lower().endswith(MIDI_EXTENSIONS + ARCHIVE_EXTENSIONS):
            self._count(arguments, 0, 1)
            return
        what = "folder cannot be listed" if is_folder else "file cannot be read"
        message = f"the {what}: {entry.trouble}"
        row = Row(entry.path[len(container.path) :], entry.size, reason="unreadable", message=message)
        self.inputs.add(container, row)
        self._count(arguments, 1, 0)

    def _open(
        self, container: Container, entry: Entry, arguments: list[InputArgument]
    ) -> tuple[Entry, list[InputArgument], archive_listing.Archive | None]:
        if entry.trouble or not entry.path.lower().endswith(ARCHIVE_EXTENSIONS):
            return entry, arguments, None
        self._archives.add(entry.path)
        source = container.prefix + entry.path[len(container.path) :]
        return entry, arguments, archive_listing.list_archive(entry, source, self._work_folder)

    def _count(self, arguments: Iterable[InputArgument], num_inputs: int, num_others: int) -> None:
        self.other_files += num_others
        for argument in arguments:
            argument.num_inputs += num_inputs
            argument.num_others += num_others

    def _check_name(self, path: str) -> None:
        if not self._archives:
            return
        like_member = _LIKE_MEMBER.match(path)
        if like_member and like_member.group(1) in self._archives:
            self.problems.append(f"{path} is named like a member of the archive beside it, want another name")


def _is_remote_archive(file: tuple[Entry, list[InputArgument]]) -> bool:
    path = file[0].path
    return storage.is_remote(path) and path.lower().endswith(ARCHIVE_EXTENSIONS)


def _describe(finder: _Finder) -> Corpus:
    num_inputs = len(finder.inputs)
    length = min(max(num_inputs // CHUNKS_AIMED_AT, FEWEST_IN_CHUNK), MOST_IN_CHUNK)
    digest = hashlib.sha256()
    packed = []
    inputs = finder.inputs.drain()
    while chunk := list(itertools.islice(inputs, length)):
        _hash_inputs(digest, chunk)
        packed.append(chunks.pack(chunk))
    return Corpus(
        num_inputs=num_inputs,
        other_files=finder.other_files,
        hash=digest.hexdigest()[:32],
        chunks=tuple(packed),
        indexes=finder.indexes,
    )


def _hash_inputs(digest: hashlib._Hash, inputs: Iterable[Input]) -> None:
    lines = [f"{row.size} {chunks.source_of(container, row)}\0" for container, row in inputs]
    digest.update("".join(lines).encode("utf-8", "surrogateescape"))
