"""When the next chord begins if the beat is kept: against a slow loop, and alike for a window and for its events."""

import numpy as np
import tensorflow as tf

from midi_codec.fields import FieldTable
from tests.trainer.model.attention.test_matches import PITCH, STEP, make_bins
from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer.model.attention.matches import MISSING
from trainer.model.attention.past import event_candidates, nothing_before, past_after, remember, window_candidates
from trainer.model.attention.sources import NUM_PULSES, ORDERS, Sources

TABLE: FieldTable = make_table(programs=(0, 5), pitches=ALL_PITCHES)  # steps: 0, 1 to 4, 5 to 19, 20 to 30, longer
MIDDLES = (0, 2, 12, 25)
CHORD = 4
SIZE = 12
SOURCES = Sources(SIZE, chord=CHORD)
PULSES = slice(SOURCES.num_earlier - NUM_PULSES, SOURCES.num_earlier)


def values(bins: np.ndarray) -> tf.Tensor:
    columns = [np.asarray(field.lows)[bins[..., index]] for index, field in enumerate(TABLE)]
    return tf.constant(np.stack(columns, axis=-1).astype(np.int32))


def played(rows: int, time: int) -> np.ndarray:
    """Notes with steps inside and between chords."""
    bins = make_bins(rows, time)
    bins[..., STEP] = np.random.default_rng(1).integers(0, 4, (rows, time))
    return bins


def pulses_by_hand(steps: list[int]) -> list[int]:
    """The bins of the steps to the next chord after notes with these bins of steps, of which only `SIZE` + 1 count."""
    seen = steps[-SIZE - 1 :]
    onset = np.cumsum([MIDDLES[step] for step in seen])
    chords = [int(onset[index]) for index, step in enumerate(seen) if MIDDLES[step] > CHORD][::-1]
    waits = [chords[0] + chords[k] - chords[k + 1] - int(onset[-1]) for k in range(min(NUM_PULSES, len(chords) - 1))]
    bins = [int(TABLE["step"].encode(np.array([wait]))[0]) if wait > CHORD else MISSING for wait in waits]
    return bins + [MISSING] * (NUM_PULSES - len(bins))


def test_pulses_are_what_the_definition_says_in_a_window_and_one_by_one():
    bins = played(2, 40)
    past = begin = nothing_before(2, sources=SOURCES, num_fields=len(TABLE))
    whole, _ = window_candidates(TABLE, SOURCES, begin, values(bins), tf.ones([2, 40]))
    known = 0
    for place in range(40):
        found = event_candidates(TABLE, SOURCES, past).bins[:, 0].numpy()
        np.testing.assert_array_equal(whole.bins[:, place], found)
        for row in range(2):
            want = pulses_by_hand(bins[row, :place, STEP].tolist()) if place else [MISSING] * NUM_PULSES
            assert found[row, PULSES, STEP].tolist() == want
            known += sum(step != MISSING for step in want)
        assert (found[:, PULSES, STEP + 1 :] == MISSING).all()
        past = remember(TABLE, SOURCES, past, values(bins[:, place]))
    assert known > 100


def test_steps_match_if_both_are_within_a_chord_or_neither_is():
    """Of two steps of a chord, and of two between chords, neither pair is equal; their notes match all the same."""
    bins = np.zeros((1, 6, 5), np.int32)
    bins[0, :, PITCH] = 60, 62, 67, 60, 62, 67
    bins[0, :, STEP] = 0, 2, 0, 3, 3, 1
    for chord, level in ((0, 0), (CHORD, 2)):
        sources = Sources(SIZE, chord=chord)
        past = past_after(
            TABLE, sources, nothing_before(1, sources=sources, num_fields=5), values(bins), tf.constant([6])
        )
        assert event_candidates(TABLE, sources, past).matches.levels[0, 0, 0] == level
    assert ORDERS[:2] == (1, 2)
