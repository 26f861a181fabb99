"""Early ends and limits, in numbers."""

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.endings import EarlyEnds, Events, end_before_limit
from tests.trainer.tiny import make_table
from trainer.bundle import Bundle

TABLE = make_table()


def make_bundle(described: dict[str, float] | None) -> Bundle:
    dataset = {} if described is None else {"notes_per_piece": described}
    return Bundle(config={}, fields=TABLE, dataset=dataset, metrics={}, deviations={}, weights={})


def walk(early: EarlyEnds, probabilities: list[float], *, primer: int = 0, steers: bool = True) -> list[float]:
    """The probability of END at each position from the primer on."""
    before = early.share(tf.constant([primer]))
    found = []
    for position, probability in enumerate(probabilities, primer):
        limited, before = early.limit(
            tf.constant([probability]), tf.constant([position]), before, tf.constant([steers])
        )
        found.append(float(limited[0]))
    return found


def ended(probabilities: list[float]) -> np.ndarray:
    return 1 - np.cumprod(1 - np.array(probabilities))


def test_ends_that_come_too_soon_become_as_frequent_as_in_the_corpus():
    early = EarlyEnds([make_bundle({"0": 2, "2": 4, "5": 7})])
    found = walk(early, [0.5] * 8)
    np.testing.assert_allclose(ended(found), [0, 0, 0, 0.01, 0.02, 0.03, 0.04, 0.52], atol=1e-6)
    assert found[7] == 0.5, "7 notes are not early"


def test_what_was_not_used_may_be_used_later():
    early = EarlyEnds([make_bundle({"0": 2, "2": 4, "5": 7})])
    found = walk(early, [0.0, 0.001, 0.001, 0.001, 0.001, 0.001, 0.5])
    np.testing.assert_allclose(found[:3], [0, 0, 0])
    assert found[3:6] == [pytest.approx(0.001)] * 3
    assert ended(found)[6] == pytest.approx(0.04, abs=1e-6)


def test_a_primer_counts_and_what_is_off_changes_nothing():
    early = EarlyEnds([make_bundle({"0": 2, "2": 4, "5": 7})])
    assert walk(early, [0.5] * 3, steers=False) == [0.5] * 3
    # of the pieces with at least 5 notes, (0.03 - 0.02) / 0.98 have 5
    np.testing.assert_allclose(walk(early, [0.5] * 3, primer=5), [0.01 / 0.98, 0.01 / 0.97, 0.5], atol=1e-6)
    assert walk(early, [0.5], primer=9) == [0.5]


def test_old_bundles_and_ensembles():
    assert walk(EarlyEnds([make_bundle(None)]), [0.5]) == [0.5]
    both = EarlyEnds([make_bundle({"0": 2, "5": 7}), make_bundle(None), make_bundle({"0": 0, "5": 3})])
    np.testing.assert_allclose(ended(walk(both, [0.5] * 7)), [0, 0, 0, 0.01, 0.02, 0.03, 0.04], atol=1e-6)


def make_events(steps: list[int], end_logit: list[float]) -> Events:
    """Notes with these steps; the last is beyond the limit."""
    size = len(steps)
    values = np.zeros((size, 4), np.int32)
    values[:, 0] = steps
    is_drawn = np.arange(size) < size - 1
    return Events(values, is_drawn, np.where(is_drawn, -1.0, 0.0).astype(np.float32), np.array(end_logit, np.float32))


@pytest.mark.parametrize(
    ("steps", "end_logit", "num_notes"),
    [
        ([0] + [5] * 8, [-3.0] * 9, 6),  # all alike: the first that may be
        ([0] + [5] * 8, [9.0] * 6 + [-3, -2, -3], 7),  # END is likeliest before the eighth; earlier ones are too early
        ([0] + [5] * 7 + [50], [-3.0] * 9, 8),  # the note beyond the limit is far away
        ([0] + [5] * 6 + [0, 5], [-3.0] * 7 + [5, -2.9], 8),  # amid a chord no piece ends
        ([0, 5, 5], [-3.0] * 3, 2),  # too short to lose a note
    ],
)
def test_the_best_place_before_a_limit(steps, end_logit, num_notes):
    events = end_before_limit(make_events(steps, end_logit), TABLE)
    assert events.is_drawn.tolist() == [True] * num_notes + [False]
    assert len(events.values) == num_notes + 1
    want = -num_notes - np.logaddexp(0, -end_logit[num_notes])
    assert events.log_likelihood.sum() == pytest.approx(want)


def test_a_long_piece_loses_at_most_64_notes():
    events = make_events([0] + [5] * 1000, [9.0] * 900 + [-3.0] * 101)
    assert end_before_limit(events, TABLE).is_drawn.sum() == 1000 - 64


def test_events_are_not_changed():
    events = make_events([0] + [5] * 8, [-3.0] * 9)
    before = events.log_likelihood.copy()
    end_before_limit(events, TABLE)
    np.testing.assert_array_equal(events.log_likelihood, before)
