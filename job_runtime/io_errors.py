"""Errors of disks and networks: distinguished from faults in the program, and always reported with the path.

    with io_errors.named(path):
        file.write(data)

Many calls, such as `write`, raise an OSError that does not name the file. Code that reads or writes a file without
`storage` wraps the calls like this. `command.run` then ends with one sentence and status 1.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator

# These hold for every file on the disk, so there is no use in trying the next one.
OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE})
# These concern a name, or what it refers to: the user's mistake, if the user gave the name.
OF_A_NAME = frozenset(
    {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)
_DAMAGED_FILE_SYSTEM = {errno.EBADMSG, errno.EUCLEAN, errno.ENODATA, errno.EREMOTEIO}
_OF_ONE_FILE = OF_A_NAME | _DAMAGED_FILE_SYSTEM
_OF_ONE_FILE |= {errno.ENOENT, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EOVERFLOW}
# In TensorFlow's text the name of an operation may come first: `{{function_node ...}} PATH; REASON`.
_REASONS = "|".join(re.escape(os.strerror(number)) for number in sorted(OF_THE_DISK))
_IN_TENSORFLOW = re.compile(rf"^(?:\{{\{{.*?\}}\}} )?(?P<path>.+?); (?P<reason>{_REASONS})", re.MULTILINE)


@contextlib.contextmanager
def named(path: str) -> Iterator[None]:
    """Makes every OSError in the block name this path, which the user knows."""
    try:
        yield
    except OSError as error:
        if error.filename == path:
            raise
        # NumPy's own errors ("1000 requested and 0 written") have no number
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), path) from error


def is_of_one_file(error: OSError) -> bool:
    """Whether only this file cannot be read, and others may be; not when file descriptors or memory run out."""
    return error.errno in _OF_ONE_FILE or isinstance(error, FileNotFoundError | PermissionError)


def reason(error: OSError) -> str:
    """The error's text without the path."""
    return error.strerror or str(error)


def not_regular(path: str, mode: int) -> OSError:
    """The error to raise instead of reading from a pipe or a device, which may block or never end."""
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    return OSError(number, f"it is {kind_of(mode)}, want a regular file", path)


def kind_of(mode: int) -> str:
    """What a name refers to, by the mode that `os.stat` returns."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def network_error(path: str, error: Exception) -> OSError:
    """An error of a bucket's client library, as an OSError that names the path."""
    reason = getattr(error, "message", None) or str(error) or type(error).__name__
    return ConnectionError(errno.ECONNABORTED, reason, path)


def sentence(error: BaseException) -> str | None:
    """What is wrong with which file, if the error or one of its causes says so; None for any other fault."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None and cause.filename is not None:
            return f"{os.fsdecode(cause.filename)!r}: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno in OF_THE_DISK:
            return f"standard output, or a file that the error does not name: {cause.strerror}"
        if _is_from_tensorflow(cause) and (match := _IN_TENSORFLOW.search(str(cause))):
            return f"{match['path']!r}: {match['reason']}"
        cause = cause.__cause__
    return None


def _is_from_tensorflow(error: BaseException) -> bool:
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)
