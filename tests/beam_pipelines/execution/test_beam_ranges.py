"""Data between workers: ranges of ids, and elements of bounded size."""

from __future__ import annotations

import numpy as np

from beam_pipelines.execution import beam_ranges
from beam_pipelines.planning import digests

ROW = np.dtype([("id", digests.DTYPE), ("number", "u4")])


def test_ranges_are_of_all_ids_in_order():
    rows = np.zeros(2000, ROW)
    rows["id"] = digests.pack(np.array([b"%032x" % (number << 117) for number in range(2000)], "S32"))
    found = list(beam_ranges.by_name(rows, "id", 4))
    assert [(number, len(some)) for number, some in found] == [(0, 512), (1, 512), (2, 512), (3, 464)]
    assert np.concatenate([some["id"] for _, some in found]).tolist() == rows["id"].tolist()


def test_small_arrays_are_packed_in_elements_of_bounded_size(monkeypatch):
    monkeypatch.setattr(beam_ranges, "MOST_ROWS", 2)
    fn = beam_ranges.PackFn()
    fn.start_bundle()
    packed = [element for row in range(5) for element in fn.process(np.array([row]))]
    packed += [element.value for element in fn.finish_bundle()]
    assert [each.tolist() for each in packed] == [[0, 1], [2, 3], [4]]
    assert list(fn.finish_bundle()) == []
