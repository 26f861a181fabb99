"""What earlier moments match, against a slow loop over the definition, and alike for a window and for its events."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.tiny import ALL_PITCHES, make_table
from trainer.model.attention.matches import LONGEST, MISSING
from trainer.model.attention.past import (
    Candidates,
    Past,
    event_candidates,
    nothing_before,
    past_after,
    past_of,
    remember,
    same_pitch,
    window_candidates,
)
from trainer.model.attention.sources import BEYOND, MATCHERS, ORDERS, Sources

TABLE = make_table(programs=(0, 5), pitches=ALL_PITCHES)
SIZE = 12
SOURCES = Sources(SIZE)
NUM_MATCHES, NUM_EARLIER = SOURCES.num_matches, SOURCES.num_earlier
STEP, PITCH, DURATION, VELOCITY, PROGRAM = range(5)


def values(bins: np.ndarray) -> tf.Tensor:
    """The values of notes with these bins."""
    columns = [np.asarray(field.lows)[bins[..., index]] for index, field in enumerate(TABLE)]
    return tf.constant(np.stack(columns, axis=-1).astype(np.int32))


def make_bins(rows: int, time: int, seed: int = 0) -> np.ndarray:
    """Few different notes, so that much repeats, and a stretch that is repeated twice."""
    rng = np.random.default_rng(seed)
    shape = (rows, time)
    pitch = 60 + rng.integers(0, 3, shape)
    bins = np.stack(
        [rng.integers(0, 2, shape), pitch, rng.integers(0, 4, shape), rng.integers(0, 2, shape), pitch % 2], axis=-1
    )
    if time > 40:
        bins[0, 20:42] = bins[0, 10 + np.arange(22) % 10]
    return bins.astype(np.int32)


def agrees(matcher: str, notes: np.ndarray, first: int, second: int) -> bool:
    """Whether two notes of one piece agree; a note before the piece agrees with none."""
    if min(first, second) < 0 or (matcher == "transposed" and min(first, second) < 1):
        return False
    a, b = notes[first], notes[second]
    if matcher == "pitches":
        return (a[PITCH], a[PROGRAM]) == (b[PITCH], b[PROGRAM])
    if matcher == "exact":
        return (a[STEP], a[PITCH], a[PROGRAM]) == (b[STEP], b[PITCH], b[PROGRAM])
    intervals = [notes[index][PITCH] - notes[index - 1][PITCH] for index in (first, second)]
    return (a[STEP], a[PROGRAM]) == (b[STEP], b[PROGRAM]) and intervals[0] == intervals[1]


def doublings(distance: int) -> int:
    return max(distance - 1, 0).bit_length()


def candidates_by_hand(notes: np.ndarray) -> tuple[list[list[int]], list[int], list[int]]:
    """`Candidates.bins`, `levels` and `distances` of the event after these notes, from the definition."""
    last, nothing = len(notes) - 1, [MISSING] * len(TABLE)
    found, levels, distances = [], [], []
    for matcher in MATCHERS:
        level, latest = 0, []
        for order in ORDERS:
            ends = [
                end
                for end in range(last - 1, last - SIZE - 1, -1)
                if all(agrees(matcher, notes, last - back, end - back) for back in range(order))
            ]
            level += bool(ends)
            bins = notes[ends[0] + 1].tolist() if ends else list(nothing)
            if ends and matcher == "transposed":
                bins[PITCH] += int(notes[last][PITCH] - notes[ends[0]][PITCH])
            found.append(bins)
            latest.append(ends[0] if ends else -1)
        for rank, (own, longer) in enumerate(itertools.pairwise(latest)):
            if own == longer:  # the longer match speaks for both
                found[len(found) - len(ORDERS) + rank] = list(nothing)
        levels.append(level)
        distances.append(doublings(last - latest[level - 1] if level else 0))
    found += [notes[index].tolist() if index >= 0 else nothing for index in (last, last - 1)]
    return found, levels, distances


def step_by_step(bins: np.ndarray) -> list[Candidates]:
    """The candidates of each event, with one note more remembered after each."""
    past, found = nothing_before(len(bins), sources=SOURCES, num_fields=len(TABLE)), []
    for place in range(bins.shape[1]):
        found.append(event_candidates(TABLE, SOURCES, past))
        past = remember(TABLE, SOURCES, past, values(bins[:, place]))
    return found


def test_candidates_are_what_the_definition_says():
    bins = make_bins(2, 50)
    longest = 0
    for place, found in enumerate(step_by_step(bins)):
        for row in range(2):
            want, levels, distances = candidates_by_hand(bins[row, :place])
            assert found.bins[row, 0].numpy().tolist() == want
            assert found.matches.levels[row, 0].numpy().tolist() == levels
            assert found.matches.distances[row, 0].numpy().tolist() == distances
            assert found.ages[row, 0] == min(place, SIZE).bit_length()
            longest = max(longest, *levels)
    assert longest == len(ORDERS)  # the repeat is longer than the longest order


def test_a_window_is_its_events_one_by_one():
    bins = make_bins(3, 50)
    begin = nothing_before(3, sources=SOURCES, num_fields=len(TABLE))
    one_by_one = step_by_step(bins)
    for cuts in ((0, 50), (0, 17, 18, 50)):
        past, parts = begin, []
        for first, last in zip(cuts[:-1], cuts[1:], strict=True):
            part, past = window_candidates(
                TABLE, SOURCES, past, values(bins[:, first:last]), tf.ones([3, last - first])
            )
            parts.append(part)
        for take in (
            lambda found: found.bins,
            lambda found: found.matches.levels,
            lambda found: found.matches.distances,
            lambda found: found.ages,
        ):
            got, want = (np.concatenate([take(part) for part in each], axis=1) for each in (parts, one_by_one))
            np.testing.assert_array_equal(got, want)
        pitch = tf.constant(bins[:, cuts[-2] :, PITCH])
        same = same_pitch(TABLE, parts[-1], pitch)
        for place, event in enumerate(one_by_one[cuts[-2] :]):
            np.testing.assert_array_equal(same_pitch(TABLE, event, pitch[:, place, None])[:, 0], same[:, place])


def test_the_past_after_notes_is_the_one_carried_there():
    bins = make_bins(3, 50)
    past = carried = nothing_before(3, sources=SOURCES, num_fields=len(TABLE))
    pasts = [carried]
    for place in range(50):
        carried = remember(TABLE, SOURCES, carried, values(bins[:, place]))
        pasts.append(carried)
    counts = [50, 0, 23]
    got = past_after(TABLE, SOURCES, past, values(bins), tf.constant(counts))
    for row, count in enumerate(counts):
        np.testing.assert_array_equal(got.bins[row], pasts[count].bins[row])
        np.testing.assert_array_equal(got.runs[row], pasts[count].runs[row])
    _, after = window_candidates(TABLE, SOURCES, past, values(bins), tf.ones([3, 50]))
    for one, other in zip(after[:2], pasts[50][:2], strict=True):
        np.testing.assert_array_equal(one, other)
    before = bins[:, 50 - BEYOND - SIZE :]
    given = past_of(TABLE, SOURCES, values(before), tf.ones(before.shape[:2]))
    for one, other in zip(given[:2], pasts[50][:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert pasts[42].runs[0].numpy().max() == LONGEST


def test_a_transposed_phrase_continues_transposed():
    """The last step, 67 to 69, is as wide as 62 to 64, which 67 followed: five higher, that is 72."""
    bins = np.zeros((1, 5, 5), np.int32)
    bins[0, :, PITCH] = 60, 62, 64, 67, 69
    past = nothing_before(1, sources=SOURCES, num_fields=5)
    past = past_after(TABLE, SOURCES, past, values(bins), tf.constant([5]))
    found = event_candidates(TABLE, SOURCES, past)
    transposed = found.bins[0, 0, len(ORDERS) : 2 * len(ORDERS), PITCH].numpy().tolist()
    assert transposed == [72, MISSING, MISSING, MISSING, MISSING]
    assert found.matches.levels.numpy().tolist() == [[[0, 1, 0]]]
    assert found.bins[0, 0, NUM_MATCHES:NUM_EARLIER, PITCH].numpy().tolist() == [69, 67]


@pytest.mark.parametrize("high", [True, False])
def test_a_transposition_beyond_the_pitches_is_no_candidate(high):
    bins = np.zeros((1, 4, 5), np.int32)
    bins[0, :, PITCH] = (100, 110, 117, 127) if high else (27, 17, 10, 0)
    past = past_after(TABLE, SOURCES, nothing_before(1, sources=SOURCES, num_fields=5), values(bins), tf.constant([4]))
    found = event_candidates(TABLE, SOURCES, past)
    assert found.matches.levels.numpy().tolist() == [[[0, 1, 0]]]
    assert found.bins[0, 0, len(ORDERS), :].numpy().tolist() == [0, MISSING, 0, 0, 0]


def test_rows_without_a_note_at_their_end_have_none_to_copy():
    bins = make_bins(1, 6)
    is_note = tf.constant([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    past: Past = nothing_before(1, sources=SOURCES, num_fields=5)
    found, _ = window_candidates(TABLE, SOURCES, past, values(bins), is_note)
    assert (found.bins.numpy()[0, 0] == MISSING).all()
    assert (found.bins.numpy()[0, 4:, NUM_MATCHES] == MISSING).all()
