"""Names that stand for no file that can be read: each costs one reject that says why, and the rest goes on."""

import os
import re
import socket
from pathlib import Path

import pytest

from beam_pipelines.corpus import inputs as corpus
from job_runtime import storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.archive_files import make_tar
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of, ledger_of

GOOD = {f"{number}.mid": make_midi(number) for number in range(3)}
CIRCLE = "the file cannot be read: Too many levels of symbolic links"
IO_ERROR = "cannot be read: Input/output error"


def hostile(folder: Path) -> dict[str, str]:
    """Writes a corpus; gives the message of each reject."""
    write_files(folder, {**GOOD, "a/b/c.txt": b""})
    links = {
        "self.mid": "self.mid",
        "one.mid": "other.mid",
        "other.mid": "one.mid",
        "long.mid": "n" * 300,
        "dangling.mid": "nowhere",
        "dangling.zip": "nowhere",
        "self.tar": "self.tar",
        "zero.mid": "/dev/zero",
        "a/b/up": "../..",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.mid")
    os.mkfifo(folder / "pipe.tgz")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket.mid"))
    messages = {name: CIRCLE for name in ("self.mid", "one.mid", "other.mid", "self.tar")}
    messages |= {name: "the file cannot be read: it is a link to nothing" for name in ("dangling.mid", "dangling.zip")}
    kinds = {"pipe.mid": "a pipe", "pipe.tgz": "a pipe", "socket.mid": "a socket", "zero.mid": "a device"}
    messages |= {name: f"the file cannot be read: it is {kind}, want a regular file" for name, kind in kinds.items()}
    return messages | {"long.mid": "the file cannot be read: File name too long"}


@pytest.mark.parametrize("flags", [(), ("--runner", "FnApiRunner")])
def test_each_is_a_reject(tmp_path, flags):
    want = hostile(tmp_path / "music")
    for name in ("eio.mid", "eio.tar", "eio.tar.gz"):  # a regular file, as far as anybody can tell without reading it
        (tmp_path / "music" / name).symlink_to("/proc/self/mem")
        want[name] = f"the {'file' if name == 'eio.mid' else 'archive'} {IO_ERROR}"
    encode("--input", str(tmp_path / "music"), "--output", str(tmp_path / "d"), *flags)
    lines = ledger_of(tmp_path / "d", "rejects")
    assert {line["path"]: line["message"] for line in lines} == want
    assert {(line["stage"], line["reason"], line["sha256"]) for line in lines} == {("read", "unreadable", None)}
    info = dataset_info.load(str(tmp_path / "d"))
    assert (info.inputs, info.examples, info.rejects) == (len(GOOD) + len(want), 3, {"unreadable": len(want)})
    assert info.other_files == 1


def test_a_glob_names_them_too(tmp_path):
    want = hostile(tmp_path / "music")
    found = corpus.find([f"{tmp_path}/music/*.{{mid,tar}}"])
    assert set(found.sources()) == {*GOOD, *(name for name in want if name.endswith((".mid", ".tar")))}


def test_a_file_that_loses_a_disk_block_between_listing_and_reading(tmp_path, monkeypatch):
    music = write_files(tmp_path / "music", {**GOOD, "z.mid": make_midi(9), "y.tar": make_tar({"y.mid": make_midi(8)})})
    found = corpus.find([music], output=str(tmp_path / "d"))
    for name in ("z.mid", "y.tar"):
        (tmp_path / "music" / name).unlink()
        (tmp_path / "music" / name).symlink_to("/proc/self/mem")
    monkeypatch.setattr("beam_pipelines.encode_corpus.corpus_lib.find", lambda *_, **__: found)
    encode("--input", music, "--output", str(tmp_path / "d"))
    assert {line["path"]: line["message"] for line in ledger_of(tmp_path / "d", "rejects")} == {
        "z.mid": f"the file {IO_ERROR}",
        "y.tar!y.mid": f"the archive {IO_ERROR}",
    }


def test_a_file_that_became_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    music = write_files(tmp_path / "music", {**GOOD, "z.mid": make_midi(9)})
    found = corpus.find([music], output=str(tmp_path / "d"))
    (tmp_path / "music" / "z.mid").unlink()
    os.mkfifo(tmp_path / "music" / "z.mid")
    monkeypatch.setattr("beam_pipelines.encode_corpus.corpus_lib.find", lambda *_, **__: found)
    encode("--input", music, "--output", str(tmp_path / "d"))
    (line,) = ledger_of(tmp_path / "d", "rejects")
    assert line["message"] == "the file cannot be read: it is a pipe, want a regular file"


def test_running_out_of_descriptors_is_no_files_fault(tmp_path, monkeypatch):
    music = write_files(tmp_path / "music", GOOD)
    real = os.open

    def run_out(path, *args, **kwargs):
        if str(path).endswith("1.mid"):
            raise OSError(24, "Too many open files", path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", run_out)
    with pytest.raises(OSError, match="Too many open files"):
        encode("--input", music, "--output", str(tmp_path / "d"))


@pytest.fixture
def locked(monkeypatch):
    """Folders called so cannot be listed, not even by root."""
    real = os.scandir

    def scandir(folder):
        if isinstance(folder, str) and os.path.basename(folder) == "locked":
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("pattern", ["", "/**/*.mid", "/*/*.mid", "/{x,*}/y/*.mid", "/lock*/**"])
def test_a_folder_that_cannot_be_listed_is_a_reject(tmp_path, locked, pattern):
    music = write_files(tmp_path / "music", {"a/y/0.mid": b"", "a/1.mid": b"", "locked/deep/y/2.mid": b""})
    sources = list(corpus.find([music + pattern]).sources())
    assert "locked/" in sources
    assert not any("2.mid" in source for source in sources)


def test_a_folder_that_a_glob_does_not_reach_is_none(tmp_path, locked):
    music = write_files(tmp_path / "music", {"a/1.mid": b"", "b.mid": b"", "locked/2.mid": b""})
    for pattern, want in (("/*.mid", ["b.mid"]), ("/a/*.mid", ["1.mid"]), ("/[ab]*/**", ["a/1.mid"])):
        assert list(corpus.find([music + pattern]).sources()) == want


def test_a_locked_folder_in_the_ledger(tmp_path, locked):
    music = write_files(tmp_path / "music", {**GOOD, "locked/2.mid": b""})
    encode("--input", music, "--output", str(tmp_path / "d"))
    (line,) = ledger_of(tmp_path / "d", "rejects")
    assert (line["path"], line["reason"]) == ("locked/", "unreadable")
    assert line["message"] == "the folder cannot be listed: Permission denied"


def test_the_folder_of_an_input_has_to_be_listed(tmp_path, locked):
    write_files(tmp_path / "locked", GOOD)
    with pytest.raises(UserError) as error:
        corpus.find([str(tmp_path / "locked")])
    assert error.value.problems == [f"--input {tmp_path}/locked: cannot be listed: Permission denied"]
    with pytest.raises(UserError, match="cannot be listed: Permission denied"):
        list(storage.list_files(str(tmp_path)))


def test_names_of_any_bytes(tmp_path):
    names = [b"bad\xff\xfe.mid", b"new\nline.mid", b"n" * 251 + b".mid", "ü\u202e.mid".encode()]
    folder = os.fsencode(write_files(tmp_path / "music", {"x": b""}))
    for number, name in enumerate(names):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(make_midi(number))
    for output, flags in (("d", ()), ("beam", ("--runner", "FnApiRunner"))):
        encode("--input", str(tmp_path / "music"), "--output", str(tmp_path / output), *flags)
    assert dataset_info.load(str(tmp_path / "d")).examples == 4
    assert files_of(tmp_path / "d") == files_of(tmp_path / "beam")


def mistakes_of(*inputs: str) -> list[str]:
    with pytest.raises(UserError) as error:
        corpus.find(inputs)
    return error.value.problems


def test_inputs_that_are_no_inputs_are_all_named_at_once(tmp_path):
    hostile(tmp_path / "m")
    (tmp_path / "m" / "circle").symlink_to("circle")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "lines.txt").write_bytes(b"x" * 100_000 + b"\nnul\0.mid\n" + os.fsencode("m/pipe.mid\nm/self.mid\n"))
    long = "y" * 100_000
    names = ["", "@", "m/circle", "m/pipe.mid", "m/self.mid", "m/zero.mid", "nul\0", long]
    names += ["@m", "@m/pipe.mid", "@m/circle", "@nul\0", "@" + long, "@empty.txt", "@lines.txt", "m/0.mid/x"]
    here = [name if not name.strip("@") else re.sub("^(@?)", rf"\1{tmp_path}/", name) for name in names]
    problems = mistakes_of(*here)
    assert len(problems) == len(names)
    told = "\n".join(problems).replace(f"{tmp_path}/", "")
    for want in (
        "--input : names nothing, want a folder, a glob, a file, an archive or a @list",
        "--input @: names nothing, want a folder, a glob, a file, an archive or a @list",
        "--input m/circle: cannot be read: Too many levels of symbolic links",
        "--input m/pipe.mid: cannot be read: it is a pipe, want a regular file",
        "--input m/self.mid: cannot be read: Too many levels of symbolic links",
        "--input m/zero.mid: cannot be read: it is a device, want a regular file",
        "--input 'nul\\x00': 'nul\\x00' holds a NUL, which no path does",
        "--input @m: cannot be read: it is a folder, want a regular file",
        "--input @m/pipe.mid: cannot be read: it is a pipe, want a regular file",
        "--input @m/circle: cannot be read: Too many levels of symbolic links",
        "--input @empty.txt: names no file",
        "m/pipe.mid cannot be read: it is a pipe, want a regular file; m/self.mid cannot be read: Too many levels",
        "; and 1 more like these",
        "--input m/0.mid/x: cannot be read: Not a directory",
        ": cannot be read: File name too long",
        "… (100,",
    ):
        assert want in told, want
    assert all(len(problem) < 1_500 for problem in problems)
