"""END's shift: sums at a few shifts give it, and what it saves, as exactly as all log odds would."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainer.evaluation import end_shift
from trainer.evaluation.end_shift import LIMIT, SHIFTS, EndCost


def cost_of(logits: np.ndarray, num_ends: int) -> EndCost:
    """As a validation adds it up, with an event of padding."""
    padded = tf.constant(np.append(logits, 5.0), tf.float32)[None]
    is_event = tf.constant(np.append(np.ones(len(logits), bool), False))[None]
    return EndCost.of_sums(end_shift.sums(padded, is_event).numpy(), num_ends)


def nll(logits: np.ndarray, num_ends: int, shift: float) -> float:
    """Up to the log odds at the ends, which no shift changes."""
    return float(np.logaddexp(0, logits + shift).sum() - shift * num_ends)


def test_sums_at_a_few_shifts_give_cost_and_ends_in_between():
    logits = np.random.default_rng(0).normal(-4, 2, 1000).astype(np.float32).astype(np.float64)
    cost = cost_of(logits, 10)
    for shift in (-LIMIT, -1.17, -0.3, 0.0, 0.111, 2.9, LIMIT):
        expected = (1 / (1 + np.exp(-logits - shift))).sum()
        assert cost.expected_ends(shift) == pytest.approx(expected, rel=1e-3)
        assert cost.gain(shift) == pytest.approx(nll(logits, 10, 0.0) - nll(logits, 10, shift), abs=1e-2)


def test_many_pieces_get_as_many_ends_as_there_are():
    logits = np.tile(np.random.default_rng(0).normal(-4, 2, 1000), 20)
    cost = cost_of(logits, 400)
    shift = cost.shift()
    assert cost.expected_ends(shift) - 400 == pytest.approx(-4 * shift, abs=0.5)  # what the prior takes away
    assert shift < -0.5
    assert all(nll(logits, 400, shift) < nll(logits, 400, other) for other in (shift - 0.05, shift + 0.05))


@pytest.mark.parametrize(
    ("num_pieces", "shift"),
    [(1, -0.418), (4, -0.814), (40, -1.294), (400, -1.403)],  # without the prior: log(24 / 99) = -1.417
)
def test_few_pieces_move_it_little(num_pieces, shift):
    # a hundred events per piece, at odds of 4 in 100: the model expects some 4 ends per piece
    cost = cost_of(np.full(100 * num_pieces, np.log(4 / 96)), num_pieces)
    assert cost.shift() == pytest.approx(shift, abs=1e-3)


def test_it_is_limited_and_exact_to_its_decimals():
    assert cost_of(np.full(2000, 30.0), 1).shift() == -LIMIT
    assert cost_of(np.zeros(0), 0).shift() == 0.0
    assert SHIFTS[16] == 0.0
