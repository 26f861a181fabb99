import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.tiny import make_many, make_table
from trainer.data.batches import Windows, make_batch
from trainer.data.pieces import stack_pieces
from trainer.model import mixture
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.training.prior import fit_mixture, inverse_softplus, start_from_unigram


@pytest.mark.parametrize("timing_loss", [CATEGORICAL, MSE, MIXTURE])
def test_a_new_model_starts_from_the_unigram(timing_loss):
    model = NoteModel(ModelConfig(units=16, layers=1, head_units=16), make_table(timing_loss=timing_loss))
    for variable in [*model.output_kernels, model.head_kernel]:
        variable.assign(np.zeros(variable.shape))
    notes = make_many([6, 9])
    pieces = stack_pieces(notes, model.table)
    start_from_unigram(model, pieces)
    windows = Windows(np.array([0, 1]), np.zeros(2, np.int64), pieces.num_events)
    batch = make_batch(pieces, windows, table=model.table, batch_size=2, start_bins=model.start_bins)
    outputs, _ = model(batch.previous, batch.bins, model.zero_state(2))
    assert tf.sigmoid(outputs.end_logit).numpy().ravel()[0] == pytest.approx(2 / 17, rel=1e-5)
    pitches = np.concatenate([piece.pitch for piece in notes])
    counts = np.array([(pitches == pitch).sum() + 1 for pitch in (60, 62, 65)])
    np.testing.assert_allclose(tf.nn.softmax(outputs.fields["pitch"]).numpy()[0, 0, :3], counts / 18, rtol=1e-5)
    durations = np.concatenate([piece.duration for piece in notes])
    if timing_loss == MSE:
        assert outputs.fields["duration"].numpy()[0, 0] == pytest.approx(durations.mean(), rel=1e-5)
    if timing_loss == MIXTURE:  # it has each of the three durations to a tick
        nll = model.field_nll(model.table["duration"], outputs, batch.as_dict()).numpy()[batch.is_note > 0]
        shares = np.array([(durations == duration).mean() for duration in durations])
        assert nll.mean() == pytest.approx(-np.log(shares).mean(), abs=0.05)


@pytest.mark.parametrize("value", [1e-3, 1.0, 40.0])
def test_inverse_softplus(value):
    assert np.log1p(np.exp(inverse_softplus(value))) == pytest.approx(value, rel=1e-9)


def test_a_mixture_begins_with_the_same_places_for_every_note_and_weights_of_its_own():
    model = NoteModel(ModelConfig(units=16, layers=1, head_units=16), make_table(timing_loss=MIXTURE))
    pieces = stack_pieces(make_many([6, 9]), model.table)
    start_from_unigram(model, pieces)
    windows = Windows(np.array([0, 1]), np.zeros(2, np.int64), pieces.num_events)
    batch = make_batch(pieces, windows, table=model.table, batch_size=2, start_bins=model.start_bins)
    outputs, _ = model(batch.previous, batch.bins, model.zero_state(2))
    step = outputs.fields["step"].numpy()
    assert (step[..., mixture.COMPONENTS :] == step[0, 0, mixture.COMPONENTS :]).all()
    assert np.abs(step[0, 1, : mixture.COMPONENTS] - step[0, 0, : mixture.COMPONENTS]).max() > 0


def fitted_nll(values: np.ndarray, counts: np.ndarray, *, shift: float) -> float:
    """Mean nats of a histogram under the mixture fitted to it."""
    bias = fit_mixture(values, counts, shift=shift)
    assert bias.shape == (mixture.WIDTH,) and bias.dtype == np.float32 and np.isfinite(bias).all()
    output = mixture.output_of(tf.zeros([len(values), mixture.WIDTH]), tf.constant(bias), shift=shift)
    nll = mixture.tick_nll(tf.constant(values, tf.int32), tf.cast(output, tf.float64), shift=shift).numpy()
    return float(np.average(nll, weights=counts))


@pytest.mark.parametrize(
    "values, counts",
    [([0], [5]), ([7], [1]), ([2**31 - 1], [3]), ([0, 12, 24, 48], [50, 20, 20, 10]), ([0, 2**31 - 1], [1, 1])],
)
def test_a_few_values_become_atoms(values, counts):
    values, counts = np.array(values), np.array(counts)
    entropy = -np.average(np.log(counts / counts.sum()), weights=counts)
    # beyond a thousand ticks or so the narrowest scale is wider than a tick
    slack = 0.02 if values.max() < 1000 else 12.0
    assert entropy <= fitted_nll(values, counts, shift=1.0) <= entropy + slack


def test_a_smooth_histogram_is_met():
    rng = np.random.default_rng(0)
    times = np.rint(np.exp(rng.normal(5, 0.8, 200_000))).astype(np.int64)  # log-normal: a normal on the axis
    values, counts = np.unique(times, return_counts=True)
    entropy = -np.average(np.log(counts / counts.sum()), weights=counts)
    density = 0.5 * np.log(2 * np.pi * np.e * 0.8**2) + 5
    assert entropy < density + 0.01
    assert fitted_nll(values, counts, shift=1.0) == pytest.approx(density, abs=0.02)


def test_the_fit_is_the_same_every_time():
    values, counts = np.array([0, 3, 5, 9, 100]), np.array([5, 4, 9, 1, 2])
    assert (fit_mixture(values, counts, shift=3.0) == fit_mixture(values, counts, shift=3.0)).all()
