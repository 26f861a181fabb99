"""The same weights on one device, on two and on four replicas, with clipping and dropout on."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.tiny import make_many, make_table
from trainer.batches import WHOLE, Batch, Part
from trainer.config import TrainConfig
from trainer.feed import Feed, Position
from trainer.pieces import stack_pieces
from trainer.prior import start_from_unigram
from trainer.strategy import part_of
from trainer.train_step import TrainStep

TABLE = make_table()
CONFIG = TrainConfig(
    units=16, layers=2, head_units=16, dropout=0.3, batch_size=8, window=16, clip_norm=0.1, transpose=0, velocity=0
)
PIECES = stack_pieces(make_many([30, 9, 12, 40, 5, 21]), TABLE)
STEPS = 6
# Sums in another order differ in the last bits of float32; Adam divides by the root of squares, which magnifies them.
TOLERANCE = {"rtol": 1e-4, "atol": 2e-6}


def batches(part: Part = WHOLE) -> list[Batch]:
    start_bins = np.array([field.num_bins for field in TABLE], np.int32)
    endless = Feed(PIECES, TABLE, CONFIG, start_bins=start_bins, position=Position(), part=part)
    return [next(endless)[0] for _ in range(STEPS)]


def run_steps(strategy: tf.distribute.Strategy):
    """Losses, norms before clipping, and all variables after the steps."""
    step = TrainStep(CONFIG, TABLE, strategy)
    start_from_unigram(step.model, PIECES)
    results = [step(batch, 1e-3) for batch in batches(part_of(strategy))]
    losses, norms = np.array(results).T
    return losses, norms, {variable.path: np.asarray(variable.value) for variable in step.variables}


@pytest.fixture(scope="module")
def one_device():
    return run_steps(tf.distribute.OneDeviceStrategy("/cpu:0"))


def test_the_case_is_a_hard_one(one_device):
    """Windows are missing in a last batch, replicas hold unequal numbers of events, and clipping is at work."""
    made = batches()
    rows = [int((batch.is_note.sum(axis=1) + batch.is_end.sum(axis=1) > 0).sum()) for batch in made]
    assert min(rows) < CONFIG.batch_size == max(rows)
    halves = [
        [(batch.is_note + batch.is_end)[rows].sum() for rows in np.split(np.arange(len(batch.bins)), 2)]
        for batch in made
        if len(batch.bins) == 8
    ]
    assert any(left != right for left, right in halves)
    assert one_device[1].min() > CONFIG.clip_norm


# A process's collectives keep to one number of devices, so four replicas are reduced on one of them.
CROSS_DEVICE = {2: None, 4: tf.distribute.ReductionToOneDevice()}


@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicas_change_nothing(one_device, replicas):
    devices = [f"CPU:{index}" for index in range(replicas)]
    strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=CROSS_DEVICE[replicas])
    assert strategy.num_replicas_in_sync == replicas
    losses, norms, variables = run_steps(strategy)
    np.testing.assert_allclose(losses, one_device[0], rtol=1e-5)
    np.testing.assert_allclose(norms, one_device[1], rtol=1e-4)
    for (path, got), (_, want) in zip(variables.items(), one_device[2].items(), strict=True):
        np.testing.assert_allclose(got, want, **TOLERANCE, err_msg=path)


def test_the_same_steps_give_the_same_bits(one_device):
    losses, _, variables = run_steps(tf.distribute.OneDeviceStrategy("/cpu:0"))
    assert losses.tolist() == one_device[0].tolist()
    for got, want in zip(variables.values(), one_device[2].values(), strict=True):
        assert (got == want).all()


def test_a_step_is_adam_on_the_clipped_mean_gradient():
    """Against plain TensorFlow and Adam's formula."""
    from trainer.model import field_losses

    step = TrainStep(CONFIG, TABLE, tf.distribute.OneDeviceStrategy("/cpu:0"))
    batch = batches()[0]
    tensors = {name: tf.constant(array) for name, array in batch.as_dict().items()}
    model = step.model
    before = [np.asarray(variable.value) for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs, _ = model(tensors["previous"], tensors["bins"], model.zero_state(len(batch.bins)), tensors["dropout_keys"])
        losses = field_losses(TABLE, outputs, tensors)
        loss = tf.add_n([tf.reduce_sum(one) for one in losses.values()]) / batch.num_events
    gradients = [
        tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [v.value for v in model.trainable_variables])
    ]
    want_norm = np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in gradients))
    total, norm = step(batch, 1e-3)
    assert total == pytest.approx(float(loss) * batch.num_events, rel=1e-5)
    assert norm == pytest.approx(want_norm, rel=1e-5)
    for variable, old, gradient in zip(model.trainable_variables, before, gradients, strict=True):
        clipped = gradient * CONFIG.clip_norm / want_norm
        # The first step of Adam: both moments are corrected to the gradient and its square.
        moved = old - 1e-3 * clipped / (np.abs(clipped) + 1e-7 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(np.asarray(variable.value), moved, atol=2e-5, err_msg=variable.path)
