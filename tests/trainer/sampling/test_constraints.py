"""What constraints leave of a distribution: exact shares of bins, exact ticks, and the state that they hang on."""

import numpy as np
import scipy.stats
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MAX_TICK
from tests.trainer.sampling.test_field_sampling import DRAWS, settings, uniforms
from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer.sampling import constraints, field_sampling
from trainer.sampling.constraints import Constraints

TABLE = make_table(timing_loss=CATEGORICAL, pitches=ALL_PITCHES)
STEP, PITCH = TABLE["step"], TABLE["pitch"]  # bins of steps: 0, 1-4, 5-19, 20-30, and more
MOST = 32


def columns(rows=1, **given) -> dict[str, tf.Tensor]:
    """As `generation_jobs.settings.controls.columns` makes them: nothing is kept from anything but what is given."""
    free = {
        "step_limits": [0, STEP.largest],
        "duration_limits": [0, TABLE["duration"].largest],
        "max_polyphony": 0,
        "highest_pitch": 127,
        "pitch_mask": np.zeros(PITCH.width, np.float32),
        "log_penalty": np.float32(0),
        "notes_per_tick": np.float32(0),
    }
    arrays = {name: np.asarray(value) for name, value in {**free, **given}.items()}
    arrays = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in arrays.items()}
    return {name: tf.constant(np.repeat(array[None], rows, axis=0)) for name, array in arrays.items()}


def keep_to(rows=1, state=None, **given) -> Constraints:
    state = state or constraints.nothing_drawn(rows, MOST)
    return Constraints(TABLE, columns(rows, **given), state)


def test_a_bin_partly_allowed_keeps_its_share_and_gives_the_allowed_ticks_alone():
    probabilities = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    logits = np.full((DRAWS, STEP.width), -1e9, np.float32)
    logits[:, :5] = np.log(probabilities)
    within = keep_to(DRAWS, step_limits=[3, 9])
    limits = within.limits(STEP, [])
    bins = field_sampling.draw_bin(tf.constant(logits) + within.offsets(STEP, limits), uniforms(), settings())
    ticks = field_sampling.draw_within_bin(STEP, bins, uniforms(1), limits).numpy()
    want = np.zeros(12)
    want[3:5] = 0.2 / 4  # two of the four ticks of the second bin
    want[5:10] = 0.4 / 15  # five of fifteen of the third
    counts = np.bincount(ticks, minlength=12)
    assert len(counts) == 12 and (counts[want == 0] == 0).all()
    assert scipy.stats.chisquare(counts[want > 0], DRAWS * want[want > 0] / want.sum()).pvalue > 1e-4


def test_a_penalty_divides_what_was_played_lately():
    state = constraints.nothing_drawn(DRAWS, MOST)
    recent = np.full((DRAWS, constraints.RECENT), -1, np.int32)
    recent[:, -3:] = [60, 60, 62]
    offsets = keep_to(DRAWS, {**state, "recent": tf.constant(recent)}, log_penalty=np.float32(np.log(2))).offsets(
        PITCH, None
    )
    logits = np.full((DRAWS, PITCH.width), -1e9, np.float32)
    logits[:, [60, 62, 64]] = np.log([0.5, 0.3, 0.2])
    drawn = field_sampling.draw_bin(tf.constant(logits) + offsets, uniforms(), settings()).numpy()
    want = np.array([0.5 / 4, 0.3 / 2, 0.2])  # played twice, once, not
    counts = [(drawn == pitch).sum() for pitch in (60, 62, 64)]
    assert sum(counts) == DRAWS
    assert scipy.stats.chisquare(counts, DRAWS * want / want.sum()).pvalue > 1e-4


def test_a_note_more_than_may_sound_waits_for_one_to_end():
    sounding = np.zeros((1, MOST), np.int32)
    sounding[0, :3] = [25, 12, 7]
    state = {**constraints.nothing_drawn(1, MOST), "sounding": tf.constant(sounding)}
    for most, low in ((1, 25), (2, 12), (3, 7), (4, 0), (0, 0)):
        first, last = keep_to(1, state, max_polyphony=most).limits(STEP, [])
        assert (first.numpy().tolist(), last.numpy().tolist()) == ([low], [STEP.largest])


def test_the_state_after_a_note():
    sounding = np.zeros((1, MOST), np.int32)
    sounding[0, :3] = [25, 12, 7]
    state = {**constraints.nothing_drawn(1, MOST), "sounding": tf.constant(sounding)}
    values, bins = tf.constant([[10, 61, 20, 40]]), tf.constant([[2, 61, 1, 0]])
    no = tf.constant([False])
    after = keep_to(1, state, notes_per_tick=np.float32(0.05)).after(values, bins, no, no)
    assert after["sounding"].numpy()[0, :4].tolist() == [20, 15, 2, 0]
    assert after["recent"].numpy()[0, -2:].tolist() == [-1, 61]
    assert after["lead"].numpy().tolist() == [-0.5]  # half a note was due, one came
    given = keep_to(1, state, notes_per_tick=np.float32(0.05)).after(values, bins, ~no, no)
    assert given["lead"].numpy().tolist() == [0.0]


def test_ticks_of_a_bin_beyond_all_are_none():
    first, last, span = constraints.allowed_ticks(STEP, (tf.constant([6]), tf.constant([MAX_TICK])))
    count = (last - first + 1).numpy()[0]
    assert count[:4].tolist() == [0, 0, 14, 11] and span.numpy()[:4].tolist() == [1, 4, 15, 11]
