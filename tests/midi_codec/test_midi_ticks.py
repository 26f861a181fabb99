from fractions import Fraction

import numpy as np
import pytest

from midi_codec import midi_ticks
from midi_codec.midi_header import Limits
from midi_codec.notes import BEATS, MILLISECONDS, canonical_tempo


def random_tempos(generator: np.random.Generator, num_changes: int) -> tuple[np.ndarray, np.ndarray]:
    """Several changes a tick, and repeated values, among them."""
    ticks = np.sort(generator.integers(0, 2000, num_changes))
    return ticks, generator.integers(1, 2**24, num_changes) // 2**22 * 2**22 + 1


def exact_microseconds(tick: int, tempos: tuple[np.ndarray, np.ndarray]) -> int:
    """Microseconds times the division, added up tick by tick's change."""
    total, last_tick, microseconds = 0, 0, 500_000
    for change_tick, change in zip(*(column.tolist() for column in tempos), strict=True):
        if change_tick > tick:
            break
        total += (change_tick - last_tick) * microseconds
        last_tick, microseconds = change_tick, change
    return total + (tick - last_tick) * microseconds


@pytest.mark.parametrize("num_changes", [0, 1, 2, 11, 12, 13, 14, 60, 500])
def test_time_is_exact_for_few_and_many_tempos(num_changes):
    generator = np.random.default_rng(num_changes)
    tempos = random_tempos(generator, num_changes)
    ticks = generator.integers(0, 3000, 300)
    want = [exact_microseconds(tick, tempos) for tick in ticks.tolist()]
    assert midi_ticks.TempoMap(*tempos).scaled_microseconds(ticks).tolist() == want


def test_tempo_at_a_tick_includes_a_change_at_that_tick():
    tempo_map = midi_ticks.TempoMap(np.array([0, 10, 10, 20]), np.array([600_000, 1, 400_000, 400_000]))
    assert [tempo_map.tempo_at(tick) for tick in (0, 9, 10, 25)] == [100.0, 100.0, 150.0, 150.0]
    assert midi_ticks.TempoMap(np.array([5]), np.array([857_142])).tempo_at(4) == 120.0
    assert midi_ticks.TempoMap(np.array([5]), np.array([857_142])).tempo_at(5) == canonical_tempo(857_142)


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("division", [1, 96, 480, 32767])
def test_onsets_and_ends_are_rounded_each_for_itself(time_base, division):
    generator = np.random.default_rng(division)
    tempos = random_tempos(generator, 20)
    start = generator.integers(0, 3000, 100)
    end = start + generator.integers(0, 500, 100)
    notes = midi_ticks.to_notes(
        midi_ticks.TickNotes(
            start=start,
            end=end,
            pitch=np.arange(100),  # a name for each note, whatever the order
            velocity=np.full(100, 1),
            program=np.zeros(100, int),
            tempo_ticks=tempos[0],
            tempo_microseconds=tempos[1],
        ),
        division=division,
        time_base=time_base,
        limits=Limits(max_seconds=1e9),
    )

    def on_grid(tick: int) -> int:
        exact = Fraction(exact_microseconds(tick, tempos), 1000) if time_base == MILLISECONDS else Fraction(tick * 24)
        return int((exact / division + Fraction(1, 2)) // 1)

    for row, pitch in enumerate(notes.pitch.tolist()):
        assert notes.start[row] == on_grid(int(start[pitch]))
        assert notes.end[row] == on_grid(int(end[pitch]))
