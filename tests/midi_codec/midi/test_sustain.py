import numpy as np
import pytest

from midi_codec.midi import sustain


def controls(*events: tuple[int, int, int], last_tick: int = 1000) -> sustain.Pedals:
    """Pedals from (tick, value, group)."""
    tick, value, group = np.array(events, np.int64).reshape(-1, 3).T
    return sustain.from_controls(tick=tick, value=value, group=group, last_tick=np.full(len(tick), last_tick))


def stretches(pedals: sustain.Pedals) -> list[tuple[int, int, int]]:
    return list(zip(pedals.group.tolist(), pedals.down.tolist(), pedals.up.tolist(), strict=True))


def ends(notes: list[tuple[int, int, int, int]], pedals: sustain.Pedals) -> list[int]:
    """New ends of (start, end, pitch, group)."""
    start, end, pitch, group = np.array(notes, np.int64).reshape(-1, 4).T
    return sustain.extend(start=start, end=end, pitch=pitch, group=group, pedals=pedals).tolist()


def test_the_pedal_is_down_from_64_on():
    assert stretches(controls((10, 63, 0), (20, 64, 0), (30, 127, 0), (40, 63, 0), (50, 0, 0))) == [(0, 20, 40)]


def test_a_pedal_that_is_never_released_is_released_at_the_last_tick():
    assert stretches(controls((10, 64, 3), (20, 0, 4), (30, 64, 4), last_tick=99)) == [(3, 10, 99), (4, 30, 99)]


def test_a_pedal_pressed_after_the_last_note_leaves_the_one_before_alone():
    pedals = controls((5, 127, 0), (30, 0, 0), (40, 127, 0), last_tick=20)
    assert stretches(pedals) == [(0, 5, 30), (0, 40, 40)]
    assert ends([(0, 10, 60, 0)], pedals) == [30]


def test_groups_are_kept_apart_whatever_their_order():
    events = [(10, 64, 7), (15, 64, 2), (20, 0, 7), (30, 0, 2), (30, 0, 5), (40, 100, 7), (41, 0, 7)]
    assert stretches(controls(*events)) == [(2, 15, 30), (7, 10, 20), (7, 40, 41)]


def test_no_controls_no_pedals():
    assert stretches(controls()) == []
    assert stretches(controls((5, 0, 0), (6, 10, 0))) == []
    assert ends([(0, 10, 60, 0)], controls()) == [10]
    assert ends([], controls((5, 64, 0))) == []


def test_a_note_that_ends_under_the_pedal_sounds_until_it_is_let_go():
    pedals = controls((5, 100, 0), (50, 0, 0))
    assert ends([(0, 10, 60, 0)], pedals) == [50]
    assert ends([(0, 4, 60, 0)], pedals) == [4]  # over before the pedal comes
    assert ends([(0, 5, 60, 0)], pedals) == [50]  # pressed in the tick in which the key is let go
    assert ends([(0, 50, 60, 0)], pedals) == [50]
    assert ends([(0, 60, 60, 0)], pedals) == [60]  # the key is held for longer than the pedal
    assert ends([(0, 10, 60, 1)], pedals) == [10]  # another channel


def test_striking_the_pitch_again_ends_the_note_before():
    pedals = controls((5, 100, 0), (50, 0, 0))
    assert ends([(0, 10, 60, 0), (20, 25, 60, 0)], pedals) == [20, 50]
    assert ends([(0, 10, 60, 0), (20, 25, 61, 0)], pedals) == [50, 50]
    assert ends([(0, 10, 60, 0), (20, 25, 60, 1)], pedals) == [50, 25]
    assert ends([(0, 10, 60, 0), (10, 12, 60, 0)], pedals) == [10, 50]  # struck in the tick of its end
    assert ends([(0, 10, 60, 0), (5, 8, 60, 0)], pedals) == [50, 50]  # struck within: over before the note is
    assert ends([(6, 6, 60, 0), (6, 6, 60, 0), (9, 9, 60, 0)], pedals) == [9, 9, 50]  # notes of length 0


def test_the_notes_may_come_in_any_order_and_dtype():
    pedals = controls((5, 100, 0), (50, 0, 0))
    start, end = np.array([20, 0], np.int32), np.array([25, 10], np.int32)
    pitch, group = np.array([60, 60], np.uint8), np.array([0, 0], np.uint8)
    result = sustain.extend(start=start, end=end, pitch=pitch, group=group, pedals=pedals)
    assert (result.tolist(), result.dtype, end.tolist()) == ([50, 20], np.int64, [25, 10])


def held_one_by_one(notes, events, last_tick: int) -> list[int]:
    """The same note by note and event by event."""
    result = []
    for start, end, pitch, group in notes:
        values = [(tick, value) for tick, value, of_group in events if of_group == group]
        before = [value for tick, value in values if tick <= end]
        if before and before[-1] >= 64:
            let_go = [tick for tick, value in values if tick > end and value < 64]
            onsets = [other[0] for other in notes if other[2:] == (pitch, group) and other[0] >= max(end, start + 1)]
            end = min([last_tick, *let_go[:1], *onsets])
        result.append(end)
    return result


@pytest.mark.parametrize("key", range(60))
def test_against_a_loop(key):
    random = np.random.Generator(np.random.Philox(key))
    start = random.integers(0, 40, 25)
    columns = (start, start + random.integers(0, 9, 25), random.integers(60, 63, 25), random.integers(0, 3, 25))
    notes = list(zip(*(column.tolist() for column in columns), strict=True))
    ticks = np.sort(random.integers(0, 60, 12)).tolist()
    values, groups = random.integers(40, 90, 12).tolist(), random.integers(0, 3, 12).tolist()
    events = list(zip(ticks, values, groups, strict=True))
    assert ends(notes, controls(*events, last_tick=60)) == held_one_by_one(notes, events, 60)
