import os
import subprocess
import sys
import threading

import pytest

from job_runtime import storage
from job_runtime.problem_report import UserError


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


def test_a_file_from_parts_is_whole_or_not_there(root):
    path = storage.join(root, "a", "b.bin")
    storage.write_parts(path, (bytes([number]) * 3 for number in range(4)))
    assert storage.read_bytes(path) == b"\0\0\0\1\1\1\2\2\2\3\3\3"

    def broken():
        yield b"half"
        raise UserError("the rest cannot be read")

    with pytest.raises(UserError, match="the rest cannot be read"):
        storage.write_parts(path, broken())
    assert storage.read_bytes(path) == b"\0\0\0\1\1\1\2\2\2\3\3\3"
    assert paths(root) == [path]


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
    storage.write_bytes(storage.join(root, f".abc{storage.PARTIAL_SUFFIX}"), b"x")  # unfinished
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


def test_listing_a_missing_folder(root):
    missing = storage.join(root, "nowhere/")
    assert list(storage.list_files(missing, missing_ok=True)) == []
    if "://" not in root:
        with pytest.raises(FileNotFoundError):
            list(storage.list_files(missing))


def test_a_listing_tells_versions_apart(root):
    path = storage.join(root, "a.mid")
    versions = []
    for data in (b"x", b"y"):
        storage.write_bytes(path, data)
        if "://" not in root:
            os.utime(path, (len(versions), len(versions)))
        (entry,) = storage.list_files(root)
        assert entry.version == storage.look_up(path).version
        versions.append(entry.version)
    assert versions[0] and versions[1] and versions[0] != versions[1]


def test_size_and_look_up(root):
    path = storage.join(root, "a.mid")
    storage.write_bytes(path, b"xyz")
    assert (storage.size(path), storage.look_up(path)) == (3, storage.Entry(path, 3))
    assert storage.size(path + "x") is None
    assert storage.look_up(root) is None


def test_ranges(root):
    path = storage.join(root, "a.bin")
    storage.write_bytes(path, b"0123456789")
    ranges = [(0, 3), (3, 4), (8, 5), (10, 2), (20, 2), (0, 0), (0, 10)]
    got = [storage.read_range(path, offset, length) for offset, length in ranges]
    assert got == [b"012", b"3456", b"89", b"", b"", b"", b"0123456789"]
    with pytest.raises(FileNotFoundError):
        storage.read_range(path + "x", 0, 1)


def test_a_read_goes_no_further_than_it_may(root):
    path = storage.join(root, "a.bin")
    storage.write_bytes(path, bytes(5 << 20))
    assert len(storage.read_bytes(path, max_bytes=1000)) == 1001
    assert len(storage.read_bytes(path, max_bytes=5 << 20)) == 5 << 20
    storage.write_bytes(path, b"")
    assert storage.read_bytes(path, max_bytes=1000) == b""


def test_many_are_read_in_order_and_trouble_takes_its_place(root):
    names = [f"{number:03}.mid" for number in range(100)]
    for name in names:
        if name != "050.mid":
            storage.write_bytes(storage.join(root, name), name.encode())
    answers = list(storage.read_many((storage.join(root, name) for name in names), max_bytes=6))
    assert isinstance(answers[50], FileNotFoundError)
    assert answers[:50] + answers[51:] == [name.encode() for name in names if name != "050.mid"]
    assert list(storage.read_many([])) == []


def test_what_is_no_trouble_of_one_file_ends_a_read_of_many(monkeypatch, tmp_path):
    def gone(path, max_bytes=None):
        raise ConnectionError("gone")

    monkeypatch.setattr(storage, "read_bytes", gone)
    for path in (str(tmp_path / "a.mid"), "gs://bucket/a.mid"):
        with pytest.raises(ConnectionError):
            list(storage.read_many([path]))


def test_slow_items_are_mapped_in_threads_and_in_order():
    started = threading.Barrier(storage.NUM_CONNECTIONS, timeout=30)

    def wait(number):
        if number % 2:
            started.wait()  # passes when all that may be under way are
        return number, threading.current_thread() is threading.main_thread()

    numbers = range(2 * storage.NUM_CONNECTIONS)
    mapped = list(storage.map_in_threads(wait, numbers, is_slow=lambda number: number % 2 == 1))
    assert mapped == [(number, number % 2 == 0) for number in numbers]


def test_a_folder_is_deleted_with_all_below_it(root):
    for name in ("a/b.mid", "a/c/d.mid", "a/.x.partial", "ab.mid"):
        storage.write_bytes(storage.join(root, name), b"x")
    storage.delete_folder(storage.join(root, "a"))
    storage.delete_folder(storage.join(root, "a"))
    assert paths(root) == [storage.join(root, "ab.mid")]
    assert not storage.exists(storage.join(root, "a/.x.partial"))


def test_what_need_not_be_durable_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    def fail(_):
        raise AssertionError("waited")

    monkeypatch.setattr(os, "fsync", fail)
    assert storage.write_bytes(str(tmp_path / "a"), b"x", durable=False) is True
    assert storage.read_bytes(str(tmp_path / "a")) == b"x"


def test_delete_can_be_repeated(root):
    path = storage.join(root, "a.mid")
    storage.write_bytes(path, b"x")
    storage.delete(path)
    storage.delete(path)
    assert not storage.exists(path)
    with pytest.raises(FileNotFoundError, match="a.mid"):
        storage.read_bytes(path)


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


def test_a_name_that_no_bucket_has_is_the_users_mistake(s3_bucket):
    with pytest.raises(UserError, match="Invalid bucket name"):
        storage.exists("s3://my bucket!/a.mid")


def test_missing_gs_credentials_are_the_users_mistake(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else it waits for a metadata server
    with pytest.raises(UserError, match="needs Google credentials"):
        storage.read_bytes("gs://bucket/a.mid")


def test_bad_credentials_are_no_trouble_of_one_file(gs_bucket, s3_bucket, monkeypatch):
    from botocore.exceptions import ClientError
    from google.auth.exceptions import RefreshError
    from google.cloud.storage import Blob

    from job_runtime.storage import s3

    def refuse_gs(*_, **__):
        raise RefreshError("no such account")

    class RefuseS3:
        def get_object(self, **_):
            raise ClientError({"Error": {"Code": "ExpiredToken"}}, "GetObject")

    monkeypatch.setattr(Blob, "download_as_bytes", refuse_gs)
    monkeypatch.setattr(s3, "_client", RefuseS3)
    for bucket in (gs_bucket, s3_bucket):
        with pytest.raises(UserError):
            list(storage.read_many([f"{bucket}/a.mid"]))


def test_connections_last_for_all_threads(gs_bucket, s3_bucket):
    from job_runtime.storage import gs, s3

    gs_client = gs._client_of(os.getpid(), os.environ["STORAGE_EMULATOR_HOST"])
    assert gs_client._http.get_adapter(os.environ["STORAGE_EMULATOR_HOST"])._pool_maxsize == storage.NUM_CONNECTIONS
    assert s3._client().meta.config.max_pool_connections == storage.NUM_CONNECTIONS


@pytest.mark.parametrize("missing, said", [("profile", "nobody"), ("keys", "needs AWS credentials")])
def test_missing_s3_credentials_are_the_users_mistake(s3_bucket, monkeypatch, tmp_path, missing, said):
    from job_runtime.storage import s3

    if missing == "profile":
        monkeypatch.setenv("AWS_PROFILE", "nobody")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3._client_of.cache_clear()
    with pytest.raises(UserError, match=said):
        storage.read_bytes(f"{s3_bucket}/a.mid")
    s3._client_of.cache_clear()


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
    for path in ("file/a.mid", "file/b/c/a.mid"):
        with pytest.raises(UserError, match=rf"{path}' cannot be written: '{tmp_path}/file' is a file, want a folder"):
            storage.write_bytes(str(tmp_path / path), b"x")


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
    code = "import sys, job_runtime.storage; print(sorted({'boto3', 'google.cloud.storage'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
