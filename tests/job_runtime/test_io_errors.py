"""Full disks and the like: one sentence with the path, status 1, whoever raised it."""

import errno
import os
import sys
import types

import numpy as np
import pytest

from job_runtime import command, io_errors, storage
from job_runtime.problem_report import UserError


def run(capsys, main) -> tuple[int, str]:
    status = command.run("prog", lambda _: main(), [])
    return status, capsys.readouterr().err


def test_a_full_disk_is_a_fault_that_names_the_path(tiny_disk, capsys):
    path = str(tiny_disk / "a/pieces.tar")
    status, said = run(capsys, lambda: storage.write_bytes(path, bytes(2 << 20)))
    assert (status, said) == (1, f"prog: {path!r}: No space left on device\n")
    assert os.listdir(tiny_disk / "a") == []


def test_a_full_disk_under_a_library(tiny_disk, capsys):
    path = str(tiny_disk / "weights.npy")

    def main():
        with io_errors.named(path):
            np.save(path, np.zeros(1 << 20))

    status, said = run(capsys, main)
    assert status == 1
    assert said.startswith(f"prog: {path!r}: ")  # NumPy says how much was written, not why no more
    assert said.count("\n") == 1


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT, errno.ENOSPC])
def test_errors_while_writing_name_the_path(tmp_path, capsys, monkeypatch, code):
    def fail(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    path = str(tmp_path / "a.mid")
    assert run(capsys, lambda: storage.write_bytes(path, b"x")) == (1, f"prog: {path!r}: {os.strerror(code)}\n")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_place_that_must_not_be_written_is_the_users_mistake(tmp_path, capsys, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code), "another name")

    monkeypatch.setattr(os, "open", fail)
    path = str(tmp_path / "a.mid")
    said = f"prog: {path!r} cannot be written: {os.strerror(code)}\n"
    assert run(capsys, lambda: storage.write_bytes(path, b"x")) == (2, said)


def test_an_error_while_reading_names_the_path(tmp_path, capsys):
    def main():
        with io_errors.named("/corpus/a.mid"):
            raise OSError(errno.EIO, "Input/output error")

    assert run(capsys, main) == (1, "prog: '/corpus/a.mid': Input/output error\n")


def test_what_a_fault_was_caused_by():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/full/a")
        except OSError as error:
            raise RuntimeError("64 pieces failed") from error
    except RuntimeError as error:
        assert io_errors.sentence(error) == "'/full/a': No space left on device"
    unnamed = OSError(errno.ENOSPC, "No space left on device")
    assert io_errors.sentence(unnamed) == (
        "standard output, or a file that the error does not name: No space left on device"
    )
    assert io_errors.sentence(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert io_errors.sentence(ValueError("a bug")) is None


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "a.mid").mkdir()
    with pytest.raises(UserError, match=r"a.mid' cannot be written: something that is not a file has this name"):
        storage.write_bytes(str(tmp_path / "a.mid"), b"x", only_if_absent=True)
    with pytest.raises(UserError, match=r"a.mid' cannot be written: Is a directory"):
        storage.write_bytes(str(tmp_path / "a.mid"), b"x")


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_bucket_that_cannot_be_reached_is_a_fault_that_names_the_path(scheme, request, monkeypatch, capsys):
    if scheme == "gs":
        from job_runtime.storage import gs as backend

        error = backend.exceptions.ServiceUnavailable("try later")
        monkeypatch.setattr(backend, "_blob", lambda _: _Failing(error))
    else:
        from job_runtime.storage import s3 as backend

        error = backend.ClientError({"Error": {"Code": "SlowDown", "Message": "try later"}}, "PutObject")
        monkeypatch.setattr(backend, "_client", lambda: _Failing(error))
    path = f"{scheme}://bucket/a.tar"
    for call in (lambda: storage.write_bytes(path, b"x"), lambda: storage.read_bytes(path)):
        status, said = run(capsys, call)
        assert status == 1
        assert said.startswith(f"prog: {path!r}: ")
        assert "try later" in said
        assert said.count("\n") == 1


class _Failing:
    def __init__(self, error: Exception):
        self._error = error

    def __getattr__(self, _: str):
        def fail(*_args, **_options):
            raise self._error

        return fail


@pytest.mark.parametrize("operation", ["", "{{function_node __wrapped__WriteSummary_device_/job:localhost/task:0}} "])
@pytest.mark.parametrize("more", ["", "\n\tcould not flush [Op:Flush] name: "])
def test_tensorflows_own_errors(monkeypatch, operation, more):
    class OpError(Exception):
        pass

    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(errors=types.SimpleNamespace(OpError=OpError)))
    text = f"{operation}/full/run/events.v2; No space left on device{more}"
    assert io_errors.sentence(OpError(text)) == "'/full/run/events.v2': No space left on device"
    assert io_errors.sentence(OpError("OOM when allocating tensor")) is None
