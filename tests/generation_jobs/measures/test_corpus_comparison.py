"""Overlaps, distances and ceilings, on histograms and pieces small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from generation_jobs.measures import corpus_comparison
from generation_jobs.measures.corpus_comparison import Looks, compare, cut_alike, kl_divergence, overlap, wasserstein
from midi_codec.measures.music_measures import Part, measures
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS
from tests.midi_codec.measures.test_music_measures import make_notes


@pytest.mark.parametrize(
    "first, second, want",
    [([1.0, 0.0], [0.0, 1.0], 0.0), ([0.5, 0.5], [0.5, 0.5], 1.0), ([0.75, 0.25], [0.5, 0.5], 0.75)],
)
def test_overlap_is_the_area_under_both(first, second, want):
    assert overlap(np.array(first), np.array(second)) == want


def test_overlap_of_nothing_is_none():
    assert overlap(None, np.array([1.0])) is None


@pytest.mark.parametrize("rng_seed", range(5))
def test_wasserstein_is_that_of_scipy(rng_seed):
    first, second = np.random.default_rng(rng_seed).dirichlet(np.ones(9), 2)
    want = scipy.stats.wasserstein_distance(np.arange(9), np.arange(9), first, second)
    assert wasserstein(first, second) == pytest.approx(want)


def test_wasserstein_round_a_circle_takes_the_shorter_way():
    first, second = np.eye(12)[0], np.eye(12)[11]
    assert wasserstein(first, second) == pytest.approx(11)
    assert wasserstein(first, second, is_circular=True) == pytest.approx(1)


def test_kl_adds_half_a_count_to_each_bin():
    assert kl_divergence(np.array([3.0, 0]), np.array([3.0, 0])) == 0
    want = 7 / 8 * np.log((7 / 8) / (1 / 8)) + 1 / 8 * np.log((1 / 8) / (7 / 8))
    assert kl_divergence(np.array([3.0, 0]), np.array([0, 3.0])) == pytest.approx(want)


def by_name(comparisons, name):
    return next(comparison for comparison in comparisons if comparison.measure.name == name)


def test_compare_scales_counts_and_gives_a_ceiling():
    generated = [Part(make_notes([0, 10], [5, 5], pitch=[60, 62])), Part(make_notes([0], [5], pitch=[60]))]
    corpus = [Part(make_notes([0, 10, 20, 30], [5] * 4, pitch=[60, 60, 62, 64]))]
    held_out = [Part(make_notes([0, 10], [5] * 2, pitch=[60, 64]))]
    found = by_name(compare(Looks(measures(MILLISECONDS), generated), corpus, held_out), "pitch_class")
    np.testing.assert_allclose(found.generated[[0, 2, 4]], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found.corpus[[0, 2, 4]], [0.5, 0.25, 0.25])
    assert found.overlap == pytest.approx(0.75)
    assert found.ceiling.overlap == pytest.approx(0.75)
    assert found.ceiling.interval == pytest.approx((0.75, 0.75))  # one piece: all draws are the same
    assert found.of_ceiling == pytest.approx(1)


def test_a_small_generated_set_has_a_wide_ceiling():
    held_out = [Part(make_notes([0, 10], [5] * 2, pitch=[pitch] * 2)) for pitch in range(60, 72)]
    one, many = ([Part(make_notes([0, 10] * size, [5] * 2 * size, pitch=[60, 61] * size))] for size in (1, 100))
    of_one, of_many = (
        by_name(compare(Looks(measures(BEATS), g), held_out, held_out), "pitch_class") for g in (one, many)
    )
    assert of_one.ceiling.overlap == pytest.approx(1 / 12)  # one of the twelve was drawn
    assert 0.4 < of_many.ceiling.interval[0] < of_many.ceiling.interval[1] < 0.9


def test_compare_without_a_held_out_part_has_no_ceiling():
    part = Part(make_notes([0, 10], [5, 5]))
    for comparison in compare(Looks(measures(BEATS), [part]), [part], []):
        if comparison.corpus is not None:
            assert comparison.overlap == pytest.approx(1.0)
            assert comparison.wasserstein == comparison.kl == 0
        assert comparison.ceiling is None and comparison.of_ceiling is None


def test_nothing_is_a_share_of_a_ceiling_of_nothing():
    """One held-out piece, in no pitch class of the corpus."""
    generated, held_out = ([Part(make_notes([0, 10], [5, 5], pitch=pitch))] for pitch in ([60, 61], [61, 61]))
    corpus = [Part(make_notes([0, 10], [5, 5], pitch=[60, 60]))]
    found = by_name(compare(Looks(measures(MILLISECONDS), generated), corpus, held_out), "pitch_class")
    assert (found.overlap, found.ceiling.overlap, found.of_ceiling) == (0.5, 0.0, None)


def test_draws_are_the_same_every_time_and_reach_the_size():
    counts = np.random.default_rng(0).integers(1, 9, (20, 5)).astype(float)
    first, again = (corpus_comparison._draws(counts, 100) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.sum(axis=1).min() >= 100
    assert first.sum(axis=1).max() < 100 + counts.sum(axis=1).max()


def test_the_corpus_is_cut_like_the_generated_pieces():
    notes = [make_notes(list(range(size)), [5] * size) for size in (10, 4, 10, 3)]
    parts = list(cut_alike(notes, [(2, 5), (4, 8)]))
    assert [(len(part.notes), part.num_given) for part in parts] == [(5, 2), (5, 2)]
    assert list(cut_alike(notes, [])) == []


def test_means_are_those_of_the_pieces_own_figures():
    low, high = (Part(make_notes([0, 10, 20], [5] * 3, pitch=[pitch] * 3)) for pitch in (60, 70))
    longer = Part(make_notes(range(9), [5] * 9, pitch=[90] * 9))
    drums = Part(make_notes([0], [5], program=[DRUM_PROGRAM]))
    found = compare(Looks(measures(MILLISECONDS), [low, high, drums]), [longer, low], [])
    assert by_name(found, "pitch").means == (65.0, 75.0, None)
    assert by_name(found, "key_share").means == (1.0, 1.0, None)
