"""Pieces drawn while training: what they are, that they follow the model, and that nothing else changes by them."""

import io
import wave

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from job_runtime import storage
from midi_codec import audio
from midi_codec.midi import midi_file
from tests.trainer.small_model import make_model
from tests.trainer.tiny import make_table
from trainer.data.batches import keyed_rng
from trainer.run_output import samples
from trainer.run_output.samples import SampleWriter
from trainer.sampling.piece_sampler import PieceSampler

pytestmark = pytest.mark.usefixtures("eagerly")


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
    drawn = PieceSampler(model, max_notes=4).draw({}, keys)
    assert draws[0] == [samples.cut(model.table, piece.values) for piece in drawn]


def test_a_long_piece_is_cut():
    table = make_table()
    values = np.array([[0, 60, 70_000, 40], [29_990, 62, 5, 40], [9, 62, 40, 90], [1, 65, 40, 90]], np.int32)
    notes = samples.cut(table, values)
    assert notes.start.tolist() == [0, 29_990, 29_999] and notes.end.tolist() == [30_000, 29_995, 30_000]
    assert values[0, 2] == 70_000  # the draw itself stays
    assert len(samples.cut(table, values[:1])) == 1
