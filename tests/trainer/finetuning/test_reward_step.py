"""The policy gradient: what was rewarded becomes likelier, and all ways to share a batch give the same step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.measures.music_measures import Part
from tests.trainer.small_model import make_bundle
from tests.trainer.strategies import mirrored
from tests.trainer.tiny import make_notes, make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.data import batches
from trainer.data.pieces import stack_pieces
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.finetuning.config import FinetuneConfig, RewardConfig
from trainer.finetuning.drawn_pieces import DrawnPiece, batch_of
from trainer.finetuning.finetune_run import loop_config
from trainer.finetuning.reward_step import RewardedBatch, RewardStep
from trainer.model.note_model import NoteModel
from trainer.model.recurrent import batch_halves

pytestmark = pytest.mark.usefixtures("eagerly")
TABLE = make_table()
ONE_DEVICE = tf.distribute.OneDeviceStrategy("/cpu:0")
NOTES = [make_notes(number, num_notes=length) for number, length in enumerate((9, 14, 5, 11))]
ADVANTAGE = np.array([1.0, -1.0, 0.5, -0.5], np.float32)


@pytest.fixture(scope="module")
def start() -> Bundle:
    return make_bundle(TABLE)


def make_step(start: Bundle, strategy: tf.distribute.Strategy = ONE_DEVICE, *, kl_weight=0.0, ends=True) -> RewardStep:
    config = loop_config(FinetuneConfig(), RewardConfig(num_pieces=4), start)
    return RewardStep(config, start, strategy, kl_weight=kl_weight, ends=ends)


def make_batch(step: RewardStep, replicas: int = 1, *, ended: bool = True) -> RewardedBatch:
    pieces = [DrawnPiece(notes, Part(notes), ended) for notes in NOTES]
    return batch_of(pieces, ADVANTAGE, step.model, batches.Part(replicas=replicas))


def log_likelihoods(model: NoteModel) -> np.ndarray:
    sums = evaluate_pieces(model, stack_pieces(NOTES, TABLE), deviations={}, batch_size=4).sums
    return -np.sum([sums[f"nll_{field.name}"] for field in TABLE], axis=0)


def test_what_was_rewarded_becomes_likelier(start):
    step = make_step(start)
    before = log_likelihoods(step.model)
    assert step(make_batch(step), 3e-3)[0] == 0  # of the start itself nothing is gained yet
    for _ in range(5):
        step(make_batch(step), 3e-3)
    gained = log_likelihoods(step.model) - before
    assert (gained * ADVANTAGE).sum() > 1 and gained[0] > gained[1]


def test_the_loss_is_minus_the_advantage_times_the_gain(start):
    step = make_step(start)
    before = log_likelihoods(step.model)
    step(make_batch(step), 1e-2)
    gained = log_likelihoods(step.model) - before
    total, _ = step(make_batch(step), 0.0)
    assert total == pytest.approx(-float((gained * ADVANTAGE).sum()), rel=1e-3)


def test_an_end_that_could_not_be_drawn_is_owed_nothing(start):
    """END's bias has a gradient only where END was drawn."""
    moved = []
    for ends in (True, False):
        step = make_step(start, ends=ends)
        before = np.asarray(step.model.head_bias.value)[step.model.end_column]
        step(make_batch(step, ended=False), 1e-2)
        moved.append(abs(np.asarray(step.model.head_bias.value)[step.model.end_column] - before))
    assert moved[0] > 1e-3 and moved[1] < 1e-6


def test_the_divergence_pulls_back(start):
    far, near = make_step(start), make_step(start, kl_weight=5.0)
    found = []
    for step in (far, near):
        for _ in range(6):
            step(make_batch(step), 1e-2)
        found.append(step.divergence([make_batch(step)], between_batches=lambda: None))
    assert found[0] > 2 * found[1] > 0


def test_parts_and_replicas_give_the_same_step(start, monkeypatch):
    weights = []
    for cores, strategy in ((1, ONE_DEVICE), (2, ONE_DEVICE), (2, mirrored(2))):
        monkeypatch.setattr(batch_halves, "num_cores", lambda cores=cores: cores)
        step = make_step(start, strategy, kl_weight=0.3)
        for _ in range(2):
            step(make_batch(step, strategy.num_replicas_in_sync), 1e-3)
        weights.append(bundle_lib.get_weights(step.model))
    for name, array in weights[0].items():
        for other in weights[1:]:
            np.testing.assert_allclose(other[name], array, atol=2e-5)
