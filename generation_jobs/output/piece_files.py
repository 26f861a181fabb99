"""Writes and reads the `.mid` files of pieces: loose, one file per piece, or in tar shards.

    midi/<seed_id>/<seed_id>-00000.mid                  loose
    midi/pieces-00000-of-00100.tar!<seed_id>/<seed_id>-00000.mid   a member of a shard, named as by `encode_corpus`

The first writer of a name wins: a second task on the same share uses the existing file.
"""

from __future__ import annotations

import collections
import contextlib
import io
import itertools
import re
import tarfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from generation_jobs.output.shards import MIDI_FOLDER, Shards
from job_runtime import file_sizes, storage
from job_runtime.problem_report import UserError

PIECES_PER_SAVE = 256  # the most pieces of tar shards that a kill can cost
_LOOSE = re.compile(r"([^/]+)/\1-([0-9]{5,})\.mid")
_ARCHIVE_MARK = ".tar!"


def loose_path(seed_id: str, sample: int) -> str:
    """Relative to the output folder, as in the manifest."""
    return f"{MIDI_FOLDER}/{_name(seed_id, sample)}"


def tar_path(archive: str, seed_id: str, sample: int) -> str:
    return f"{archive}!{_name(seed_id, sample)}"


def _name(seed_id: str, sample: int) -> str:
    return f"{seed_id}/{seed_id}-{sample:05d}.mid"


class PieceFiles(Protocol):
    """The pieces of a job's output, by their path in the manifest."""

    def find(self, shards: Collection[int]) -> None:
        """Finds the existing files of these shards; called once, before `read`."""

    def sizes(self, shard: int) -> dict[str, int]:
        """The sizes in bytes of the files that `find` found for a shard, except those below `unfinished/`."""

    def replace(self, shard: int, paths: Collection[str]) -> None:
        """Marks files or pieces of the shard as damaged: `read` omits them, as far as it can tell them from good ones,
        and pieces made again replace them."""

    def read(self, shard: int) -> dict[str, bytes]:
        """The pieces of a shard that are whole."""

    def put(self, path: str, data: bytes) -> bytes:
        """Writes a finished piece; returns the stored one, which another task may have written before."""

    def save(self, *, all_of_them: bool) -> None:
        """Stores the pieces that `put` only held in memory: once there are enough of them, or all."""

    def finish(self, shard: int, pieces: Mapping[str, bytes]) -> dict[str, bytes]:
        """Takes all pieces of the shard; returns the stored ones."""

    def clear(self, shard: int) -> None:
        """Deletes the shard's temporary files, once its manifest is written."""


class LooseFiles:
    """One `.mid` file per piece.

    Args:
      number_of: gives the number of a seed's sample; None if it is not in this job.
    """

    def __init__(self, root: str, shards: Shards, number_of: Callable[[str, int], int | None]) -> None:
        self._root, self._shards, self._number_of = root, shards, number_of
        self._found: dict[int, dict[str, int]] = collections.defaultdict(dict)  # bytes by path
        self._replaced: set[str] = set()

    def find(self, shards: Collection[int]) -> None:
        wanted = frozenset(shards)
        folder = f"{storage.join(self._root, MIDI_FOLDER)}/"
        for entry in storage.list_files(folder, missing_ok=True):
            match = _LOOSE.fullmatch(entry.path[len(folder) :])
            if match is None or (number := self._number_of(match[1], int(match[2]))) is None:
                continue
            shard = self._shards.of_sample(number)
            if shard in wanted:
                self._found[shard][f"{MIDI_FOLDER}/{match[0]}"] = entry.size

    def sizes(self, shard: int) -> dict[str, int]:
        return self._found.get(shard, {})

    def replace(self, shard: int, paths: Collection[str]) -> None:
        self._replaced.update(path for path in paths if path.startswith(f"{MIDI_FOLDER}/"))

    def read(self, shard: int) -> dict[str, bytes]:
        paths = [path for path in self._found.pop(shard, {}) if path not in self._replaced]
        pieces = {}
        for path, data in zip(paths, storage.read_many(storage.join(self._root, path) for path in paths), strict=True):
            if isinstance(data, OSError):
                raise data
            pieces[path] = data
        return pieces

    def put(self, path: str, data: bytes) -> bytes:
        whole = storage.join(self._root, path)
        is_written = storage.write_bytes(whole, data, only_if_absent=path not in self._replaced)
        return data if is_written else storage.read_bytes(whole)

    def save(self, *, all_of_them: bool) -> None:
        """Nothing to do: `put` writes the files."""

    def finish(self, shard: int, pieces: Mapping[str, bytes]) -> dict[str, bytes]:
        return dict(pieces)

    def clear(self, shard: int) -> None:
        self._found.pop(shard, None)


class ChosenFiles(LooseFiles):
    """One `.mid` file per piece, also of a job whose pieces are in tar shards.

    Args:
      replace: whether a file that is there may have other content.
    """

    def __init__(
        self, root: str, shards: Shards, number_of: Callable[[str, int], int | None], *, replace: bool
    ) -> None:
        super().__init__(root, shards, number_of)
        self._may_replace = replace

    def put(self, path: str, data: bytes) -> bytes:
        _, mark, name = path.partition(_ARCHIVE_MARK)
        whole = storage.join(self._root, f"{MIDI_FOLDER}/{name}" if mark else path)
        is_written = storage.write_bytes(whole, data, only_if_absent=not self._may_replace)
        if not is_written and storage.read_bytes(whole) != data:
            raise UserError(f"{whole!r} is there with other content, want another --output")
        return data


class TarFiles:
    """Tar archives of `.mid` files, one per shard, for outputs of millions of pieces.

    An archive is written once all its pieces exist. Until then they are in memory, and most of them also below
    `unfinished/`, so that a kill costs little.
    """

    def __init__(self, root: str, shards: Shards, *, pieces_per_save: int = PIECES_PER_SAVE) -> None:
        self._root, self._shards, self._pieces_per_save = root, shards, pieces_per_save
        self._unsaved: dict[int, dict[str, bytes]] = collections.defaultdict(dict)
        self._parts: dict[int, list[str]] = collections.defaultdict(list)  # files below unfinished/
        self._found: dict[str, int] = {}  # tars below midi/, bytes by path
        self._replaced: set[int] = set()
        self._lock = threading.Lock()  # `put` and `finish` are called by writing threads

    def find(self, shards: Collection[int]) -> None:
        wanted = {self._shards.unfinished(shard).rpartition("/")[2]: shard for shard in shards}
        folder = storage.join(self._root, self._shards.unfinished(0).rpartition("/")[0])
        for entry in storage.list_files(f"{folder}/", missing_ok=True):
            shard = wanted.get(f"{entry.path[len(folder) + 1 :].rpartition('-')[0]}-")
            if shard is not None:
                self._parts[shard].append(entry.path)
        self._found = file_sizes.list_sizes(self._root, MIDI_FOLDER)

    def sizes(self, shard: int) -> dict[str, int]:
        path = self._shards.tar(shard)
        return {path: self._found[path]} if path in self._found else {}

    def replace(self, shard: int, paths: Collection[str]) -> None:
        if any(path.partition("!")[0] == self._shards.tar(shard) for path in paths):
            self._replaced.add(shard)

    def read(self, shard: int) -> dict[str, bytes]:
        path = self._shards.tar(shard)
        whole = storage.join(self._root, path)
        members: dict[str, bytes] = {}
        if shard not in self._replaced and storage.exists(whole):
            members = read_tar(whole)
        else:
            for archive in [*self._parts[shard], *([whole] if path in self._found else [])]:
                members |= _read_before_damage(archive)
        return {f"{path}!{name}": data for name, data in members.items()}

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
            existing = self.read(shard)
            if existing.keys() >= pieces.keys():
                self._found[path] = storage.size(whole) or 0
                return existing
            storage.write_bytes(whole, data)  # an archive that was cut between two pieces still reads without error
        self._found[path] = len(data)
        return dict(pieces)

    def clear(self, shard: int) -> None:
        for part in self._parts.pop(shard, []):
            storage.delete(part)

    def _shard_of(self, path: str) -> int:
        return int(path.partition("-")[2].partition("-")[0])


def _tar_of_pieces(pieces: Mapping[str, bytes]) -> bytes:
    return tar_of((path.partition("!")[2], pieces[path]) for path in sorted(pieces))


def tar_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar archive; equal members give equal bytes."""
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
        return dict(_members(path))
    except tarfile.TarError as error:
        raise UserError(f"{path!r} is damaged: {error}") from error


def _read_before_damage(path: str) -> dict[str, bytes]:
    """The members of an archive before its first damage; none if the archive is missing."""
    members: dict[str, bytes] = {}
    with contextlib.suppress(tarfile.TarError, FileNotFoundError):
        for name, data in _members(path):
            members[name] = data
    return members


def _members(path: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(path)), mode="r:") as archive:
        for member in archive:
            if file := archive.extractfile(member):
                yield member.name, file.read()


def read_pieces(root: str, paths: Iterable[str]) -> Iterator[bytes | OSError]:
    """The `.mid` files that a manifest names, in its order; an error takes the place of a file that cannot be read.

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
