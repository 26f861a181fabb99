"""The model with a context: the same however a piece is cut, the same in another key, and all of it learns."""

import contextlib
import itertools

import numpy as np
import pytest
import tensorflow as tf

from midi_codec import fields
from midi_codec.music.notes import BEATS, Notes
from tests.trainer.tiny import ALL_PITCHES, make_many, make_table
from trainer.config import TrainConfig
from trainer.data.feed import Feed, Position
from trainer.data.pieces import stack_pieces
from trainer.model import context, pitch_context
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.sampling.piece_sampler import PieceSampler
from trainer.training.train_step import TrainStep

NOTES = context.CHORD + 8
CONFIG = ModelConfig(
    units=32,
    layers=2,
    head_units=16,
    context_units=16,
    context_notes=NOTES,
    context_lags=(1, 4),
    context_periods=(4, 24),
)
BEATS_TABLE = fields.build_field_table(
    {"step": (range(4), [1] * 4), "duration": ([1, 2, 5], [1] * 3)},
    programs=(0,),
    time_base=BEATS,
)


def make_model() -> NoteModel:
    model, rng = NoteModel(CONFIG, BEATS_TABLE), np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.2, variable.shape))
    return model


def make_raw(rows: int, time: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    columns = [
        rng.integers(0, 4, (rows, time)),
        rng.integers(10, 118, (rows, time)),
        rng.choice([1, 2, 5], (rows, time)),
    ]
    return np.stack([*columns, rng.integers(1, 128, (rows, time))], axis=-1).astype(np.int32)


class Piece:
    """Notes as the model takes them."""

    def __init__(self, model: NoteModel, raw: np.ndarray):
        self.raw, self.bins = raw, model.table.encode(raw).astype(np.int32)
        first = np.tile(model.start_bins, (len(raw), 1))[:, None]
        self.previous = np.concatenate([first, self.bins[:, :-1]], axis=1)

    def run(self, model: NoteModel, state, begin: int, end: int):
        part = slice(begin, end)
        is_note = tf.ones([len(self.raw), end - begin])
        return model(
            self.previous[:, part], self.bins[:, part], state, raw=tf.constant(self.raw[:, part]), is_note=is_note
        )


def assert_same_state(got, want) -> None:
    for one, other in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_whole_in_chunks_and_note_by_note():
    model, time = make_model(), NOTES + 6
    piece = Piece(model, make_raw(2, time))
    whole, whole_state = piece.run(model, model.zero_state(2), 0, time)
    state, chunks = model.zero_state(2), []
    for begin, end in ((0, 20), (20, 21), (21, time)):
        outputs, state = piece.run(model, state, begin, end)
        chunks.append(outputs)
    for name, want in whole.fields.items():
        np.testing.assert_allclose(np.concatenate([o.fields[name] for o in chunks], axis=1), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([o.end_logit for o in chunks], axis=1), whole.end_logit, atol=1e-5)
    assert_same_state(state, whole_state)

    state = model.zero_state(2)
    for place in range(time):
        h, state = model.trunk(piece.previous[:, place : place + 1], state)
        head_inputs = model.head_inputs(h, state)
        scores = model.score_pitches(state, head_inputs, tf.constant(piece.raw[:, place, 0]))
        for index, field in enumerate(model.table):
            got = model.head(index, head_inputs, [piece.bins[:, place, other] for other in range(index)], scores)
            np.testing.assert_allclose(got, whole.fields[field.name][:, place], rtol=1e-4, atol=1e-5)
        state = model.remember(state, tf.constant(piece.raw[:, place]), scores)
    assert_same_state(state, whole_state)


def test_a_window_begins_with_what_the_notes_before_it_would_have_left():
    model = make_model()
    piece, begin = Piece(model, make_raw(2, 60)), 20  # fewer than the memory holds
    _, carried = piece.run(model, model.zero_state(2), 0, begin)
    before = np.zeros((2, NOTES, 4), np.int32)
    before[:, NOTES - begin :] = piece.raw[:, :begin]
    there = np.tile(np.arange(NOTES) >= NOTES - begin, (2, 1)).astype(np.float32)
    batch = {
        "bins": piece.bins[:, begin:],
        "labels": np.zeros((2, 0), np.int32),
        "before": before,
        "before_is_note": there,
        "before_tick": piece.raw[:, :begin, 0].sum(axis=1).astype(np.int32),
    }
    got, want = model.state_before(batch)[-1], carried[-1]
    assert_same_state(got._replace(above=want.above), want)
    assert not got.above.numpy().any()  # it would need the LSTM's output


def weights_of(model: NoteModel, **changes) -> pitch_context.Weights:
    assert model.context is not None
    return model.context.tensors._replace(**changes)


@pytest.mark.parametrize("up", [1, 5, -7])
def test_scores_move_with_the_notes(up):
    model, rng = make_model(), np.random.default_rng(2)
    weights = weights_of(model, own=tf.zeros([context.PITCHES, CONFIG.context_units]))
    raw = make_raw(2, NOTES)
    raw[..., 1] = rng.integers(50, 75, raw.shape[:2])
    query = tf.constant(rng.normal(0, 0.3, (2, 1, 3 * CONFIG.context_units)), tf.float32)
    scored = []
    for shift in (0, up):
        memory = context.remember(
            context.empty_memory(2, 1), model.table, raw + np.array([0, shift, 0, 0], np.int32), tf.ones([2, NOTES])
        )
        memory = context.newest(memory, NOTES)
        onset = memory.onset[:, -1:]
        found = context.surroundings(memory, onset, notes=NOTES, lags=CONFIG.context_lags, time_base=BEATS)
        scored.append((pitch_context.score_pitches(weights, found, onset, query), memory.pitch[:, -1:]))
    (still, pitch), (moved, moved_pitch) = scored
    inner = slice(12, context.PITCHES - 12)
    np.testing.assert_allclose(
        np.roll(moved.scores, -up, axis=2)[..., inner], still.scores[..., inner], rtol=1e-4, atol=1e-5
    )
    assert np.std(still.scores) > 0.05
    got, want = context.around(moved.surroundings, moved_pitch), context.around(still.surroundings, pitch)
    np.testing.assert_array_equal(got, want)


def test_the_context_says_something():
    model = make_model()
    piece = Piece(model, make_raw(3, 40))
    want, _ = piece.run(model, model.zero_state(3), 0, 40)
    piece.raw = np.roll(piece.raw, 1, axis=0)
    got, _ = piece.run(model, model.zero_state(3), 0, 40)
    assert np.abs(got.fields["pitch"] - want.fields["pitch"]).max() > 0.1


@pytest.mark.usefixtures("eagerly")
def test_samples_are_what_the_whole_model_finds_likeliest():
    """With one pitch's score far above the others, which the notes so far decide: the note before, once more."""
    model = make_model()
    assert model.context is not None
    for weight in model.context.weights:
        weight.assign(tf.zeros_like(weight))
    kernel = np.zeros(model.context.conv_kernel.shape, np.float32)
    kernel[context.REACH, 1 : 1 + context.AGES, 0] = 50.0  # began before, at this pitch
    model.context.conv_kernel.assign(kernel)
    model.context.output_weights.assign(np.eye(CONFIG.context_units, dtype=np.float32)[0] * 50)
    bias = np.asarray(model.output_biases[0].value).copy()
    bias[0] = -50.0  # no two notes at once
    model.output_biases[0].assign(bias)
    bias = np.asarray(model.head_bias.value).copy()
    bias[model.end_column] = -50.0
    model.head_bias.assign(bias)
    bias = np.asarray(model.output_biases[1].value).copy()
    bias[60:70] = 30.0
    model.output_biases[1].assign(bias)
    keys = np.arange(16, dtype=np.uint32).reshape(8, 2)
    pieces = np.stack([piece.values for piece in PieceSampler(model, max_notes=5).draw({}, keys)])
    assert (pieces[..., 1] == pieces[:, :1, 1]).all() and len(set(pieces[:, 0, 1])) > 1


TABLE = make_table(pitches=ALL_PITCHES)
TRAINING = TrainConfig(
    units=16,
    layers=1,
    head_units=16,
    dropout=0.3,
    batch_size=8,
    window=16,
    transpose=3,
    context_units=16,
    context_notes=NOTES,
    context_lags=(8, 33),
    context_periods=(50,),
)


def in_fifths(notes: Notes) -> Notes:
    """Each note with the fifth above it."""
    columns = {name: np.repeat(getattr(notes, name), 2) for name in ("velocity", "start", "duration", "program")}
    return Notes.from_columns(pitch=np.repeat(notes.pitch, 2) + np.tile([0, 7], len(notes)), **columns)


def context_weights(model: NoteModel) -> dict[str, np.ndarray]:
    assert model.context is not None
    return {weight.name: np.asarray(weight.value) for weight in model.context.weights}


@pytest.mark.usefixtures("eagerly")
def test_every_weight_learns():
    pieces = stack_pieces([in_fifths(notes) for notes in make_many([15, 5, 6, 20, 3, 11])], TABLE)
    step = TrainStep(TRAINING, TABLE, tf.distribute.OneDeviceStrategy("/cpu:0"))
    settings = {"start_bins": TABLE.start_bins, "memory": step.model.memory}
    with contextlib.closing(Feed(pieces, TABLE, TRAINING, position=Position(), **settings)) as endless:
        batches = [batch for batch, _ in itertools.islice(endless, 2)]
    assert any(batch.before_is_note.any() for batch in batches)
    begin = context_weights(step.model)
    for batch in batches:
        step(batch, 3e-3)
    for name, weight in context_weights(step.model).items():
        assert np.abs(weight - begin[name]).max() > 1e-4, f"{name} did not learn"
