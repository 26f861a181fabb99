"""Pieces drawn while training: what they are, that they follow the model, and that nothing else changes by them."""

import dataclasses
import io
import wave

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from job_runtime import storage
from midi_codec import audio
from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from midi_codec.midi import midi_file
from tests.trainer.strategies import mirrored
from tests.trainer.tiny import make_table
from trainer.data.batches import keyed_rng
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.run_output import samples
from trainer.run_output.samples import PieceSampler, SampleWriter

pytestmark = pytest.mark.usefixtures("eagerly")
PLAIN = ModelConfig(units=16, layers=1, head_units=16)
DEEP = dataclasses.replace(PLAIN, layers=2, layer_norm=True, residual=True, tied_embeddings=True)
DEVIATIONS = {"step": 3.0, "duration": 9.0}
CASES = {
    "categorical": (CATEGORICAL, PLAIN, "float32"),
    "mse": (MSE, PLAIN, "float32"),
    "mixture": (MIXTURE, DEEP, "float32"),
    "bfloat16": (CATEGORICAL, DEEP, "bfloat16"),
}


def make_model(timing_loss=CATEGORICAL, config=PLAIN, precision="float32", *, end_bias=-3.0) -> NoteModel:
    model = NoteModel(config, make_table(timing_loss=timing_loss, programs=(0, 128)), precision=precision)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    bias = np.asarray(model.head_bias.value).copy()
    bias[model.end_column] = end_bias
    model.head_bias.assign(bias)
    return model


def make_keys(number: int) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 2**32, (number, 2), np.uint32)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_every_model_and_head_draws_pieces_of_the_table(case, tmp_path):
    model = make_model(*case, end_bias=-1.0)
    before = [np.asarray(weight.value) for weight in model.weights]
    pieces = PieceSampler(model, make_keys(8), max_notes=6).draw(DEVIATIONS)
    assert len(pieces) == 8 and len({len(piece) for piece in pieces}) > 1
    for values in pieces:
        assert 1 <= len(values) <= 6 and values[0, 0] == 0
        assert values[:, 0].max() <= 30 and values[:, 2].max() <= 60 and values.min() >= 0  # the corpus's largest
        assert set(values[:, 1]) <= {60, 62, 65} and set(values[:, 3]) <= {40, 90} and set(values[:, 4]) <= {0, 128}
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight.value), value)


def test_draws_repeat_and_follow_the_weights():
    model = make_model(end_bias=-30.0)
    sampler = PieceSampler(model, make_keys(3), max_notes=12)
    tf.config.run_functions_eagerly(False)
    first = np.stack(sampler.draw({}))
    np.testing.assert_array_equal(first, np.stack(sampler.draw({})))
    assert not np.array_equal(first[0], first[1])  # a stream of its own a piece
    bias = np.asarray(model.output_biases[1].value).copy()
    bias[2] = 50.0
    model.output_biases[1].assign(bias)
    assert (np.stack(sampler.draw({}))[..., 1] == 65).all()  # the compiled loop reads the weights anew
    tf.config.run_functions_eagerly(True)


def test_a_piece_is_over_at_its_end_but_never_empty():
    pieces = PieceSampler(make_model(end_bias=30.0), make_keys(5), max_notes=4).draw({})
    assert [len(values) for values in pieces] == [1] * 5


def test_notes_come_as_often_as_the_model_says():
    """The shares of the first note's pitch among many draws, by the model's own pitch head."""
    model = make_model()
    pieces = PieceSampler(model, make_keys(4000), max_notes=1).draw({})
    pitches = np.array([values[0, 1] for values in pieces])
    previous = tf.constant(model.start_bins)[None, None]
    outputs, _ = model(previous, tf.zeros_like(previous), model.zero_state(1))  # a first step is bin 0
    want = tf.nn.softmax(outputs.fields["pitch"][0, 0, :3]).numpy()
    got = np.array([(pitches == pitch).mean() for pitch in (60, 62, 65)])
    np.testing.assert_allclose(got, want, atol=4 * 0.5 / 4000**0.5)


def test_the_files_hold_the_notes_and_tensorboard_gets_them_too(tmp_path):
    model, folder = make_model(), str(tmp_path / "run")
    writer = SampleWriter(model, folder, num_pieces=2, rng_seed=4, max_notes=6)
    summary = tf.summary.create_file_writer(str(tmp_path / "board"))
    pieces = writer.write(123, {}, summary)
    names = sorted(entry.path for entry in storage.list_files(folder))
    assert names == [f"{folder}/samples/step-000123/{name}" for name in ("0.mid", "0.wav", "1.mid", "1.wav")]
    for number, notes in enumerate(pieces):
        data = storage.read_bytes(names[2 * number])
        assert midi_file.parse(data, time_base=notes.time_base) == notes
        assert f"sample {number} of training step 123".encode() in data
        with wave.open(io.BytesIO(storage.read_bytes(names[2 * number + 1]))) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, audio.SAMPLE_RATE)
            heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert np.abs(heard).max() == pytest.approx(32767 * audio.PEAK, abs=1)
        assert len(heard) >= notes.seconds * audio.SAMPLE_RATE
    summary.close()
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    tags = [f"samples/{number}" for number in range(2)]
    assert sorted(events.Tags()["tensors"]) == sorted(tags + [f"{tag}/roll" for tag in tags])


def test_samples_depend_on_the_rng_seed_alone(tmp_path):
    model = make_model(end_bias=-30.0)
    draws = {
        seed: SampleWriter(model, str(tmp_path), num_pieces=2, rng_seed=seed, max_notes=4).write(1, {})
        for seed in (0, 1)
    }
    assert draws[0] != draws[1]
    keys = keyed_rng(0, samples.STREAM).integers(0, 2**32, (2, 2), np.uint32)
    values = PieceSampler(model, keys, max_notes=4).draw({})
    assert draws[0] == [samples.cut(model.table, piece) for piece in values]


def test_a_long_piece_is_cut():
    table = make_table()
    values = np.array([[0, 60, 70_000, 40], [29_990, 62, 5, 40], [9, 62, 40, 90], [1, 65, 40, 90]], np.int32)
    notes = samples.cut(table, values)
    assert notes.start.tolist() == [0, 29_990, 29_999] and notes.end.tolist() == [30_000, 29_995, 30_000]
    assert values[0, 2] == 70_000  # the draw itself stays
    assert len(samples.cut(table, values[:1])) == 1


def test_mirrored_weights_are_read_outside_of_the_strategy():
    strategy = mirrored(2)
    with strategy.scope():
        mirrored_model = make_model()
    plain = make_model()
    got, want = (PieceSampler(model, make_keys(2), max_notes=4).draw({}) for model in (mirrored_model, plain))
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)
