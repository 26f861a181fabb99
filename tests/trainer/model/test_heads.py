import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.tiny import make_many, make_table
from trainer.data.batches import Windows, make_batch
from trainer.data.pieces import stack_pieces
from trainer.model import heads, likelihoods, mixture
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

DEVIATIONS = {"step": 3.0, "duration": 9.0}


def model_and_batch(timing_loss: str, programs=(0, 128)):
    """A model of random weights and a batch of two pieces, one shorter."""
    table = make_table(timing_loss=timing_loss, programs=programs)
    model = NoteModel(ModelConfig(units=16, layers=1, head_units=16), table)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    pieces = stack_pieces(make_many([7, 12]), table)
    windows = Windows(np.array([0, 1]), np.zeros(2, np.int64), pieces.num_events)
    batch = make_batch(pieces, windows, table=table, batch_size=2, start_bins=model.start_bins)
    outputs, _ = model(batch.previous, batch.bins, model.zero_state(2))
    return model, batch, outputs


@pytest.mark.parametrize("timing_loss", [CATEGORICAL, MIXTURE])
def test_exact_nats_are_what_training_minimises(timing_loss):
    model, batch, outputs = model_and_batch(timing_loss)
    losses = heads.field_losses(model.table, outputs, batch.as_dict())
    for field in model.table:
        nll = model.field_nll(field, outputs, batch.as_dict())
        assert nll.dtype == tf.float64 and losses[field.name].dtype == tf.float32
        np.testing.assert_allclose(nll.numpy(), losses[field.name].numpy(), rtol=1e-4, atol=1e-5)
        is_counted = batch.is_note + batch.is_end if field.name == "pitch" else batch.is_note
        assert ((nll.numpy() != 0) == (is_counted > 0)).all()


def test_exact_nats_of_an_mse_head_are_its_gaussians():
    model, batch, outputs = model_and_batch(MSE)
    for index, field in enumerate(model.table):
        if field.loss == MSE:
            want = likelihoods.gaussian_tick_nll(
                batch.raw[..., index], outputs.fields[field.name], DEVIATIONS[field.name]
            )
            got = model.field_nll(field, outputs, batch.as_dict(), DEVIATIONS[field.name])
            assert (got.numpy() == want.numpy() * batch.is_note).all()


def test_end_is_in_the_pitch():
    model, batch, outputs = model_and_batch(CATEGORICAL)
    pitch = model.table["pitch"]
    got = model.field_nll(pitch, outputs, batch.as_dict()).numpy()
    logit = outputs.end_logit.numpy().astype(np.float64)
    at_end = batch.is_end > 0
    np.testing.assert_allclose(got[at_end], np.log1p(np.exp(-logit[at_end])), rtol=1e-12)
    bins = batch.bins[..., 1]
    chosen = tf.nn.log_softmax(tf.cast(outputs.fields["pitch"], tf.float64)).numpy()
    want = np.log1p(np.exp(logit)) - np.take_along_axis(chosen, bins[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(got[batch.is_note > 0], want[batch.is_note > 0], rtol=1e-12)


def test_guesses():
    model, _, outputs = model_and_batch(CATEGORICAL)
    step = model.table["step"]
    logits = np.full((1, 2, 16), -9.0, np.float32)
    logits[0, 0, 2] = logits[0, 1, 0] = 1.0
    said = heads.HeadOutputs(outputs.end_logit, {"step": tf.constant(logits)})
    assert model.point_guess(step, said).numpy().tolist() == [[12.0, 0.0]]  # the middle of 5 to 19
    model, _, outputs = model_and_batch(MSE)
    assert (model.point_guess(model.table["step"], outputs).numpy() == outputs.fields["step"].numpy()).all()
    model, _, outputs = model_and_batch(MIXTURE)
    guess = model.point_guess(model.table["step"], outputs)
    assert guess.shape == (2, 16) and guess.dtype == tf.float64
    ticks = np.arange(31)
    nll = np.stack([mixture.tick_nll(tf.fill([2, 16], t), outputs.fields["step"], shift=1.0).numpy() for t in ticks])
    likeliest = nll.min(axis=0)
    at_guess = np.take_along_axis(nll, guess.numpy().astype(int)[None], axis=0)[0]
    assert (at_guess - likeliest).max() < 1.0  # of ticks at the locations, not of all
