"""Local files, for `storage`; written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from job_runtime import io_errors
from job_runtime.problem_report import UserError
from job_runtime.storage import UNKNOWN_SIZE, Entry, partial_files
from job_runtime.storage.sorted_runs import sort_strings

_swept: set[str] = set()  # folders in which this process has written, after deleting what killed processes left there
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}  # some network and FUSE mounts
_MISTAKES = io_errors.OF_A_NAME | {errno.EROFS}  # the user's, when writing


def exists(path: str) -> bool:
    return os.path.isfile(path)


def is_folder(path: str) -> bool:
    return os.path.isdir(path)


def look_up(path: str) -> Entry | None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(status.st_mode):
        return _entry(path, status)
    if stat.S_ISDIR(status.st_mode):
        return None
    raise io_errors.not_regular(path, status.st_mode)


def _entry(path: str, status: os.stat_result) -> Entry:
    return Entry(path, status.st_size, str(status.st_mtime_ns))


def list_folder(path: str) -> Iterator[Entry]:
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise io_errors.not_regular(path, status.st_mode)
    return _walk(path, frozenset())


def _walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
    """Files below `folder` in the order of their full paths; `above` identifies the folders above it."""
    try:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a symbolic link to a folder above
            return
        # A folder sorts as its name with a slash; otherwise `a/b` would come before `a-b`.
        with os.scandir(folder) as entries:
            children = sort_strings(entry.name + "/" if _is_folder(entry) else entry.name for entry in entries)
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        yield Entry(os.path.join(folder, ""), UNKNOWN_SIZE, trouble=io_errors.reason(error))
        return
    prefix = os.path.join(folder, "")
    for name in children:
        path = prefix + name
        if name.endswith("/"):
            yield from _walk(path[:-1], above | {here})
        else:
            yield _look_at(path)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a circular link, or a link to a name that is too long
        if not io_errors.is_of_one_file(error):
            raise
        return False


def _look_at(path: str) -> Entry:
    try:
        status = os.stat(path)
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        is_link = isinstance(error, FileNotFoundError) and os.path.islink(path)
        return Entry(path, UNKNOWN_SIZE, trouble="it is a link to nothing" if is_link else io_errors.reason(error))
    if stat.S_ISREG(status.st_mode):
        return _entry(path, status)
    return Entry(path, UNKNOWN_SIZE, trouble=io_errors.reason(io_errors.not_regular(path, status.st_mode)))


def open_regular(path: str, *, buffering: int = -1) -> BinaryIO:
    """Opens for reading, without waiting for the writer of a pipe.

    Raises:
      OSError: it cannot be opened, or is not a regular file.
    """
    return cast(BinaryIO, open(path, "rb", buffering=buffering, opener=_open_regular))


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise io_errors.not_regular(path, mode)
    return descriptor


def read_bytes(path: str, max_bytes: int | None) -> bytes:
    # reading without a size is faster: a size allocates `max_bytes`
    with io_errors.named(path), open_regular(path, buffering=0) as file:
        if max_bytes is None or os.fstat(file.fileno()).st_size <= max_bytes:
            return file.read()
        return file.read(max_bytes + 1)


def read_range(path: str, offset: int, length: int) -> bytes:
    with io_errors.named(path), open_regular(path) as file:
        file.seek(offset)
        return file.read(length)


def why_no_output(path: str, is_file: bool) -> str | None:
    name = path.rstrip("/") or "/"
    if is_file:
        if os.path.isdir(path):
            return "is a folder, want a file"
        if trouble := _why_not_replaced(path):
            return f"cannot be written: {trouble}"
        name = os.path.dirname(path)
    names = [os.path.basename(path)]
    while True:
        try:
            mode = os.stat(name or ".").st_mode
            break
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(name):
                return f"cannot be written: {name!r} is a link to nothing"
            name, _, last = name.rpartition("/")
            name = name or ("/" if path.startswith("/") else "")
            names.append(last)
        except OSError as error:
            return f"cannot be written: {io_errors.reason(error)}"
    if not stat.S_ISDIR(mode):
        kind = io_errors.kind_of(mode)
        return f"is {kind}, want a folder" if name == path.rstrip("/") else f"cannot be written: {name!r} is {kind}"
    longest = os.pathconf(name or ".", "PC_NAME_MAX")
    if any(len(os.fsencode(each)) > longest for each in names):
        return f"cannot be written: {os.strerror(errno.ENAMETOOLONG)}"
    if not os.access(name or ".", os.W_OK | os.X_OK):
        return f"cannot be written: {name or '.'!r} is read-only, or another user's"
    return None


def _why_not_replaced(path: str) -> str | None:
    """A new file replaces an old one, which must not be a device such as /dev/null."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else io_errors.reason(io_errors.not_regular(path, mode))


def write_parts(path: str, parts: Iterable[bytes], durable: bool) -> None:
    _write(path, parts, only_if_absent=False, durable=durable)


def write_bytes(path: str, data: bytes, only_if_absent: bool, durable: bool) -> bool:
    return _write(path, (data,), only_if_absent, durable)


def _write(path: str, parts: Iterable[bytes], only_if_absent: bool, durable: bool) -> bool:
    if only_if_absent and os.path.lexists(path):
        if not os.path.isfile(path):
            raise UserError(f"{path!r} cannot be written: something that is not a file has this name")
        return False
    if trouble := _why_not_replaced(path):
        raise UserError(f"{path!r} cannot be written: {trouble}")
    folder = os.path.dirname(path)
    with _writing(path):
        _make_folder(folder)
        if folder not in _swept:
            _swept.add(folder)
            partial_files.delete_left(folder or ".", recursive=False)
        with partial_files.create(folder) as (partial, file):
            file.writelines(parts)
            file.flush()
            if durable:  # otherwise the name could survive a crash without the data
                os.fsync(file.fileno())
            if only_if_absent:
                return _link(partial, path)
            os.replace(partial, path)
    return True


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """Turns errors into a UserError about this path, if it is the user's mistake, or an OSError that names it."""
    try:
        with io_errors.named(path):
            yield
    except (NotADirectoryError, FileExistsError) as error:
        raise UserError(f"{path!r} cannot be written: {_file_above(path)!r} is a file, want a folder") from error
    except OSError as error:
        if error.errno in _MISTAKES:
            raise UserError(f"{path!r} cannot be written: {error.strerror}") from error
        raise


def _make_folder(folder: str) -> None:
    if not folder:
        return
    with contextlib.suppress(FileNotFoundError):
        os.stat(folder)  # reports what `makedirs` overlooks: a path that is too long, a circular link
    try:
        os.makedirs(folder, exist_ok=True)
    except FileNotFoundError as error:  # in file systems where only the kernel makes folders
        raise UserError(f"{folder!r} cannot be made: {error.strerror}") from error


def _file_above(path: str) -> str:
    """The file in the position of one of the folders of `path`."""
    above = os.path.dirname(path)
    while not os.path.lexists(above) or os.path.isdir(above):
        above = os.path.dirname(above)
        if above in ("", "/"):
            break
    return above


def _link(partial: str, path: str) -> bool:
    """Gives a complete file its name unless the name is taken; a hard link never replaces a file."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.replace(partial, path)  # still complete; but two writers at this very moment would both return True
    return True


def delete(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def delete_folder(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def delete_leftovers(folder: str) -> None:
    partial_files.delete_left(folder, recursive=True)
