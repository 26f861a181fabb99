"""The Beam transform gives the pairs of `find_pairs`."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipelines.execution import beam_near_duplicates
from beam_pipelines.execution.beam_near_duplicates import NearDuplicatePairs
from beam_pipelines.planning.near_duplicates import find_pairs
from tests.beam_pipelines.planning.test_near_duplicates import families, make_ids


def check_pairs(pieces: list[tuple[str, np.ndarray]], expected: list[tuple[str, str]]) -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pairs = pipeline | beam.Create(pieces) | NearDuplicatePairs()
        assert_that(pairs, equal_to(expected))


@pytest.mark.parametrize("most_rows", [1 << 13, 16])
def test_as_without_an_engine(monkeypatch, most_rows):
    monkeypatch.setattr(beam_near_duplicates, "_MOST_ROWS", most_rows)
    signatures, ids = families(120), make_ids(120)
    signatures[::10] = 0
    names = [piece_id.decode() for piece_id in ids]
    expected = [(names[one], names[other]) for one, other in find_pairs(signatures, ids).tolist()]
    assert len(expected) > 100
    pieces = list(zip(names, signatures, strict=True))
    check_pairs([*pieces, *pieces[:30]], expected)  # exact duplicates come as often as they are read


def test_pieces_are_packed_in_elements_of_bounded_size(monkeypatch):
    monkeypatch.setattr(beam_near_duplicates, "_MOST_ROWS", 2)
    fn = beam_near_duplicates._PackFn()
    fn.start_bundle()
    packed = [element for row in families(5) for element in fn.process(("0" * 32, row))]
    packed += [element.value for element in fn.finish_bundle()]
    assert [len(element) / 288 for element in packed] == [2, 2, 1]
    assert list(fn.finish_bundle()) == []


def test_no_pieces():
    check_pairs([], [])
