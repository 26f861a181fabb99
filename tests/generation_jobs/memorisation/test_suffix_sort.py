"""Sorted positions, against a sort of their symbols one by one."""

from __future__ import annotations

import numpy as np
import pytest

from generation_jobs.memorisation import suffix_sort
from generation_jobs.memorisation.suffix_sort import DEPTH, Buckets
from midi_codec.measures.note_strings import BOUNDARY


def text(total: int, symbols: list[int], rng_seed: int) -> np.ndarray:
    """Much repeats, also for longer than DEPTH."""
    rng = np.random.default_rng(rng_seed)
    part = rng.choice(symbols, max(total // 3, 1))
    symbol = np.concatenate([part, rng.choice(symbols, total), part])[:total]
    symbol[::50] = BOUNDARY
    return np.concatenate([symbol, np.full(DEPTH, BOUNDARY)]).astype(np.uint16)


def sorted_one_by_one(symbol: np.ndarray) -> list[int]:
    positions = [at for at in range(len(symbol) - DEPTH) if symbol[at] != BOUNDARY]
    return sorted(positions, key=lambda at: (symbol[at : at + DEPTH].tolist(), at))


@pytest.mark.parametrize("symbols", [[127], [120, 127, 134], list(range(100, 150)), [100, 256, 9000, 16639]])
@pytest.mark.parametrize("bucket, chunk", [(1 << 22, 1 << 20), (20, 64)])
def test_buckets_one_after_another_are_all_positions_sorted(symbols, bucket, chunk, monkeypatch):
    monkeypatch.setattr(suffix_sort, "BUCKET", bucket)
    monkeypatch.setattr(suffix_sort, "_CHUNK", chunk)
    for total in (0, 1, 400):
        symbol = text(total, symbols, total)
        buckets = Buckets.of(symbol)
        found = dict(buckets.sort(range(len(buckets))))
        assert sorted(found) == list(range(len(buckets)))
        order = [at for number in sorted(found) for at in found[number].tolist()]
        assert order == sorted_one_by_one(symbol)
    if bucket == 20 and len(symbols) == 50:
        assert len(buckets) >= 10
        some = dict(buckets.sort([3, 1]))
        assert [some[number].tolist() for number in (1, 3)] == [found[number].tolist() for number in (1, 3)]
