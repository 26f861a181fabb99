import os
import subprocess
import sys
import threading

import pytest

from midi_codec import storage
from midi_codec.command import UserError


@pytest.fixture(params=["local", "gs", "s3"])
def root(request, tmp_path):
    """A place to write below, of each kind."""
    if request.param == "local":
        return str(tmp_path / "root")
    return request.getfixturevalue(f"{request.param}_bucket")


def paths(prefix):
    return [entry.path for entry in storage.list_files(prefix)]


def test_what_was_written_is_read_back(root):
    path = storage.join(root, "a", "b.bin")
    assert storage.write_bytes(path, b"\x00\xff") is True
    assert storage.read_bytes(path) == b"\x00\xff"
    assert storage.write_bytes(path, b"") is True
    assert storage.read_bytes(path) == b""
    storage.write_bytes(path, "nö\r\n".encode())
    assert storage.read_text(path) == "nö\r\n"


def test_missing_file_is_file_not_found(root):
    with pytest.raises(FileNotFoundError, match="nothing.mid"):
        storage.read_bytes(storage.join(root, "nothing.mid"))


def test_exists_is_about_files_and_is_folder_about_folders(root):
    storage.write_bytes(storage.join(root, "a/b.txt"), b"x")
    answers = {
        name: (storage.exists(storage.join(root, name)), storage.is_folder(storage.join(root, name)))
        for name in ("a", "a/", "a/b.txt", "a/b", "c")
    }
    assert answers == {
        "a": (False, True),
        "a/": (False, True),
        "a/b.txt": (True, False),
        "a/b": (False, False),
        "c": (False, False),
    }
    assert storage.is_folder(root)


def test_listing_is_recursive_and_sorted_by_whole_path(root):
    names = ["b.mid", "a/z.mid", "a-b/x.mid", "a/b/c.mid", "a.mid", "a/ü.mid", "a/%41 #?.mid"]
    for size, name in enumerate(names):
        storage.write_bytes(storage.join(root, name), b"x" * size)
    want = [storage.join(root, name) for name in sorted(names)]
    entries = list(storage.list_files(root))
    assert [entry.path for entry in entries] == want
    assert {entry.path: entry.size for entry in entries} == {
        storage.join(root, name): size for size, name in enumerate(names)
    }
    assert [storage.read_bytes(entry.path) for entry in entries] == [b"x" * entry.size for entry in entries]
    assert paths(storage.join(root, "a/")) == [path for path in want if "/a/" in path]
    assert paths(storage.join(root, "a")) == paths(storage.join(root, "a/"))  # neither a.mid nor a-b


def test_listing_a_file_gives_that_file(root):
    storage.write_bytes(storage.join(root, "a.mid"), b"xy")
    storage.write_bytes(storage.join(root, "a.mid2"), b"xyz")
    path = storage.join(root, "a.mid")
    assert list(storage.list_files(path)) == [storage.Entry(path, 2)]


def test_listing_leaves_out_unfinished_files(root):
    storage.write_bytes(storage.join(root, "a.mid"), b"x")
    storage.write_bytes(storage.join(root, f".abc{storage.PARTIAL_SUFFIX}"), b"x")
    assert paths(root) == [storage.join(root, "a.mid")]


def test_rename_moves_over_what_is_there(root):
    source, target = storage.join(root, "a/b.mid"), storage.join(root, "c/d.mid")
    storage.write_bytes(source, b"new")
    storage.write_bytes(target, b"old")
    storage.rename(source, target)
    assert paths(root) == [target]
    assert storage.read_bytes(target) == b"new"
    with pytest.raises(FileNotFoundError):
        storage.rename(source, target)


def test_rename_between_places(root, tmp_path):
    source = str(tmp_path / "here.mid")
    storage.write_bytes(source, b"x")
    storage.rename(source, storage.join(root, "there.mid"))
    assert not storage.exists(source)
    assert storage.read_bytes(storage.join(root, "there.mid")) == b"x"


def test_delete_can_be_repeated(root):
    path = storage.join(root, "a.mid")
    storage.write_bytes(path, b"x")
    storage.delete(path)
    storage.delete(path)
    assert not storage.exists(path)


@pytest.mark.parametrize("root", ["local", "s3"], indirect=True)  # the gs:// emulator ignores preconditions
def test_only_if_absent_keeps_what_is_there(root):
    path = storage.join(root, "a.mid")
    assert storage.write_bytes(path, b"first", only_if_absent=True) is True
    assert storage.write_bytes(path, b"second", only_if_absent=True) is False
    assert storage.read_bytes(path) == b"first"
    assert paths(root) == [path]


@pytest.mark.parametrize("root", ["local", "s3"], indirect=True)
def test_of_many_writers_at_once_one_wins(root):
    path = storage.join(root, "a.mid")
    won = []
    threads = [
        threading.Thread(
            target=lambda n=n: storage.write_bytes(path, bytes([n]) * 1000, only_if_absent=True) and won.append(n)
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read_bytes(path) == bytes(won) * 1000


def test_gs_only_if_absent_asks_for_generation_zero(gs_bucket, monkeypatch):
    from google.api_core import exceptions
    from google.cloud.storage import Blob

    def refuse(blob, data, **options):
        assert options["if_generation_match"] == 0
        raise exceptions.PreconditionFailed("taken")

    monkeypatch.setattr(Blob, "upload_from_string", refuse)
    assert storage.write_bytes(f"{gs_bucket}/a.mid", b"x", only_if_absent=True) is False


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_missing_bucket_is_the_users_mistake(scheme, request):
    request.getfixturevalue(f"{scheme}_bucket")
    path = f"{scheme}://no-such-bucket/a.mid"
    with pytest.raises(UserError, match="there is no bucket 'no-such-bucket'"):
        paths(f"{scheme}://no-such-bucket/")
    with pytest.raises(UserError, match="there is no bucket 'no-such-bucket'"):
        storage.write_bytes(path, b"x")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(path)
    assert not storage.exists(path)
    assert not storage.is_folder(path)


def test_missing_gs_credentials_are_the_users_mistake(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else it waits for a metadata server
    with pytest.raises(UserError, match="needs Google credentials"):
        storage.read_bytes("gs://bucket/a.mid")


def test_missing_s3_credentials_are_the_users_mistake(s3_bucket, monkeypatch, tmp_path):
    from midi_codec import storage_s3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    storage_s3._client_of.cache_clear()
    with pytest.raises(UserError, match="needs AWS credentials"):
        storage.read_bytes(f"{s3_bucket}/a.mid")
    storage_s3._client_of.cache_clear()


@pytest.mark.parametrize(
    "path, want",
    [
        ("", "the path is empty"),
        ("http://host/a", "'http://host/a' is on http://, want a local path, gs://bucket/name or s3://bucket/name"),
        ("gs://", "'gs://' names no bucket, want gs://bucket/name"),
        ("s3:///a", "'s3:///a' names no bucket, want s3://bucket/name"),
        ("gs://bucket", "'gs://bucket' names a bucket, want gs://bucket/name"),
    ],
)
def test_bad_paths_say_what_is_wanted(path, want, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=want):
        storage.read_bytes(path)


@pytest.mark.parametrize(
    "parts, want",
    [
        (("a", "b"), "a/b"),
        (("a/", "/b", "c"), "a/b/c"),
        (("/", "b"), "/b"),
        (("gs://bucket", "b"), "gs://bucket/b"),
        (("gs://bucket/", "b/"), "gs://bucket/b/"),
        (("", "b"), "b"),
    ],
)
def test_join(parts, want):
    assert storage.join(*parts) == want


def test_missing_local_folder_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        paths(str(tmp_path / "nowhere"))


def test_local_listing_follows_links_once_and_skips_what_is_no_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.mid").write_bytes(b"x")
    (tmp_path / "in" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "in" / "pipe.mid")
    assert paths(str(tmp_path / "in")) == [str(tmp_path / "in" / "linked" / "a.mid")]


def test_local_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_bytes(str(tmp_path / "a.mid"), b"x")
    assert os.listdir(tmp_path) == []


def test_local_write_below_a_file_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        storage.write_bytes(str(tmp_path / "file" / "a.mid"), b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        storage.write_bytes(str(tmp_path / "folder"), b"x")


def test_local_only_if_absent_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = str(tmp_path / "a.mid")
    assert storage.write_bytes(path, b"first", only_if_absent=True) is True
    assert storage.write_bytes(path, b"second", only_if_absent=True) is False
    assert storage.read_bytes(path) == b"first"


def test_a_written_file_has_the_usual_permissions(tmp_path):
    path = tmp_path / "a.mid"
    previous = os.umask(0o022)
    try:
        storage.write_bytes(str(path), b"x")
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o644


def test_importing_storage_imports_no_cloud_library():
    code = "import sys, midi_codec.storage; print(sorted({'boto3', 'google.cloud.storage'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
