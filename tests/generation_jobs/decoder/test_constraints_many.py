"""A hundred thousand notes under random settings: from words through masks to the draw, none breaks what was asked."""

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.settings.controls import MAX_POLYPHONY, Allowed, Controls, columns, tempo_problems
from generation_jobs.settings.requests import MAX_TEMPERATURE, MIN_TEMPERATURE
from midi_codec.fields import CATEGORICAL, MAX_TICK
from tests.trainer.tiny import make_table
from trainer.sampling import constraints, field_sampling
from trainer.sampling.constraints import Constraints
from trainer.sampling.field_sampling import RowSettings

TABLE = make_table(timing_loss=CATEGORICAL, pitches=tuple(range(48, 80)), programs=(0, 40, 128))
NAMES = TABLE.names
NUM_KINDS, ROWS, NUM_BATCHES, NUM_NOTES = 2_000, 5_000, 5, 4
KEYS = ("C major", "F# minor", "Bb major", [0], [1, 6, 11])


def make_controls(rng: np.random.Generator) -> Controls:
    def some(value, share=0.4):
        return value if rng.random() < share else None

    def milliseconds(low, high):
        return some(f"{rng.integers(low, high) / 1000} seconds")

    return Controls(
        min_pitch=some(int(rng.integers(30, 70))),
        max_pitch=some(int(rng.integers(50, 100))),
        pitch_classes=some(KEYS[rng.integers(len(KEYS))]),
        programs=some(rng.permutation([0, 40, 128])[: rng.integers(1, 3)].tolist()),
        max_polyphony=some(int(rng.integers(1, 4))),
        min_step=milliseconds(0, 12),
        max_step=milliseconds(6, 40),
        min_duration=milliseconds(0, 30),
        max_duration=milliseconds(10, 80),
        notes_per_second=some(float(rng.uniform(1, 900))),
        repetition_penalty=float(rng.choice([1.0, 1.3, 1000.0])),
    )


@pytest.fixture(scope="module")
def kinds() -> list[Controls]:
    """Every tenth asks for nothing."""
    rng = np.random.default_rng(7)
    made = (Controls() if number % 10 == 0 else make_controls(rng) for number in range(2 * NUM_KINDS))
    return [one for one in made if not list(tempo_problems(one, TABLE, 120.0))][:NUM_KINDS]


def make_settings(rng: np.random.Generator) -> RowSettings:
    def choose(*values):
        return rng.choice(values, ROWS)

    return RowSettings(
        temperature=tf.constant(choose(0, MIN_TEMPERATURE, 0.5, 1, 4, MAX_TEMPERATURE), tf.float32),
        top_k=tf.constant(choose(1, 2, 7, MAX_TICK), tf.int32),
        top_p=tf.constant(choose(1e-6, 0.3, 0.9, 1), tf.float32),
        min_p=tf.constant(choose(0, 0, 0.05, 1), tf.float32),
    )


@tf.function(autograph=False)
def draw_note(of, settings, logits, uniforms, state, previous, is_first):
    """A note of every row, and the state with it; the model's logits are the same for every note."""
    keep_to = Constraints(TABLE, of, state)
    note = field_sampling.draw_note(
        TABLE,
        lambda index, *_: logits[index],
        uniforms,
        RowSettings(*settings),
        previous=previous,
        is_first=is_first,
        deviations={},
        constraints=keep_to,
    )
    return note.values, note.bins, keep_to.after(note.values, note.bins, tf.zeros_like(is_first), is_first)


def draw_pieces(arrays: dict[str, np.ndarray], chosen: np.ndarray, seed: int) -> np.ndarray:
    """`[rows, notes, num_fields]`, from silence."""
    rng = np.random.default_rng(seed)
    settings = make_settings(rng)
    logits = [tf.constant(rng.normal(0, 3, (ROWS, field.width)), tf.float32) for field in TABLE]
    uniforms = rng.random((NUM_NOTES, ROWS, 2 * len(TABLE)), np.float32)
    uniforms[:, :100], uniforms[:, 100:200] = 2.0**-24, 1 - 2.0**-24  # the least and the most that there are
    of = {name: tf.constant(array[chosen]) for name, array in arrays.items()}
    given = (settings.temperature, settings.top_k, settings.top_p, settings.min_p)
    state = constraints.nothing_drawn(ROWS, MAX_POLYPHONY)
    bins = tf.tile(tf.constant(TABLE.start_bins)[None], [ROWS, 1])
    found = []
    for place in range(NUM_NOTES):
        is_first = tf.fill([ROWS], place == 0)
        values, bins, state = draw_note(of, given, logits, tf.constant(uniforms[place]), state, bins, is_first)
        found.append(values.numpy())
    return np.stack(found, axis=1)


def test_no_note_breaks_what_its_settings_say(kinds):
    arrays = columns(kinds, [120.0] * len(kinds), TABLE)
    allowed = [Allowed.from_controls(one, TABLE) for one in kinds]
    pitches = np.array([one.pitch for one in allowed])
    programs = np.array([[number in (one.programs or (0, 40, 128)) for number in range(129)] for one in kinds])
    limits = {name: np.array([getattr(one, name) for one in allowed]) for name in ("step", "duration")}
    most = np.array([one.max_polyphony or NUM_NOTES for one in kinds])
    for batch in range(NUM_BATCHES):
        chosen = np.random.default_rng(batch).integers(0, len(kinds), ROWS)
        values = draw_pieces(arrays, chosen, batch)
        step, pitch, duration, _, program = (values[:, :, NAMES.index(name)] for name in NAMES)
        rows = chosen[:, None]
        assert pitches[rows, pitch - 48].all() and programs[rows, program].all()
        assert not step[:, 0].any()
        for name, found in (("step", step[:, 1:]), ("duration", duration)):
            assert (found >= limits[name][rows, 0]).all() and (found <= limits[name][rows, 1]).all()
        together = step[:, 1:] == 0
        assert (pitch[:, 1:] >= pitch[:, :-1])[together].all()
        onsets = np.cumsum(step, axis=1)
        sounding = (onsets + np.maximum(duration, 1))[:, None, :] > onsets[:, :, None]  # [rows, at, note]
        counts = np.tril(np.ones((NUM_NOTES, NUM_NOTES), bool))[None] & sounding
        assert (counts.sum(axis=2) <= most[rows]).all()
