"""How much copying counts, and for which models that can be asked."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.decoder import Decoder
from generation_jobs.decoder.loop_guard import LoopGuard
from tests.generation_jobs.decoder.cases import (
    FREE,
    SLOTS,
    assert_model_agrees,
    assert_same,
    make_case,
    make_request,
    results_of,
)

ECHO = {"attention": "echo", "attention_lags": (24,), "attention_dropout": 0.5}


def guard(*configs: dict, nats: float | None = 4.0) -> LoopGuard:
    metrics = {} if nats is None else {"validation_nll": nats}
    bundles: list[Any] = [SimpleNamespace(config=config, metrics=metrics) for config in configs]
    return LoopGuard(bundles)


def test_copying_counts_in_proportion_to_what_notes_cost():
    active = guard(ECHO)
    assert active.begin(3).numpy().tolist() == [4.0, 4.0, 4.0]
    costs, copying = tf.constant([1.0, 3.5, 1.0]), tf.constant([1.0, 1.25, 1.25])
    amount = active.amount(costs, copying, tf.constant([True, True, False]))
    assert amount.numpy() == pytest.approx([0.5, 1.25, 1.25])
    after = active.after(tf.constant([3.2, 0.0]), tf.constant([0.0, -3.2]))
    assert after.numpy() == pytest.approx([3.1, 0.1])


def test_a_cost_below_nothing_copies_nothing():
    """A time bin of one tick may have a density above 1 in a mixture."""
    assert guard(ECHO).amount(tf.constant([-1.0]), tf.ones(1), tf.constant([True])).numpy().tolist() == [0.0]


@pytest.mark.parametrize(
    "configs, nats, want",
    [
        ([ECHO], 4.0, True),
        ([ECHO, {}], 4.0, True),  # of an ensemble, one copies
        ([{}], 4.0, False),
        ([{**ECHO, "attention_dropout": 0.0}], 4.0, False),  # cannot do without
        ([ECHO], None, False),
        ([ECHO], 0.0, False),
    ],
)
def test_only_models_that_can_do_without_copying_are_asked(configs, nats, want):
    chosen = guard(*configs, nats=nats)
    assert chosen.is_active is want
    amount = chosen.amount(chosen.begin(2), tf.ones(2), tf.constant([True, True]))
    copies = any(configs)
    assert (amount is not None) is copies
    assert not copies or amount.numpy().tolist() == [1.0, 1.0]
    assert np.isfinite(chosen.begin(2)).all()


@pytest.mark.slow
def test_a_piece_that_is_too_predictable_copies_less_and_depends_on_its_request_alone():
    """Every note costs less than what is usual here, so copying soon counts less; without `avoid_loops` it does not."""
    bundle = dataclasses.replace(make_case("echoes"), metrics={"validation_nll": 1000.0})
    decoder = Decoder(bundle, num_slots=SLOTS)
    ask = {"max_notes": 50, "max_seconds": None, "sampling": FREE}
    free, guarded = (
        [make_request(number, **ask, avoid_loops=avoids) for number in range(20)] for avoids in (False, True)
    )
    as_it_is, less = results_of(decoder, free), results_of(decoder, guarded)
    assert_model_agrees(bundle, as_it_is)
    assert sum(a.notes != b.notes for a, b in zip(as_it_is, less, strict=True)) > 10
    for number in (7, 3):
        assert_same(results_of(decoder, [guarded[number]])[0], less[number])
    unknown = Decoder(make_case("echoes"), num_slots=SLOTS)  # what is usual is not known
    for got, want in zip(results_of(unknown, guarded), as_it_is, strict=True):
        assert_same(got, want)
