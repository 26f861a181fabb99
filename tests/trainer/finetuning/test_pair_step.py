"""Figures of pairs are those of whole pieces; steps widen the margin; all ways to share a batch give the same step."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.dataset.pairs_file import Example
from tests.trainer.small_model import make_bundle
from tests.trainer.strategies import mirrored
from tests.trainer.tiny import make_notes, make_table
from trainer.bundle import Bundle
from trainer.data.batches import Batch, make_batch
from trainer.data.pieces import stack_pieces
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.finetuning.config import FinetuneConfig, PairConfig
from trainer.finetuning.finetune_run import loop_config
from trainer.finetuning.pair_plan import PairPlan, Pairs, lay_out_pairs
from trainer.finetuning.pair_step import PairStep
from trainer.model.note_model import NoteModel
from trainer.model.recurrent import batch_halves

pytestmark = pytest.mark.usefixtures("eagerly")
TABLE = make_table()
SETTINGS = PairConfig(num_pairs=3, beta=0.5)
LENGTHS = (9, 14, 5, 11, 3, 8)
EXAMPLES = [Example(f"p{n}", make_notes(n, num_notes=length), n != 3) for n, length in enumerate(LENGTHS)]
PAIRS = [(EXAMPLES[0], EXAMPLES[1]), (EXAMPLES[2], EXAMPLES[3]), (EXAMPLES[4], EXAMPLES[5])]
ONE_DEVICE = tf.distribute.OneDeviceStrategy("/cpu:0")


@pytest.fixture(scope="module")
def start() -> Bundle:
    return make_bundle(TABLE)


def make_step(start: Bundle, strategy: tf.distribute.Strategy = ONE_DEVICE) -> PairStep:
    config = loop_config(FinetuneConfig(), SETTINGS, start)
    return PairStep(config, start, strategy, settings=SETTINGS, kl_weight=2.0, events_per_pair=20.0)


def batch_of(pairs: Pairs, replicas: int = 1) -> Batch:
    (windows,) = PairPlan(pairs, replicas=replicas, batch_size=6 * replicas)
    return make_batch(pairs.pieces, windows, table=TABLE, batch_size=len(windows), start_bins=TABLE.start_bins)


def moved(step: PairStep) -> None:
    rng = np.random.default_rng(1)
    for weight in step.model.trainable_variables:
        weight.assign(np.asarray(weight.value) + rng.normal(0, 0.05, weight.shape))


def test_the_start_has_no_margin(start):
    assert make_step(start).measure(lay_out_pairs(PAIRS, TABLE)) == {
        "pair_loss": pytest.approx(math.log(2)),
        "pairs_right": 0.0,
        "margin": 0.0,
        "kl": 0.0,
    }


def test_the_margin_is_of_exact_likelihoods(start):
    step = make_step(start)
    moved(step)

    def log_likelihoods(model: NoteModel) -> np.ndarray:
        pieces = stack_pieces([example.notes for example in EXAMPLES], TABLE)
        sums = evaluate_pieces(model, pieces, deviations={}, batch_size=8).sums
        return -np.sum([sums[f"nll_{field.name}"] for field in TABLE], axis=0)

    gains = log_likelihoods(step.model) - log_likelihoods(start.build_model())
    every = [dataclasses.replace(each, ended=True) for each in EXAMPLES]
    for better, worse in ((0, 1), (2, 3)):
        pairs = lay_out_pairs([(every[better], every[worse])], TABLE)
        margin = gains[better] - gains[worse]
        found = step.measure(pairs)
        assert found["margin"] == pytest.approx(margin, abs=1e-4)
        assert found["pair_loss"] == pytest.approx(math.log1p(math.exp(-0.5 * margin)), abs=1e-4)
        assert found["pairs_right"] == (margin > 0)
    cut = step.measure(lay_out_pairs([PAIRS[1]], TABLE))["margin"]
    assert cut == pytest.approx(found["margin"] + end_gain(step, start, EXAMPLES[3]), abs=1e-4)


def end_gain(step: PairStep, start: Bundle, example: Example) -> float:
    """Log p - log q of the END of a piece."""
    costs = []
    for model in (step.model, start.build_model()):
        pairs = lay_out_pairs([(dataclasses.replace(example, ended=True), EXAMPLES[0])], TABLE)
        batch = batch_of(pairs)
        outputs, _ = model(batch.previous, batch.bins, model.zero_state(2), raw=batch.raw, is_note=batch.is_note)
        costs.append(float(tf.nn.softplus(-outputs.end_logit)[0, len(example.notes)]))
    return costs[1] - costs[0]


def test_the_divergence_is_that_of_the_distributions(start):
    """Weights that only change END: KL of two Bernoulli distributions at every event."""
    step = make_step(start)
    bias = np.asarray(step.model.head_bias.value).copy()
    bias[step.model.end_column] += 0.7
    step.model.head_bias.assign(bias)
    pairs = lay_out_pairs(PAIRS[:1], TABLE)
    batch = batch_of(pairs)
    outputs, _ = step.model(batch.previous, batch.bins, step.model.zero_state(2), raw=batch.raw, is_note=batch.is_note)
    logit = outputs.end_logit.numpy()[(batch.is_note + batch.is_end) > 0].astype(np.float64)
    p, q = (1 / (1 + np.exp(-each)) for each in (logit, logit - 0.7))
    want = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    assert step.measure(pairs)["kl"] == pytest.approx(want, rel=1e-5)


def test_steps_widen_the_margin(start):
    step, pairs = make_step(start), lay_out_pairs(PAIRS, TABLE)
    losses = [step(batch_of(pairs), 3e-3)[0] for _ in range(6)]
    assert losses[0] == pytest.approx(20 * 3 * math.log(2), rel=1e-5)
    assert losses[-1] < losses[0]
    found = step.measure(pairs)
    assert found["margin"] > 0.2 and found["pair_loss"] < math.log(2) and found["kl"] > 0


def test_parts_and_replicas_give_the_same_step(start, monkeypatch):
    results = []
    for cores, strategy in ((1, ONE_DEVICE), (2, ONE_DEVICE), (2, mirrored(2))):
        monkeypatch.setattr(batch_halves, "num_cores", lambda cores=cores: cores)
        step = make_step(start, strategy)
        moved(step)
        results.append(step(batch_of(lay_out_pairs(PAIRS, TABLE), strategy.num_replicas_in_sync), 1e-3))
    np.testing.assert_allclose(results[1:], [results[0]] * 2, rtol=1e-4)
