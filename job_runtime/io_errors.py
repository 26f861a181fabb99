"""Errors of disks and networks: told from a program's own faults, and never without the path they are about.

    with io_errors.named(path):
        file.write(data)

Many calls, `write` among them, raise an OSError that does not say which file it was. Whoever writes or reads a file by
another way than `storage` wraps it like this; `command.run` then ends with one sentence and status 1.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator

# What holds for every file of the place: no use in trying the next one.
OF_THE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE})
# What is wrong with a name, or with what it stands for: the user's mistake, where the user has named it.
OF_A_NAME = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)
_OF_ONE_FILE = OF_A_NAME | {errno.ENOENT, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EOVERFLOW}
_OF_ONE_FILE |= {
    errno.EBADMSG,
    errno.EUCLEAN,
    errno.ENODATA,
    errno.EREMOTEIO,
}  # file systems that find themselves damaged
_TEXTS = tuple(os.strerror(number) for number in sorted(OF_THE_PLACE))


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Gives every OSError of the block the name of the file that the user knows."""
    try:
        yield
    except OSError as error:
        if error.filename == path:
            raise
        # NumPy's own ("1000 requested and 0 written") have no number
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def is_of_one_file(error: OSError) -> bool:
    """Whether a file among many cannot be read, and the others may be; not where files or memory run out."""
    return error.errno in _OF_ONE_FILE or isinstance(error, FileNotFoundError | PermissionError)


def reason(error: OSError) -> str:
    """What is wrong, without the path."""
    return error.strerror or str(error)


def not_regular(path: str, mode: int) -> OSError:
    """What to raise instead of reading from a pipe or a device, which may block, or never end."""
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, f"it is {kind_of(mode)}, want a regular file", path)


def kind_of(mode: int) -> str:
    """What a name stands for, by the mode that `os.stat` gives."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def network_error(path: str, error: Exception) -> OSError:
    """What went wrong on the way to a bucket, as an OSError that names the path."""
    reason = getattr(error, "message", None) or str(error) or type(error).__name__
    return ConnectionError(errno.ECONNABORTED, reason, path)


def sentence(error: BaseException) -> str | None:
    """What is wrong with which file, where an error or what caused it says so; None for any other fault."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename is not None:
            return f"{os.fsdecode(cause.filename)!r}: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno in OF_THE_PLACE:
            return f"standard output, or a file that the error does not name: {cause.strerror}"
        if _is_of_tensorflow(cause) and any(text in str(cause) for text in _TEXTS):  # it names the file itself
            return str(cause).strip().splitlines()[0]
        cause = cause.__cause__
    return None


def _is_of_tensorflow(error: BaseException) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)
