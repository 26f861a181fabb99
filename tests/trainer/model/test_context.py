"""What the notes so far look like on the pitch axis, by hand and against a slow loop."""

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer.model import context
from trainer.model.context import CHORD, LOWEST, PITCHES, Memory

TABLE = make_table(pitches=ALL_PITCHES)
NOTES = CHORD + 8
LAGS = (4, 10)
LOG2, LOG3 = np.log(2), np.log(3)


def memory_of(notes: list[tuple[int, int, int]]) -> Memory:
    """Of one row: (onset, pitch, end), behind as many columns without a note as fill it up."""
    columns = [context.EMPTY] * (NOTES - len(notes)) + [(pitch, onset, end) for onset, pitch, end in notes]
    return Memory(*(tf.constant([column], tf.int32) for column in zip(*columns, strict=True)))


def seen(notes: list[tuple[int, int, int]], onset: int, *, time_base: str = BEATS) -> context.Surroundings:
    """What one event sees."""
    return context.surroundings(memory_of(notes), tf.constant([[onset]]), notes=NOTES, lags=LAGS, time_base=time_base)


def channels_of(found: context.Surroundings, pitch: int) -> list[float]:
    return np.round(found.channels.numpy()[0, 0, pitch - LOWEST], 5).tolist()


def row(**values: float) -> list[float]:
    """A pitch's channels by name; those left out are 0."""
    names = ["sounds", *(f"age_{2**age}" for age in range(context.AGES)), *(f"lag_{lag}" for lag in LAGS)]
    channels = dict.fromkeys(names, 0.0) | values
    width = context.num_channels(LAGS)
    return np.round([*channels.values(), *[0.0] * (width - len(names))], 5).tolist()


def test_a_note_that_sounds_and_one_that_is_over():
    found = seen([(0, 60, 8), (3, 64, 5)], 7)  # ages 7 and 4: octaves 3 and log2(5)
    part = np.log2(5) - 2
    assert channels_of(found, 60) == pytest.approx(row(sounds=LOG2, age_4=LOG2, lag_4=LOG2), abs=2e-5)
    shares = {"age_2": np.log1p(1 - part), "age_4": np.log1p(part)}
    assert channels_of(found, 64) == pytest.approx(row(**shares, lag_4=LOG2), abs=2e-5)
    assert np.count_nonzero(np.abs(found.channels).sum(axis=3)) == 2
    assert found.chord_size.numpy().tolist() == [[0]] and not found.chord.numpy().any()


def test_two_notes_at_a_pitch_count_twice():
    found = seen([(0, 60, 9), (0, 60, 9)], 1)
    assert channels_of(found, 60) == pytest.approx(row(sounds=LOG3, age_1=LOG3), abs=2e-5)


def test_the_chord_so_far_stands_apart():
    found = seen([(0, 50, 20), (12, 60, 14), (12, 64, 14)], 12)
    assert found.chord_size.numpy().tolist() == [[2]]
    assert (np.flatnonzero(found.chord[0, 0]) + LOWEST).tolist() == [60, 64]
    assert channels_of(found, 60) == row() and channels_of(found, 64) == row()
    assert channels_of(found, 50)[0] == pytest.approx(LOG2, abs=2e-5)


def test_lags_are_of_what_sounded_then():
    """At 20: a lag of 4 asks what sounded at 16, one of 10 at 10; a note's end is not in it."""
    found = seen([(2, 60, 10), (4, 62, 11), (15, 64, 16), (15, 65, 17)], 20)
    lags = {pitch: [value > 0 for value in channels_of(found, pitch)[10:12]] for pitch in (60, 62, 64, 65)}
    assert lags == {60: [False, False], 62: [False, True], 64: [False, False], 65: [True, False]}


def test_ages_of_milliseconds_begin_with_sixteen():
    found = seen([(0, 60, 1)], 48, time_base=MILLISECONDS)  # log2(1 + 48 / 16) = 2
    assert channels_of(found, 60) == pytest.approx(row(age_2=LOG2), abs=2e-5)


def test_pitches_beyond_the_axis_have_no_channels():
    found = seen([(0, LOWEST - 1, 9), (0, LOWEST + PITCHES, 9), (0, LOWEST, 9), (0, LOWEST + PITCHES - 1, 9)], 1)
    assert np.flatnonzero(np.abs(found.channels[0, 0]).sum(axis=1)).tolist() == [0, PITCHES - 1]
    nothing = context.around(found, tf.constant([[LOWEST - 1]]))
    assert nothing.shape == (1, 1, context.around_size(LAGS)) and not nothing.numpy().any()


def test_a_note_is_forgotten_when_others_push_it_out():
    crowd = [(tick, 40, 99) for tick in range(1, NOTES - CHORD)]
    assert channels_of(seen([(0, 60, 99), *crowd], 50), 60)[0] > 0
    assert channels_of(seen([(0, 60, 99), *crowd, (49, 40, 50)], 50), 60) == row()


def test_a_chord_takes_nothing_from_what_was_before():
    before = [(tick, 60 + tick, 99) for tick in range(NOTES - CHORD)]
    for size in (0, 1, CHORD):
        found = seen([*before, *[(20, 80 + number, 21) for number in range(size)]][-NOTES:], 20)
        assert found.chord_size.numpy().tolist() == [[size]]
        assert channels_of(found, 60)[0] == pytest.approx(LOG2, abs=2e-5)


def test_around_is_the_window_of_the_pitch():
    found = seen([(0, 60, 9), (5, 62, 6)], 5)
    found = found._replace(channels=tf.random.stateless_uniform(found.channels.shape, (1, 2)))
    reach, width = context.INPUT_REACH, context.num_channels(LAGS)
    got = context.around(found, tf.constant([[LOWEST + 3]])).numpy()[0, 0]
    window = got[: (2 * reach + 1) * width].reshape(2 * reach + 1, width)
    assert not window[: reach - 3].any()
    np.testing.assert_array_equal(window[reach - 3 :], found.channels[0, 0, : 3 + reach + 1])
    chord = got[(2 * reach + 1) * width :]
    assert (np.flatnonzero(chord) - reach + LOWEST + 3).tolist() == []  # 62 is farther off than `INPUT_REACH`
    near = context.around(found, tf.constant([[60]])).numpy()[0, 0, (2 * reach + 1) * width :]
    assert np.flatnonzero(near).tolist() == [reach + 2]


def make_raw(rows: int, time: int, seed: int = 0) -> np.ndarray:
    """Chords and single notes at random, some chords larger than an event sees."""
    rng = np.random.default_rng(seed)
    step = rng.choice([0, 0, 0, 1, 5], (rows, time))
    step[-1, 3:30] = 0
    pitch, duration = rng.integers(10, 118, (rows, time)), rng.integers(1, 30, (rows, time))
    return np.stack([step, pitch, duration, np.full_like(step, 40)], axis=-1).astype(np.int32)


def test_a_window_is_its_events_one_by_one():
    rows, time = 3, 60
    notes = context.remember(context.empty_memory(rows, NOTES), TABLE, make_raw(rows, time), tf.ones([rows, time]))
    onset = notes.onset[:, NOTES:]
    settings = {"notes": NOTES, "lags": LAGS, "time_base": BEATS}
    whole = context.surroundings(notes, onset, **settings)
    assert whole.channels.shape[1] < time  # a chord's notes share a moment
    assert whole.chord_size.numpy().max() == CHORD
    around = context.around(whole, notes.pitch[:, NOTES:])
    for place in range(time):
        memory = Memory(*(column[:, place : place + NOTES] for column in notes))
        one = context.surroundings(memory, onset[:, place : place + 1], **settings)
        channels = tf.gather(whole.channels, whole.moment[:, place], batch_dims=1)
        np.testing.assert_array_equal(one.channels[:, 0], channels)
        np.testing.assert_array_equal(one.chord[:, 0], whole.chord[:, place])
        np.testing.assert_array_equal(one.chord_size[:, 0], whole.chord_size[:, place])
        pitch = notes.pitch[:, NOTES + place, None]
        np.testing.assert_array_equal(context.around(one, pitch)[:, 0], around[:, place])


def test_the_memory_before_a_window_is_the_one_carried_there():
    raw = make_raw(2, 60)
    carried = context.remember(context.empty_memory(2, NOTES), TABLE, raw, tf.ones([2, 60]))
    there = np.ones((2, NOTES), np.float32)
    for length in (60, 5):
        want = context.newest(Memory(*(column[:, : NOTES + length] for column in carried)), NOTES)
        before = np.zeros((2, NOTES, 4), np.int32)
        known = min(length, NOTES)
        before[:, NOTES - known :] = raw[:, length - known : length]
        there[:, : NOTES - known] = 0
        got = context.memory_before(TABLE, before, there, tf.constant(raw[:, :length, 0].sum(axis=1), tf.int32))
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)
