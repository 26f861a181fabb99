"""Where pieces lie: a `.mid` file each, or in tar shards; both ways to write them, and to read them back.

    midi/<seed_id>/<seed_id>-00000.mid                  loose
    midi/pieces-00000-of-00100.tar!<seed_id>/<seed_id>-00000.mid   a member of a shard, called as `encode_corpus` does

The first who writes a name has written it: a second task on the same share takes what is there.
"""

from __future__ import annotations

import collections
import io
import itertools
import re
import tarfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from generation_jobs.output.shards import MIDI_FOLDER, Shards
from job_runtime import file_sizes, storage
from job_runtime.command import UserError

PIECES_PER_SAVE = 256  # what a kill can cost of a tar shard
_LOOSE = re.compile(r"([^/]+)/([^/]+)-([0-9]{5,})\.mid")
_ARCHIVE_MARK = ".tar!"


def loose_path(seed_id: str, sample: int) -> str:
    """From the output folder, as the manifest has it."""
    return f"{MIDI_FOLDER}/{_name(seed_id, sample)}"


def tar_path(archive: str, seed_id: str, sample: int) -> str:
    return f"{archive}!{_name(seed_id, sample)}"


def _name(seed_id: str, sample: int) -> str:
    return f"{seed_id}/{seed_id}-{sample:05d}.mid"


class PieceFiles(Protocol):
    """The pieces of a job's output, by path as the manifest has it, from the output folder."""

    def look(self, shards: Collection[int]) -> None:
        """Finds what is there of these shards; called once, before `read`."""

    def sizes(self, shard: int) -> dict[str, int]:
        """Bytes of the files that `look` found of a shard, but for those below `unfinished/`."""

    def replace(self, shard: int, paths: Collection[str]) -> None:
        """These files, or pieces, of the shard are not what they were: `read` leaves them out, as far as it can tell
        them from good ones, and what is made again takes their place."""

    def read(self, shard: int) -> dict[str, bytes]:
        """Pieces of a shard that are whole."""

    def put(self, path: str, data: bytes) -> bytes:
        """Keeps a finished piece; gives the one that is kept, which another task may have written before."""

    def save(self, *, all_of_them: bool) -> None:
        """Makes what was put outlive this process, where `put` has not: when there is enough of it, or all."""

    def finish(self, shard: int, pieces: Mapping[str, bytes]) -> dict[str, bytes]:
        """All pieces of the shard are given; gives those that are kept."""

    def clear(self, shard: int) -> None:
        """The shard's manifest is written: what was needed until then goes."""


class LooseFiles:
    """A `.mid` file a piece.

    Args:
      number_of: the number of a seed's sample; None for a seed or sample that is not of this job.
    """

    def __init__(self, root: str, shards: Shards, number_of: Callable[[str, int], int | None]) -> None:
        self._root, self._shards, self._number_of = root, shards, number_of
        self._there: dict[int, dict[str, int]] = collections.defaultdict(dict)  # bytes by path
        self._replaced: set[str] = set()

    def look(self, shards: Collection[int]) -> None:
        wanted = frozenset(shards)
        start = len(storage.join(self._root, MIDI_FOLDER)) + 1
        try:
            for entry in storage.list_files(f"{storage.join(self._root, MIDI_FOLDER)}/"):
                match = _LOOSE.fullmatch(entry.path[start:])
                number = self._number_of(match[1], int(match[3])) if match and match[1] == match[2] else None
                if number is not None and self._shards.of_sample(number) in wanted:
                    path = f"{MIDI_FOLDER}/{match[0]}" if match else ""
                    self._there[self._shards.of_sample(number)][path] = entry.size
        except FileNotFoundError:
            pass

    def sizes(self, shard: int) -> dict[str, int]:
        return self._there.get(shard, {})

    def replace(self, shard: int, paths: Collection[str]) -> None:
        self._replaced.update(path for path in paths if path.startswith(f"{MIDI_FOLDER}/"))

    def read(self, shard: int) -> dict[str, bytes]:
        paths = [path for path in self._there.pop(shard, {}) if path not in self._replaced]
        found = {}
        for path, data in zip(paths, storage.read_many(storage.join(self._root, path) for path in paths), strict=True):
            if isinstance(data, OSError):
                raise data
            found[path] = data
        return found

    def put(self, path: str, data: bytes) -> bytes:
        whole = storage.join(self._root, path)
        is_written = storage.write_bytes(whole, data, only_if_absent=path not in self._replaced)
        return data if is_written else storage.read_bytes(whole)

    def save(self, *, all_of_them: bool) -> None:
        """`put` has written them."""

    def finish(self, shard: int, pieces: Mapping[str, bytes]) -> dict[str, bytes]:
        return dict(pieces)

    def clear(self, shard: int) -> None:
        self._there.pop(shard, None)


class TarFiles:
    """Tar archives of `.mid` files, a shard each, for outputs of millions of pieces.

    An archive is written when all its pieces are there. Until then they lie in memory, and the greater part of them
    below `unfinished/`, so that a kill costs little.
    """

    def __init__(self, root: str, shards: Shards, *, pieces_per_save: int = PIECES_PER_SAVE) -> None:
        self._root, self._shards, self._pieces_per_save = root, shards, pieces_per_save
        self._unsaved: dict[int, dict[str, bytes]] = collections.defaultdict(dict)
        self._parts: dict[int, list[str]] = collections.defaultdict(list)  # files below unfinished/
        self._there: dict[str, int] = {}  # tars below midi/, bytes by path
        self._replaced: set[int] = set()
        self._lock = threading.Lock()  # `put` and `finish` are called by writing threads

    def look(self, shards: Collection[int]) -> None:
        wanted = {self._shards.unfinished(shard).rpartition("/")[2]: shard for shard in shards}
        folder = storage.join(self._root, self._shards.unfinished(0).rpartition("/")[0])
        try:
            for entry in storage.list_files(f"{folder}/"):
                shard = wanted.get(f"{entry.path[len(folder) + 1 :].rpartition('-')[0]}-")
                if shard is not None:
                    self._parts[shard].append(entry.path)
        except FileNotFoundError:
            pass
        self._there = file_sizes.list_sizes(self._root, MIDI_FOLDER)

    def sizes(self, shard: int) -> dict[str, int]:
        path = self._shards.tar(shard)
        return {path: self._there[path]} if path in self._there else {}

    def replace(self, shard: int, paths: Collection[str]) -> None:
        if any(path.partition("!")[0] == self._shards.tar(shard) for path in paths):
            self._replaced.add(shard)

    def read(self, shard: int) -> dict[str, bytes]:
        path = self._shards.tar(shard)
        whole = storage.join(self._root, path)
        found: dict[str, bytes] = {}
        if shard not in self._replaced and storage.exists(whole):
            found = read_tar(whole)
        else:
            for archive in [*self._parts[shard], *([whole] if path in self._there else [])]:
                found |= _read_before_damage(archive)
        return {f"{path}!{name}": data for name, data in found.items()}

    def put(self, path: str, data: bytes) -> bytes:
        with self._lock:
            self._unsaved[self._shard_of(path)][path] = data
        return data

    def save(self, *, all_of_them: bool) -> None:
        with self._lock:
            if not all_of_them and sum(map(len, self._unsaved.values())) < self._pieces_per_save:
                return
            taken, self._unsaved = self._unsaved, collections.defaultdict(dict)
        for shard, pieces in taken.items():
            prefix = storage.join(self._root, self._shards.unfinished(shard))
            for number in itertools.count(len(self._parts[shard])):
                part = f"{prefix}{number:05d}.tar"
                if storage.write_bytes(part, _tar_of_pieces(pieces), only_if_absent=True):
                    self._parts[shard].append(part)
                    break

    def finish(self, shard: int, pieces: Mapping[str, bytes]) -> dict[str, bytes]:
        with self._lock:
            self._unsaved.pop(shard, None)
        path, data = self._shards.tar(shard), _tar_of_pieces(pieces)
        whole = storage.join(self._root, path)
        if not storage.write_bytes(whole, data, only_if_absent=shard not in self._replaced):
            there = self.read(shard)
            if there.keys() >= pieces.keys():
                self._there[path] = storage.size(whole) or 0
                return there
            storage.write_bytes(whole, data)  # one that was cut between two pieces reads as a whole one
        self._there[path] = len(data)
        return dict(pieces)

    def clear(self, shard: int) -> None:
        for part in self._parts.pop(shard, []):
            storage.delete(part)

    def _shard_of(self, path: str) -> int:
        return int(path.partition("-")[2].partition("-")[0])


def _tar_of_pieces(pieces: Mapping[str, bytes]) -> bytes:
    return tar_of((path.partition("!")[2], pieces[path]) for path in sorted(pieces))


def tar_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar archive; the same members give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read_tar(path: str) -> dict[str, bytes]:
    """All members of an archive, in its order.

    Raises:
      UserError: it is damaged.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(path)), mode="r:") as archive:
            return {member.name: file.read() for member in archive if (file := archive.extractfile(member))}
    except tarfile.TarError as error:
        raise UserError(f"{path!r} is damaged: {error}") from error


def _read_before_damage(path: str) -> dict[str, bytes]:
    """The members of an archive up to where it is damaged; none where it is gone."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(path)), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member)
                found[member.name] = file.read() if file else b""
    except (tarfile.TarError, FileNotFoundError):
        pass
    return found


def read_pieces(root: str, paths: Iterable[str]) -> Iterator[bytes | OSError]:
    """The `.mid` files that a manifest names, in its order; what keeps one from being read stands in its place.

    Raises:
      UserError: an archive is damaged.
    """
    loose: list[str] = []
    archive, members = "", {}
    for path in paths:
        if _ARCHIVE_MARK not in path:
            loose.append(storage.join(root, path))
            if len(loose) >= 256:
                yield from storage.read_many(loose)
                loose = []
            continue
        yield from storage.read_many(loose)
        loose = []
        shard, _, name = path.partition("!")
        if shard != archive:
            archive = shard
            try:
                members = read_tar(storage.join(root, shard))
            except FileNotFoundError:
                members = {}
        yield members.get(name) or FileNotFoundError(path)
    yield from storage.read_many(loose)
