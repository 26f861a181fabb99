"""The cache of a split: what it holds, what is wrong with shards, and what happens to it on a disk."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf

from job_runtime import command, storage
from job_runtime.problem_report import UserError
from job_runtime.storage import partial_files
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo
from tests.trainer.tiny import (
    COMPOSER,
    LIVE,
    PIECES_BY_SPLIT,
    make_labels,
    make_many,
    make_notes,
    make_table,
    write_dataset,
)
from trainer.config import TrainConfig
from trainer.data import shard_reader, split_cache
from trainer.data.feed import Feed, Position
from trainer.data.pieces import Pieces, stack_pieces
from trainer.data.split_cache import load_split, load_splits

TABLE = make_table()
LENGTHS = [5, 9, 3, 12, 7, 1, 4]
SHARDS = [2, 1, 3, 1]


def write_shards(root: str) -> DatasetInfo:
    """A dataset whose training split lies in four shards; the first and the last piece are one group."""
    notes = make_many(LENGTHS)
    info = write_dataset(root, {"train": notes, "validation": make_many([6])})
    train = dataclasses.replace(info.splits["train"], shard_lengths=tuple(SHARDS))
    info = dataclasses.replace(info, splits={**info.splits, "train": train})
    groups = [notes[0].piece_id, *(piece.piece_id for piece in notes[1:-1]), notes[0].piece_id]
    examples = [
        records.serialize_example(records.Piece(piece.piece_id, group, f"{number}.mid", piece))
        for number, (piece, group) in enumerate(zip(notes, groups, strict=True))
    ]
    for path, begin, length in zip(
        dataset_info.shard_paths(root, info, "train"), np.cumsum([0, *SHARDS]), SHARDS, strict=False
    ):
        storage.write_bytes(path, records.write_records(examples[begin : begin + length]))
    return info


@pytest.mark.parametrize("readers", [1, 4])
def test_a_split_is_its_shards_in_order(tmp_path, readers, monkeypatch):
    monkeypatch.setattr(shard_reader, "READERS", readers)
    info = write_shards(str(tmp_path))
    loaded, want = load_split(str(tmp_path), info, "train", TABLE), stack_pieces(make_many(LENGTHS), TABLE)
    assert loaded.events.astype(want.events.dtype).tobytes() == want.events.tobytes()
    for name in ("first_event", "num_events", "milliseconds_per_tick", "piece_id"):
        assert loaded.index[name].tolist() == want.index[name].tolist(), name
    assert [loaded.source(piece) for piece in range(7)] == [f"{number}.mid" for number in range(7)]
    assert loaded.group[0] == loaded.group[-1] and len(set(loaded.group.tolist())) == len(LENGTHS) - 1


def test_an_empty_split(tmp_path):
    info = write_shards(str(tmp_path))
    loaded = load_split(str(tmp_path), info, "test", TABLE)
    assert (loaded.num_pieces, loaded.num_notes, len(loaded.block().raw)) == (0, 0, 0)


def problems_of(root: str, info: DatasetInfo) -> list[str]:
    with pytest.raises(UserError) as error:
        load_split(root, info, "train", TABLE)
    return error.value.problems


def framed(*examples: bytes) -> bytes:
    return records.write_records(examples)


def example(*, num_notes: int = 9, **changes) -> bytes:
    notes = make_notes(1, num_notes=num_notes)
    return records.serialize_example(records.Piece("a", "a", "x.mid", dataclasses.replace(notes, **changes)))


def example_without_a_pitch() -> bytes:
    message = tf.train.Example.FromString(example())
    del message.features.feature["pitch"].int64_list.value[-1]
    return message.SerializeToString(deterministic=True)


WHOLE = framed(example())
DAMAGES = {
    "a bit": (WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:], "record 0: the record at byte 0 is damaged"),
    "cut": (WHOLE[:-1], f"record 0: the record at byte 0 is cut off: the file ends at byte {len(WHOLE) - 1}"),
    "another format": (b"MThd" * 8, "record 0: the record at byte 0 is damaged: its length has a wrong checksum"),
    "empty": (b"", "holds 0 pieces, want 1;"),
    "a piece more": (2 * WHOLE, "holds 2 pieces, want 1;"),
    "no example": (framed(b"{}"), "record 0: the example is damaged at byte 0 of 2"),
    "columns of unlike length": (
        framed(example_without_a_pitch()),
        "record 0: the note features differ in length: {'step': 9, 'pitch': 8,",
    ),
    "no tempo": (framed(example(tempo=float("nan"))), "record 0: tempo is nan, want quarter notes per minute above 0"),
    "values beyond the corpus": (
        framed(example(pitch=np.full(9, 61, np.uint8))),
        "has pitch 61;",
    ),
    "another program": (
        framed(example(program=np.full(9, 40, np.uint8))),
        "has program 40;",
    ),
}


@pytest.mark.parametrize("data, want", DAMAGES.values(), ids=DAMAGES)
def test_a_shard_that_cannot_be_is_the_users_mistake_and_named(tmp_path, data, want):
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[1]
    storage.write_bytes(path, data)
    before = threading.active_count()
    (problem,) = problems_of(str(tmp_path), info)
    assert problem.startswith(f"{path}: {want}")
    assert not want.endswith(";") or problem.endswith(f"; {tmp_path}/dataset_info.json says otherwise")
    assert threading.active_count() == before


def test_every_shard_that_cannot_be_read_is_named_at_once(tmp_path):
    info = write_shards(str(tmp_path))
    paths = dataset_info.shard_paths(str(tmp_path), info, "train")
    storage.delete(paths[0])
    storage.write_bytes(paths[1], b"")
    storage.delete(paths[3])
    (tmp_path / paths[3]).mkdir()
    assert problems_of(str(tmp_path), info) == [
        f"{paths[0]}: cannot be read: No such file or directory",
        f"{paths[1]}: holds 0 pieces, want 1; {tmp_path}/dataset_info.json says otherwise",
        f"{paths[3]}: cannot be read: it is a folder, want a regular file",
    ]


def test_both_splits_are_looked_through(tmp_path):
    info = write_shards(str(tmp_path))
    paths = [dataset_info.shard_paths(str(tmp_path), info, split)[0] for split in ("train", "validation")]
    for path in paths:
        storage.delete(path)
    with pytest.raises(UserError) as error:
        load_splits(str(tmp_path), info, ("train", "validation"), TABLE)
    assert error.value.problems == [f"{path}: cannot be read: No such file or directory" for path in paths]


@pytest.mark.parametrize("num_notes", [2, 50])
def test_a_shard_of_another_dataset(tmp_path, num_notes):
    info = write_shards(str(tmp_path))
    storage.write_bytes(dataset_info.shard_paths(str(tmp_path), info, "train")[1], framed(example(num_notes=num_notes)))
    assert problems_of(str(tmp_path), info) == [
        f"{tmp_path}: the shards of train hold {sum(LENGTHS) - 3 + num_notes} notes, want {sum(LENGTHS)}"
        " as dataset_info.json says"
    ]


def test_a_disk_that_fails_is_no_mistake(tmp_path, monkeypatch):
    """It may pass: the command ends with status 1, which a supervisor starts again."""
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[2]
    real = storage.read_bytes

    def read_bytes(name):
        if name == path:
            raise OSError(errno.EIO, "Input/output error", path)
        return real(name)

    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    with pytest.raises(OSError, match="Input/output error") as error:
        load_split(str(tmp_path), info, "train", TABLE)
    assert error.value.filename == path


def load(tmp_path, info: DatasetInfo, **arguments) -> Pieces:
    return load_split(str(tmp_path / "data"), info, "train", TABLE, folder=str(tmp_path / "cache"), **arguments)


def cache_path(tmp_path, info: DatasetInfo) -> pathlib.Path:
    return tmp_path / "cache" / f"{info.hash}-train.columns"


@pytest.fixture
def info(tmp_path) -> DatasetInfo:
    """Of a dataset in `tmp_path / "data"`."""
    return write_shards(str(tmp_path / "data"))


def hide_shards(monkeypatch) -> None:
    """From here on a look at a shard is an error."""
    monkeypatch.setattr(split_cache, "read_shards", lambda *_: pytest.fail("the shards are read again"))


def test_the_file_written_out(tmp_path, info):
    load(tmp_path, info)
    data = cache_path(tmp_path, info).read_bytes()
    header = json.loads(data[:4096])
    parts = data[4096:4528], data[4528:5200], data[5200:]
    assert header.pop("checksums") == [google_crc32c.value(part) for part in parts]
    assert header == {
        "format_version": 2, "dataset": info.hash, "split": "train", "num_events": 48, "num_pieces": 7,
        "event_bytes": 9, "piece_bytes": 96, "text_bytes": 35,
    }  # fmt: skip
    assert parts[2] == b"".join(f"{number}.mid".encode() for number in range(7))
    second = make_many(LENGTHS)[1]
    assert data[4096 + 6 * 9 : 4096 + 7 * 9] == bytes(
        [0, 0, 0, 0, second.duration[0], 0, second.pitch[0], second.velocity[0], 0]
    )
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        f".{info.hash}-train.lock",
        f"{info.hash}-train.columns",
    ]


def test_long_durations_take_four_bytes(tmp_path):
    notes = dataclasses.replace(make_notes(0, num_notes=3), duration=np.array([1 << 16, 5, 2**31 - 1], np.int32))
    info = write_dataset(str(tmp_path / "data"), {"train": [notes]})
    pieces = load(tmp_path, info)
    assert pieces.events.dtype.itemsize == 11
    assert pieces.block().raw[:, 2].tolist() == [1 << 16, 5, 2**31 - 1, 0]


def test_it_is_built_once(tmp_path, info, monkeypatch, caplog):
    built = load(tmp_path, info)
    hide_shards(monkeypatch)
    mapped = load(tmp_path, info)
    assert mapped.events.tobytes() == built.events.tobytes() and mapped.index.tobytes() == built.index.tobytes()
    assert not caplog.records


@pytest.mark.parametrize("memory", [0, 20])
def test_batches_from_the_file_are_those_from_memory(memory, tmp_path, info):
    config = TrainConfig(batch_size=2, window=5, transpose=3, velocity=2, tempo=0.1)
    made = []
    for pieces in (load(tmp_path, info), stack_pieces(make_many(LENGTHS), TABLE)):
        feed = Feed(pieces, TABLE, config, start_bins=TABLE.start_bins, position=Position(), memory=memory)
        with contextlib.closing(feed):
            batches = [next(feed) for _ in range(30)]  # more than an epoch
        made.append([(batch.as_dict().items(), batch.num_events, after) for batch, after in batches])
    for (arrays, *rest), (want, *want_rest) in zip(*made, strict=True):
        assert [(name, array.dtype, array.tolist()) for name, array in arrays] == [
            (name, array.dtype, array.tolist()) for name, array in want
        ]
        assert rest == want_rest


DAMAGED = {
    "an event": lambda data: data[:4200] + bytes([data[4200] ^ 1]) + data[4201:],
    "the index": lambda data: data[:5000] + bytes([data[5000] ^ 128]) + data[5001:],
    "a source": lambda data: data[:-1] + b"x",
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "another version": lambda data: data.replace(b'"format_version": 2', b'"format_version": 1'),
    "another split": lambda data: data.replace(b'"split": "train"', b'"split": "tests"'),
    "no header": lambda data: bytes(4096) + data[4096:],
    "a header of another kind": lambda data: b"[1]".ljust(4096) + data[4096:],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_built_again_and_the_log_says_so(damage, tmp_path, info, caplog):
    want = load(tmp_path, info).events.tobytes()
    path = cache_path(tmp_path, info)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert load(tmp_path, info).events.tobytes() == want
    assert path.read_bytes() == whole
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.getMessage().startswith(f"{path} is built again: it")


def test_what_a_killed_builder_left_is_deleted(tmp_path, info):
    (tmp_path / "cache").mkdir()
    with partial_files.create(str(tmp_path / "cache")) as (left, file):
        file.write(b"half")
        os.link(left, f"{left}.kept")
    os.rename(f"{left}.kept", left)  # without a lock: its process is gone
    load(tmp_path, info)
    assert not os.path.exists(left) and cache_path(tmp_path, info).exists()


def test_of_two_builders_one_builds_and_the_other_waits(tmp_path, info, monkeypatch):
    reads = []
    reading, may_continue = threading.Event(), threading.Event()

    def slowly(*arguments):
        reads.append(arguments)
        reading.set()
        may_continue.wait(60)
        yield from shard_reader.read_shards(*arguments)

    monkeypatch.setattr(split_cache, "read_shards", slowly)
    monkeypatch.setattr(split_cache.time, "sleep", lambda _: may_continue.set())  # the second one waits
    with ThreadPoolExecutor() as pool:
        first = pool.submit(load, tmp_path, info)
        assert reading.wait(60)
        second = pool.submit(load, tmp_path, info)
        assert first.result().events.tobytes() == second.result().events.tobytes()
    assert len(reads) == 1


def test_without_locks_it_is_built_too(tmp_path, info, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(split_cache.fcntl, "flock", flock)
    assert load(tmp_path, info).num_notes == sum(LENGTHS)


class Stopped:
    requested = True


def test_a_signal_ends_a_build_and_leaves_nothing(tmp_path, info):
    with pytest.raises(command.Interrupted, match="the cache of train was not ready"):
        load(tmp_path, info, stop=Stopped())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f".{info.hash}-train.lock"]
    assert load(tmp_path, info).num_pieces == 7


def test_a_signal_ends_the_wait_for_another_builder(tmp_path, info):
    (tmp_path / "cache").mkdir()
    with open(tmp_path / "cache" / f".{info.hash}-train.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(command.Interrupted, match="another process was building"):
            load(tmp_path, info, stop=Stopped())


def test_a_disk_that_is_too_small_is_named_before_the_shards_are_read(tmp_path, info, monkeypatch):
    hide_shards(monkeypatch)
    monkeypatch.setattr(split_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=5199))
    with pytest.raises(OSError, match="the cache of train takes 5,200 bytes; --cache-dir .*, 5,199 are free") as error:
        load(tmp_path, info)
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "cache"))


def test_a_disk_that_fills_up_is_named(tmp_path, info, monkeypatch):
    def pwrite(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(split_cache.os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space left on device: the cache of train takes 5,200 bytes") as error:
        load(tmp_path, info)
    assert error.value.filename == str(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f".{info.hash}-train.lock"]


def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path, info):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError) as error:
        load(tmp_path, info)
    assert error.value.problems == [f"the folder of caches '{tmp_path}/cache' cannot be written: File exists"]


def test_without_a_folder_nothing_stays(tmp_path, info, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(split_cache.tempfile, "tempdir", str(tmp_path / "temporary"))
    pieces = load_split(str(tmp_path / "data"), info, "train", TABLE)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert pieces.events.tobytes() == load(tmp_path, info).events.tobytes()


def test_where_caches_are(monkeypatch):
    monkeypatch.setattr(split_cache.tempfile, "tempdir", "/scratch")
    assert split_cache.default_folder("runs/one") == "runs/one/cache"
    assert split_cache.default_folder("gs://bucket/one") == f"/scratch/midi-lstm-cache-{os.getuid()}"
    assert split_cache.folder_problems(None) == []
    assert split_cache.folder_problems("gs://bucket/cache") == [
        "--cache-dir is gs://bucket/cache, want a local folder, on a disk of this machine"
    ]


def test_labels_are_in_the_file(tmp_path):
    info = write_dataset(str(tmp_path / "data"), PIECES_BY_SPLIT, has_labels=True)
    table = dataclasses.replace(TABLE, labels=(LIVE, COMPOSER))
    for _ in range(2):  # built, then mapped
        pieces = load_split(str(tmp_path / "data"), info, "train", table, folder=str(tmp_path / "cache"))
        want = [
            [table.labels[0].index(own.get("live")), table.labels[1].index(own.get("composer"))]
            for own in map(make_labels, range(5))
        ]
        assert pieces.labels.tolist() == want == [[0, 1], [1, 2], [1, 0], [0, 0], [1, 1]]
        assert [pieces.source(piece) for piece in range(5)] == [f"train-{piece}.mid" for piece in range(5)]
