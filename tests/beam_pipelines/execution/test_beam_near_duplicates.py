"""The Beam transform gives the pairs of `find_pairs`."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines.execution import beam_near_duplicates, beam_ranges
from beam_pipelines.execution.beam_near_duplicates import FINGERPRINT, NearDuplicatePairs
from beam_pipelines.planning import digests
from beam_pipelines.planning.near_duplicates import find_pairs
from tests.beam_pipelines.planning.test_near_duplicates import families


def rows_of(signatures: np.ndarray, ids: np.ndarray) -> np.ndarray:
    rows = np.empty(len(ids), FINGERPRINT)
    rows["id"], rows["signature"] = digests.pack(ids), signatures
    return rows


def check_pairs(arrays: list[np.ndarray], expected: list[tuple[bytes, bytes]], num_pieces: int) -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | beam.Create(arrays) | NearDuplicatePairs(num_pieces)
        assert_that(found | beam.FlatMap(lambda pairs: pairs.tolist()), equal_to(expected))


@pytest.mark.parametrize("most_rows, num_pieces", [(1 << 13, 120), (16, 3_000_000)])
def test_as_without_an_engine(monkeypatch, most_rows, num_pieces):
    """In one range, and in 4 of buckets and 16 of ids. Exact duplicates come as often as they are read."""
    for module in (beam_near_duplicates, beam_ranges):
        monkeypatch.setattr(module, "MOST_ROWS", most_rows)
    numbers = np.random.default_rng(3).permutation(1 << 20)[:120]
    signatures, ids = families(120), np.array([b"%032x" % (int(number) << 108) for number in numbers], "S32")
    expected = digests.pack(ids)[find_pairs(signatures, ids)].tolist()
    assert len(expected) > 100
    rows = rows_of(signatures, ids)
    check_pairs([rows[:50], rows[50:], rows[:0], rows[:30]], [tuple(pair) for pair in expected], num_pieces)


def test_no_pieces():
    check_pairs([], [], 0)
    check_pairs([np.zeros(0, FINGERPRINT)], [], 0)
