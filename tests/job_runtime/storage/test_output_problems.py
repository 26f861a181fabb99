"""Where nothing can be written is said before any work; nothing is written to find out."""

import os

import pytest

from job_runtime import command, io_errors, storage
from job_runtime.problem_report import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "there").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nothing").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


CIRCLE = "cannot be written: Too many levels of symbolic links"


@pytest.mark.parametrize(
    ("name", "of_folder", "of_file"),
    [
        ("new", None, None),
        ("new/deep/er/", None, None),
        ("there", None, "is a folder, want a file"),
        ("file", "is a file, want a folder", None),
        ("file/x", "cannot be written: '{}/file' is a file", "cannot be written: '{}/file' is a file"),
        ("file/x/y", "cannot be written: '{}/file' is a file", "cannot be written: '{}/file' is a file"),
        ("circle", CIRCLE, None),
        ("circle/x", CIRCLE, CIRCLE),
        ("nothing", "cannot be written: '{}/nothing' is a link to nothing", None),
        ("pipe", "is a pipe, want a folder", "cannot be written: it is a pipe, want a regular file"),
        ("n" * 300, "cannot be written: File name too long", "cannot be written: File name too long"),
        ("x/" + "n" * 300 + "/y", "cannot be written: File name too long", "cannot be written: File name too long"),
        ("x/" * 3000, "cannot be written: File name too long", "cannot be written: File name too long"),
    ],
)
def test_problems(folder, name, of_folder, of_file):
    path = f"{folder}/{name}"
    for is_file, want in ((False, of_folder), (True, of_file)):
        wanted = [f"--output {path!r} {want.format(folder)}"] if want else []
        assert storage.output_problems("--output", path, is_file=is_file) == wanted
    assert sorted(os.listdir(folder)) == ["circle", "file", "nothing", "pipe", "there"]
    assert os.listdir(folder / "there") == []


def test_paths_of_no_kind():
    for path, reason in (("a\0b", "holds a NUL, which no path does"), ("ftp://a", "is on ftp://"), ("", "is empty")):
        (problem,) = storage.output_problems("--html", path)
        assert problem.startswith("--html: ") and reason in problem
        with pytest.raises(UserError, match=reason):
            storage.write_bytes(path, b"")


def test_a_read_only_place(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    (problem,) = storage.output_problems("--output", f"{folder}/there/x")
    assert problem.endswith(f"cannot be written: '{folder}/there' is read-only, or another user's")


def test_relative_paths(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in ("new", "new/x", "there/"):
        assert storage.output_problems("--output", path) == []
    assert storage.output_problems("--output", "new.html", is_file=True) == []


def test_a_file_never_takes_the_place_of_a_device(folder):
    with pytest.raises(UserError, match="cannot be written: it is a pipe, want a regular file"):
        storage.write_bytes(str(folder / "pipe"), b"data")
    assert (folder / "pipe").is_fifo()


def test_a_path_too_long_to_make_is_the_users_mistake(folder):
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        storage.write_bytes(f"{folder}/" + "x/" * 3000 + "y", b"data")


def test_only_regular_files_are_read(folder):
    for path, reason in (
        (folder / "pipe", "it is a pipe"),
        ("/dev/null", "it is a device"),
        (folder, "it is a folder"),
    ):
        for read in (storage.read_bytes, lambda path: storage.read_range(path, 0, 1)):
            with pytest.raises(OSError, match=f"{reason}, want a regular file"):
                read(str(path))


def test_a_name_that_cannot_be_read_is_a_mistake_and_a_disk_error_is_a_fault(folder, capsys):
    def main(argv):
        storage.read_bytes(argv[0])
        return 0

    for path in (f"{folder}/circle", f"{folder}/file/x", f"{folder}/pipe", f"{folder}/{'n' * 300}", f"{folder}/a\0b"):
        assert command.run("program", main, [path]) == command.USER_ERROR
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert command.run("program", main, ["/proc/self/mem"]) == command.FAULT
    assert capsys.readouterr().err == "program: '/proc/self/mem': Input/output error\n"


def test_mistakes_of_several_blocks():
    problems: list[str] = []
    with command.collecting(problems):
        raise UserError(["one", "two"])
    with command.collecting(problems):
        raise OSError(40, "in a circle", "a")
    assert problems == ["one", "two", "'a': in a circle"]
    with pytest.raises(OSError, match="full"), command.collecting(problems):
        raise OSError(28, "full", "a")
    assert io_errors.kind_of(os.stat("/dev/null").st_mode) == "a device"
