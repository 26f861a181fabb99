import io
import random

import pytest

from job_runtime import storage
from job_runtime.storage import seekable_file
from job_runtime.storage.seekable_file import open_file

DATA = random.Random(1).randbytes(1000)


@pytest.fixture(params=["local", "gs", "s3"])
def path(request, tmp_path, monkeypatch):
    monkeypatch.setattr(seekable_file, "BLOCK_BYTES", 64)
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue(f"{request.param}_bucket")
    storage.write_bytes(f"{root}/a.bin", DATA)
    return f"{root}/a.bin"


def test_it_reads_as_bytes_in_memory_do(path):
    rng = random.Random(2)
    with open_file(path, len(DATA)) as file:
        memory = io.BytesIO(DATA)
        for _ in range(60):
            place = rng.randrange(1100)
            assert file.seek(place) == memory.seek(place)
            length = rng.choice([0, 1, 63, 64, 65, 300, -1])
            assert file.read(length) == memory.read(length)
            assert file.tell() == memory.tell()
        assert file.seek(-10, io.SEEK_END) == 990
        assert file.seek(5, io.SEEK_CUR) == 995
        assert file.read() == DATA[995:]
        with pytest.raises((ValueError, OSError)):
            file.seek(-1)


def test_a_block_is_fetched_once_and_few_are_kept(s3_bucket, monkeypatch):
    monkeypatch.setattr(seekable_file, "BLOCK_BYTES", 100)
    storage.write_bytes(f"{s3_bucket}/a", DATA)
    asked = []
    real = storage.read_range
    monkeypatch.setattr(
        storage, "read_range", lambda path, offset, length: asked.append((offset, length)) or real(path, offset, length)
    )
    file = open_file(f"{s3_bucket}/a", 950)
    assert b"".join(iter(lambda: file.read(7), b"")) == DATA[:950]
    assert asked == [(0, 1)] + [(offset, min(100, 950 - offset)) for offset in range(0, 950, 100)]
    assert len(file._blocks) == 4


def test_trouble_is_remembered(s3_bucket):
    for size in (10, 10 << 20):
        with pytest.raises(FileNotFoundError):
            open_file(f"{s3_bucket}/nothing", size)
    file = seekable_file.RangeFile(f"{s3_bucket}/nothing", 10)
    with pytest.raises(FileNotFoundError):
        file.read(1)
    with pytest.raises(FileNotFoundError):
        seekable_file.raise_network_error(file)
    seekable_file.raise_network_error(io.BytesIO())
