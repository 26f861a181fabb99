"""What sounded a given time ago, against a slow loop over the definition, and alike for a window and for its events."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer.model.attention import echoes
from trainer.model.attention.matches import MISSING
from trainer.model.attention.past import (
    Candidates,
    event_candidates,
    nothing_before,
    past_after,
    past_of,
    remember,
    window_candidates,
)
from trainer.model.attention.sources import BEYOND, HISTORY, Sources

TABLE = make_table(programs=(0, 5), pitches=ALL_PITCHES)
SIZE, LAGS = 20, (2, 4, 12)
SOURCES = Sources(SIZE, has_matches=False, lags=LAGS)
STEP, PITCH, DURATION, VELOCITY, PROGRAM = range(5)


def make_notes(rows: int, time: int, seed: int = 0) -> np.ndarray:
    """`[rows, time, 5]` values in the order of notes; a bar of 12 ticks and 8 notes repeats."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(rows):
        bar = np.stack([np.sort(rng.integers(0, 12, 8)), rng.integers(60, 63, 8), rng.integers(0, 2, 8)], axis=1)
        notes = [bar + [12 * index, 0, 0] for index in range(time // 8 + 1)]
        notes = np.concatenate(notes)[:time]
        changed = rng.random(time) < 0.1
        notes[changed, 1] = rng.integers(60, 66, changed.sum())
        program = np.array([0, 5])[notes[:, 2]]
        order = np.lexsort([program, notes[:, 1], notes[:, 0]])
        onset, pitch = notes[order, 0], notes[order, 1]
        columns = [
            np.diff(onset, prepend=0),
            pitch,
            rng.integers(1, 4, time),
            np.full(time, TABLE["velocity"].lows[0]),
            program[order],
        ]
        pieces.append(np.stack(columns, axis=1))
    return np.stack(pieces).astype(np.int32)


def echoes_by_hand(notes: np.ndarray) -> tuple[list[list[int]], list[int]]:
    """Bins and shares of the event after these notes, from the definition."""
    onset = np.cumsum(notes[:, STEP])
    keys = [(int(when), int(note[PITCH]), int(note[PROGRAM])) for when, note in zip(onset, notes, strict=True)]
    last, bins, shares = len(notes) - 1, [], []

    def moved(index: int, lag: int) -> tuple[int, int, int]:
        when, pitch, program = keys[index]
        return (when - lag, pitch, program)

    for lag in LAGS:
        found = [index for index in range(last + 1) if keys[index] > moved(last, lag)] if len(notes) else []
        if not found or found[0] == 0 or found[0] <= last - SIZE:
            bins.append([MISSING] * 5)
            shares.append(0)
            continue
        note = notes[found[0]].copy()
        note[STEP] = keys[found[0]][0] + lag - keys[last][0]
        bins.append(TABLE.encode(note[None])[0].tolist())
        repeated = [
            moved(index, lag) in keys[max(index - SIZE, 0) : index]
            for index in range(max(last - HISTORY + 1, 0), last + 1)
        ]
        shares.append(sum(sum(repeated) >= least for least in (1, 5, 9, 13, 16)))
    return bins, shares


def step_by_step(notes: np.ndarray) -> list[Candidates]:
    past, found = nothing_before(len(notes), sources=SOURCES, num_fields=5), []
    for place in range(notes.shape[1]):
        found.append(event_candidates(TABLE, SOURCES, past))
        past = remember(TABLE, SOURCES, past, tf.constant(notes[:, place]))
    return found


def test_echoes_are_what_the_definition_says():
    notes = make_notes(2, 60)
    highest = 0
    for place, found in enumerate(step_by_step(notes)):
        for row in range(2):
            bins, shares = echoes_by_hand(notes[row, :place])
            assert found.bins[row, 0, -len(LAGS) :].numpy().tolist() == bins
            assert found.echoes.shares[row, 0].numpy().tolist() == shares
            highest = max(highest, *shares)
    assert highest == 5


def test_a_window_is_its_events_one_by_one_and_leaves_the_same_past():
    notes = make_notes(3, 60)
    one_by_one = step_by_step(notes)
    for cuts in ((0, 60), (0, 17, 18, 60)):
        past, parts = nothing_before(3, sources=SOURCES, num_fields=5), []
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            given = tf.constant(notes[:, first:last])
            part, past = window_candidates(TABLE, SOURCES, past, given, tf.ones([3, last - first]))
            parts.append(part)
        for take in (lambda found: found.bins, lambda found: found.echoes.shares):
            got, want = (np.concatenate([take(part) for part in each], axis=1) for each in (parts, one_by_one))
            np.testing.assert_array_equal(got, want)
    nothing = nothing_before(3, sources=SOURCES, num_fields=5)
    after = past_after(TABLE, SOURCES, nothing, tf.constant(notes), tf.constant([60, 0, 60]))
    for row in (0, 2):
        np.testing.assert_array_equal(after.moments.onset[row], past.moments.onset[row])
        np.testing.assert_array_equal(after.moments.repeated[row], past.moments.repeated[row])
        np.testing.assert_array_equal(after.moments.place[row], past.moments.place[row])
    before = tf.constant(notes[:, -(SIZE + BEYOND) :])
    given = past_of(TABLE, SOURCES, before, tf.ones(before.shape[:2]))
    np.testing.assert_array_equal(given.moments.repeated, past.moments.repeated)
    np.testing.assert_array_equal(given.moments.place, past.moments.place)
    onset = given.moments.onset - past.moments.onset
    assert np.unique(onset, axis=1).shape == (3, 1)  # ticks from another origin


def test_a_wrong_note_does_not_end_a_repeat():
    """A chord of 60 and 62 repeats after two ticks; after a 61 amid the second one, 62 is still expected."""
    notes = np.zeros((1, 4, 5), np.int32)
    notes[0, :, STEP], notes[0, :, PITCH] = (0, 0, 2, 0), (60, 62, 60, 61)
    notes[0, :, VELOCITY] = TABLE["velocity"].lows[0]
    sources = Sources(SIZE, has_matches=False, lags=(2,))
    nothing = nothing_before(1, sources=sources, num_fields=5)
    past = past_after(TABLE, sources, nothing, tf.constant(notes), tf.constant([4]))
    found = event_candidates(TABLE, sources, past)
    want = TABLE.encode(np.array([[0, 62, 0, TABLE["velocity"].lows[0], 0]]))[0].tolist()
    assert found.bins[0, 0, -1].numpy().tolist() == want
    assert found.echoes.shares.numpy().tolist() == [[[1]]]


def test_a_hidden_note_is_not_found_and_the_next_one_is():
    """Of the chord of 60, 62 and 64 the 62 is hidden: after the next 60, the echo is 64, and 60 repeats."""
    notes = np.zeros((1, 5, 5), np.int32)
    notes[0, :, STEP], notes[0, :, PITCH] = (0, 0, 0, 2, 0), (60, 62, 64, 60, 65)
    notes[0, :, VELOCITY] = TABLE["velocity"].lows[0]
    sources = Sources(SIZE, has_matches=False, lags=(2,))
    nothing = nothing_before(1, sources=sources, num_fields=5)
    is_hidden = np.zeros((1, sources.memory + 5), bool)
    is_hidden[0, -4] = True
    for hides, pitch in ((None, 62), (tf.constant(is_hidden), 64)):
        found, past = window_candidates(TABLE, sources, nothing, tf.constant(notes), tf.ones([1, 5]), hides)
        assert found.bins[0, 4, -1, PITCH] == pitch
        assert found.echoes.shares[0, :, 0].numpy().tolist() == [0, 0, 0, 0, 1]
        assert (past.bins.numpy()[0, PITCH, -5:] == notes[0, :, PITCH]).all()  # hidden, not lost


def test_a_row_hides_up_to_twice_the_rate_and_nothing_outside_training():
    keys = tf.constant(np.random.default_rng(0).integers(0, 2**32, (400, 2), np.uint32))
    is_hidden = echoes.hidden(keys, rate=0.2, stream=3, notes=601).numpy()
    assert is_hidden.shape == (400, 601)
    shares = is_hidden.mean(axis=1)
    assert shares.mean() == pytest.approx(0.2, abs=0.02)
    assert 0.38 < shares.max() < 0.45
    assert shares.min() < 0.01
    assert echoes.hidden(None, rate=0.2, stream=3, notes=601) is None
    assert echoes.hidden(keys, rate=0.0, stream=3, notes=601) is None
