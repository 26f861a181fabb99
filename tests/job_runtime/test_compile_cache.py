"""The folder of compiled functions: whose it must be, what it is kept apart by, and which entries count."""

import errno
import os
import pathlib
import stat

import pytest

from job_runtime import compile_cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(compile_cache.VARIABLE, str(folder))
    monkeypatch.setenv(compile_cache.FLAGS, "")
    monkeypatch.setattr(compile_cache, "_in_use", None)
    return folder


def use() -> dict[str, str]:
    """The flags that TensorFlow gets, by name."""
    os.environ[compile_cache.FLAGS] = ""
    compile_cache.use()
    pairs = (flag.removeprefix("--tf_xla_persistent_cache_").split("=") for flag in os.environ["TF_XLA_FLAGS"].split())
    return dict(pairs)


def folder_in_use() -> pathlib.Path:
    return pathlib.Path(use()["directory"])


def add(folder: pathlib.Path, name: str, age: int = 0) -> None:
    entry = folder / f"{name}.pb"
    entry.write_bytes(name.encode())
    status = entry.stat()
    os.utime(entry, (status.st_atime - age, status.st_mtime - age))


def names(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_private_folder_per_processor_and_environment(cache, monkeypatch):
    flags = use()
    folder = pathlib.Path(flags.pop("directory"))
    assert flags == {"device_types": "CPU"}
    assert folder.parent == cache and stat.S_IMODE(cache.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder_in_use() == folder
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    assert folder_in_use() != folder
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(compile_cache.importlib.metadata, "version", lambda name: "9.9")
    assert folder_in_use() != folder


def test_other_flags_are_kept_and_the_users_own_cache_is(cache, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    compile_cache.use()
    assert os.environ["TF_XLA_FLAGS"].startswith("--tf_xla_clustering_debug --tf_xla_persistent_cache_directory=")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=mine")
    compile_cache.use()
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_persistent_cache_directory=mine"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(cache, mode):
    cache.mkdir()
    cache.chmod(mode)
    assert use() == {}


def test_nor_one_inside_such_a_folder_unless_names_are_protected_there(cache, tmp_path):
    folder = folder_in_use()
    for mode, is_used in ((0o777, False), (0o1777, True)):
        tmp_path.chmod(mode)
        assert bool(use()) == is_used
    tmp_path.chmod(0o700)
    moved = tmp_path / "moved"
    folder.rename(moved)
    folder.symlink_to(moved)
    assert folder_in_use() == moved  # what is checked is where it leads
    moved.chmod(0o777)
    assert use() == {}


@pytest.mark.parametrize("value", ["off", "/proc/cache", "/dev/null", "with space"])
def test_without_a_folder_nothing_is_kept(cache, monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(compile_cache.VARIABLE, value)
    assert use() == {}
    compile_cache.seal()


def test_entries_count_only_with_their_checksum(cache):
    folder = folder_in_use()
    for name in ("whole", "cut", "killed"):
        add(folder, name)
    (folder / "killed.pb").rename(folder / "later")
    compile_cache.seal()
    (folder / "cut.pb").write_bytes(b"cu")
    (folder / "later").rename(folder / "killed.pb")
    assert folder_in_use() == folder
    assert names(folder) == ["whole.pb", "whole.sha256"]
    assert (folder / "whole.sha256").read_text() == compile_cache.hashlib.sha256(b"whole").hexdigest()


def test_the_oldest_of_too_many_are_deleted(cache, monkeypatch):
    monkeypatch.setattr(compile_cache, "MAX_ENTRIES", 2)
    folder = folder_in_use()
    for age, name in enumerate("abc"):
        add(folder, name, age)
    compile_cache.seal()
    use()
    assert names(folder) == ["a.pb", "a.sha256", "b.pb", "b.sha256"]


def test_without_space_whole_entries_are_read_and_none_is_written(cache, monkeypatch):
    folder = folder_in_use()
    add(folder, "a")
    compile_cache.seal()

    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", is_full)
    assert use() == {"directory": str(folder), "device_types": "CPU", "read_only": "true"}
    (folder / "a.pb").write_bytes(b"")
    assert use() == {}
