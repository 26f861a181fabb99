"""Writes one shard number of every split: takes the records from the parts, and sets their final group."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding.value_counts import Counts, ValueCounts
from job_runtime import storage
from midi_codec.dataset import records, tfrecord_framing
from midi_codec.dataset.dataset_info import SPLITS, shard_name
from midi_codec.music.note_batch import NoteBatch

PIECES_PER_BATCH = 256  # when they are counted again


def write_shard(
    index: int,
    entries: np.ndarray,
    *,
    part_paths: Sequence[str],
    output: str,
    splits: Sequence[str],
    num_shards: int,
    time_base: str,
) -> Mapping[str, Mapping[str, Counts]]:
    """Writes `<split>-<index>-of-<num>.tfrecord` for each split that gets shards, empty ones included.

    Args:
      entries: `[n]` of plan.ENTRY, by (part, offset): the pieces of this shard number, dropped ones included.

    Returns:
      What to add to the counts of the parts: a dropped or moved piece is negative in the split that counted it.

    Raises:
      RuntimeError: a part is damaged by a crash of the machine; it is deleted, so that another run makes it again.
    """
    is_changed = ~entries["kept"] | (entries["split"] != entries["counted"])
    has_other_group = entries["kept"] & (entries["group_id"] != entries["piece_id"])
    framed = _read(entries, part_paths)
    for row in np.flatnonzero(has_other_group).tolist():
        record = records.set_group(_unframe(framed[row]), entries["group_id"][row].decode())
        framed[row] = tfrecord_framing.write_records([record])
    order = np.argsort(entries["piece_id"], kind="stable")
    for split in splits:
        chosen = order[(entries["kept"] & (entries["split"] == SPLITS.index(split)))[order]]
        path = storage.join(output, shard_name(split, index, num_shards))
        storage.write_bytes(path, b"".join([framed[row] for row in chosen.tolist()]))
    return _corrections(entries, framed, np.flatnonzero(is_changed), time_base)


def _read(entries: np.ndarray, part_paths: Sequence[str]) -> list[bytes]:
    """The framed records of all entries; neighbours in a part are read together."""
    begins = entries["offset"].astype(np.int64)
    ends = begins + entries["length"]
    breaks = np.flatnonzero((entries["part"][1:] != entries["part"][:-1]) | (begins[1:] != ends[:-1])) + 1
    runs = [(int(a), int(b)) for a, b in itertools.pairwise([0, *breaks.tolist(), len(entries)]) if a < b]

    def read(run: tuple[int, int]) -> list[bytes]:
        first, last = run[0], run[1] - 1
        begin = int(begins[first])
        path = part_paths[entries["part"][first]]
        data = storage.read_range(path, begin, int(ends[last]) - begin)
        _check(data, run[1] - run[0], path)
        cuts = (begins[first : last + 1] - begin).tolist()
        return [data[a:b] for a, b in zip(cuts, [*cuts[1:], len(data)], strict=True)]

    is_remote = bool(part_paths) and storage.is_remote(part_paths[0])
    return list(itertools.chain.from_iterable(storage.map_in_threads(read, runs, is_slow=lambda run: is_remote)))


def _check(data: bytes, num_records: int, path: str) -> None:
    """Parts are written without waiting for the disk, so records are checked before they go into a dataset."""
    try:
        if sum(1 for _ in tfrecord_framing.read_records(data)) == num_records:
            return
        reason = "records are missing"
    except ValueError as error:
        reason = str(error)
    storage.delete(path)
    raise RuntimeError(f"{path} was damaged and is deleted ({reason}); start the same command again")


def _unframe(framed: bytes) -> bytes:
    (record,) = tfrecord_framing.read_records(framed)
    return record


def _corrections(
    entries: np.ndarray, framed: Sequence[bytes], changed: np.ndarray, time_base: str
) -> Mapping[str, Mapping[str, Counts]]:
    value_counts = ValueCounts()
    for rows in _batches(changed):
        unframed = [_unframe(framed[row]) for row in rows.tolist()]
        notes = [records.deserialize_example(record, time_base=time_base).notes for record in unframed]
        batch = NoteBatch.from_notes(notes, time_base)
        value_counts.add(batch, entries["counted"][rows], sign=-1)
        is_kept = entries["kept"][rows]
        if is_kept.any():
            value_counts.add(batch.take(np.flatnonzero(is_kept)), entries["split"][rows][is_kept])
    return value_counts.counts()


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(rows), PIECES_PER_BATCH):
        yield rows[begin : begin + PIECES_PER_BATCH]
