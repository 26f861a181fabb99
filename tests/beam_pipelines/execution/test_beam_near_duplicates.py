"""The Beam transform gives the pairs of `find_pairs`."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines.execution import beam_near_duplicates
from beam_pipelines.execution.beam_near_duplicates import FINGERPRINT, NearDuplicatePairs
from beam_pipelines.planning import digests
from beam_pipelines.planning.near_duplicates import find_pairs
from tests.beam_pipelines.planning.test_near_duplicates import families, make_ids


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
    monkeypatch.setattr(beam_near_duplicates, "_MOST_ROWS", most_rows)
    numbers = np.random.default_rng(3).permutation(1 << 20)[:120]
    signatures, ids = families(120), np.array([b"%032x" % (int(number) << 108) for number in numbers], "S32")
    expected = digests.pack(ids)[find_pairs(signatures, ids)].tolist()
    assert len(expected) > 100
    rows = rows_of(signatures, ids)
    check_pairs([rows[:50], rows[50:], rows[:0], rows[:30]], [tuple(pair) for pair in expected], num_pieces)


def test_ranges_are_of_all_ids_in_order():
    rows = rows_of(families(2000), make_ids(2000))
    rows["id"] = digests.pack(np.array([b"%032x" % (number << 117) for number in range(2000)], "S32"))
    found = list(beam_near_duplicates._by_id(rows, "id", 4))
    assert [(number, len(some)) for number, some in found] == [(0, 512), (1, 512), (2, 512), (3, 464)]
    assert np.concatenate([some["id"] for _, some in found]).tolist() == rows["id"].tolist()


def test_pieces_are_packed_in_elements_of_bounded_size(monkeypatch):
    monkeypatch.setattr(beam_near_duplicates, "_MOST_ROWS", 2)
    fn = beam_near_duplicates._PackFn()
    fn.start_bundle()
    packed = [element for row in families(5) for element in fn.process(row[np.newaxis])]
    packed += [element.value for element in fn.finish_bundle()]
    assert [len(element) for element in packed] == [2, 2, 1]
    assert list(fn.finish_bundle()) == []


def test_no_pieces():
    check_pairs([], [], 0)
    check_pairs([np.zeros(0, FINGERPRINT)], [], 0)
