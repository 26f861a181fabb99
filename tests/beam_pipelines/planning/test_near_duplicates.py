"""Pairs and components: exact on small tables, complete on planted copies, the same in any order of rows."""

from __future__ import annotations

import numpy as np
import pytest

from beam_pipelines.encoding.fingerprints import NUM_VALUES
from beam_pipelines.planning import near_duplicates
from beam_pipelines.planning.near_duplicates import (
    NUM_BANDS,
    are_same,
    band_keys,
    bands_of,
    candidates,
    components,
    fill,
    find_pairs,
)


def make_ids(num: int) -> np.ndarray:
    """Ids in no order."""
    return np.array([b"%032x" % (number * 7919 % 10007) for number in range(num)], "S32")


def make_signatures(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**16, (num, NUM_VALUES)).astype(np.uint16)


def partly_equal(signature: np.ndarray, num_agreeing: int) -> np.ndarray:
    """A copy in which so many bins, spread over all, stay as they are."""
    copy = signature ^ np.uint16(1 << 15)
    copy[copy == 0] = 1
    kept = np.random.default_rng(num_agreeing).permutation(np.flatnonzero(signature))[:num_agreeing]
    copy[kept] = signature[kept]
    return np.where(signature == 0, 0, copy).astype(np.uint16)


def test_fill_takes_the_next_value_and_goes_round():
    signatures = np.zeros((2, NUM_VALUES), np.uint16)
    signatures[0, [2, 5]] = 20, 50
    signatures[1] = np.arange(1, NUM_VALUES + 1)
    filled = fill(signatures)
    assert filled[0].tolist() == [20] * 3 + [50] * 3 + [20] * (NUM_VALUES - 6)
    assert filled[1].tolist() == signatures[1].tolist()


def test_fill_is_the_same_in_turns(monkeypatch):
    signatures = make_signatures(10)
    signatures[:, ::3] = 0
    whole = fill(signatures)
    monkeypatch.setattr(near_duplicates, "_ROWS_AT_ONCE", 4)
    assert np.array_equal(fill(signatures), whole)


def test_band_keys_hold_two_bins_and_the_next_two():
    (bands,) = bands_of(np.arange(NUM_VALUES, dtype=np.uint16)[np.newaxis])
    assert bands[[0, 1, 63]].tolist() == [0 << 16 | 64, 1 << 16 | 65, 63 << 16 | 127]
    keys = band_keys(bands[[0, 63]], bands[[1, 0]])
    assert keys.tolist() == [0 << 48 | 64 << 32 | 1 << 16 | 65, 63 << 48 | 127 << 32 | 0 << 16 | 64]
    assert keys.dtype == np.uint64


def test_candidates_are_those_of_one_bucket():
    keys = np.array([5 << 32 | 1, 9 << 32, 5 << 32 | 3, 4 << 32, 5 << 32 | 2], np.uint64)
    assert sorted(np.concatenate(list(candidates(keys))).tolist()) == [[0, 2], [0, 4], [2, 4]]


def test_in_a_large_bucket_neighbours_by_the_next_band_are_compared():
    lower = np.random.default_rng(0).permutation(100)
    (found,) = candidates((7 << 32 | lower).astype(np.uint64))
    distances = np.abs(lower[found[:, 0]] - lower[found[:, 1]])
    assert np.bincount(distances).tolist() == [0, 99, 98, 97, 96, 95, 94, 93, 92]
    assert (found[:, 0] < found[:, 1]).all()


@pytest.mark.parametrize("num", [0, 1])
def test_no_candidates(num):
    assert list(candidates(np.zeros(num, np.uint64))) == []


@pytest.mark.parametrize(
    ("num_filled", "least"),
    [(128, 20), (96, 18), (64, 15), (32, 9)],  # 15 % of 128; 15 % and a quarter of it, a half, three quarters more
)
def test_how_many_bins_must_agree(num_filled, least):
    signature = make_signatures(1)[0]
    signature[num_filled:] = 0
    copies = np.stack([partly_equal(signature, least), partly_equal(signature, least - 1)])
    assert are_same(np.stack([signature, signature]), copies).tolist() == [True, False]


def test_bins_that_either_fills_count():
    signature = make_signatures(1)[0]
    half = np.where(np.arange(NUM_VALUES) < 64, signature, 0).astype(np.uint16)
    assert are_same(signature[np.newaxis], half[np.newaxis]).tolist() == [True]
    for one, other in ((signature, partly_equal(half, 19)), (partly_equal(half, 19), signature)):
        assert are_same(one[np.newaxis], other[np.newaxis]).tolist() == [False]
    assert are_same(np.zeros((1, NUM_VALUES), np.uint16), np.zeros((1, NUM_VALUES), np.uint16)).tolist() == [False]


def test_planted_copies_are_found_and_nothing_else():
    originals = make_signatures(300)
    copies = np.stack([partly_equal(row, 50) for row in originals[:100]])
    signatures = np.concatenate([originals, copies])
    ids = make_ids(400)
    pairs = find_pairs(signatures, ids)
    expected = [sorted((row, 300 + row), key=lambda place: ids[place]) for row in range(100)]
    assert pairs.tolist() == sorted(expected, key=lambda pair: ids[pair[0]])
    assert pairs.dtype == np.int64


def test_short_pieces_are_found():
    originals = make_signatures(50)
    originals[np.random.default_rng(1).random(originals.shape) < 0.65] = 0
    signatures = np.concatenate([originals, [partly_equal(row, 25) for row in originals]])
    assert len(find_pairs(signatures, make_ids(100))) >= 48


def test_no_fingerprint_pairs_with_nothing():
    signatures = np.zeros((5, NUM_VALUES), np.uint16)
    assert find_pairs(signatures, make_ids(5)).shape == (0, 2)
    signatures[[1, 3]] = make_signatures(1)
    assert sorted(find_pairs(signatures, make_ids(5))[0].tolist()) == [1, 3]


def test_an_empty_corpus():
    assert find_pairs(np.zeros((0, NUM_VALUES), np.uint16), np.zeros(0, "S32")).shape == (0, 2)


def families(num: int) -> np.ndarray:
    """Twenty families of more or less alike rows."""
    rng = np.random.default_rng(num)
    centres, noise = make_signatures(20), make_signatures(num, 1)
    return np.where(rng.random((num, NUM_VALUES)) < 0.6, centres[rng.integers(0, 20, num)], noise)


def test_the_order_of_rows_does_not_matter():
    signatures, ids = families(600), make_ids(600)
    order = np.random.default_rng(5).permutation(600)
    pairs = ids[find_pairs(signatures, ids)]
    assert np.array_equal(pairs, ids[order][find_pairs(signatures[order], ids[order])])
    assert len(pairs) > 2000


def test_the_pairs_of_all_bands_are_those_of_each_together():
    signatures, ids = families(300), make_ids(300)
    apart = [find_pairs(signatures, ids, range(begin, begin + 16)).tolist() for begin in range(0, NUM_BANDS, 16)]
    together = {tuple(pair) for pairs in apart for pair in pairs}
    assert together == {tuple(pair) for pair in find_pairs(signatures, ids).tolist()}
    assert all(len(pairs) < len(together) for pairs in apart)


def test_verifying_in_turns_changes_nothing(monkeypatch):
    signatures, ids = families(300), make_ids(300)
    pairs = find_pairs(signatures, ids)
    monkeypatch.setattr(near_duplicates, "_PAIRS_AT_ONCE", 7)
    assert np.array_equal(find_pairs(signatures, ids), pairs)


def test_a_thousand_copies_are_one_component_of_few_pairs():
    signatures = np.stack([partly_equal(make_signatures(1)[0], 60 + number % 60) for number in range(1000)])
    pairs = find_pairs(signatures, make_ids(1000))
    assert (components(1000, pairs) == 0).all()
    assert len(pairs) <= 1000 * near_duplicates.NUM_COMPARED * NUM_BANDS


def test_equal_ids_are_refused():
    with pytest.raises(ValueError, match="one piece_id twice"):
        find_pairs(make_signatures(2), np.array([b"a", b"a"], "S32"))


def test_components_by_hand():
    assert components(6, np.array([[4, 5], [1, 4], [0, 2]])).tolist() == [0, 1, 0, 3, 1, 1]
    assert components(3, np.zeros((0, 2), np.int64)).tolist() == [0, 1, 2]
    assert components(0, np.zeros((0, 2), np.int64)).tolist() == []


def test_a_long_chain_is_one_component():
    order = np.random.default_rng(2).permutation(5000)
    assert (components(5000, np.stack([order[:-1], order[1:]], axis=1)) == 0).all()


@pytest.mark.parametrize("num_pairs", [30, 60, 100])
def test_components_of_random_pairs(num_pairs):
    pairs = np.random.default_rng(num_pairs).integers(0, 100, (num_pairs, 2))
    smallest = list(range(100))
    for _ in range(100):
        for one, other in pairs.tolist():
            smallest[one] = smallest[other] = min(smallest[one], smallest[other])
    assert components(100, pairs).tolist() == smallest
