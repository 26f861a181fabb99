from fractions import Fraction

import numpy as np
import pytest

from midi_codec.midi import midi_ticks
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.midi_codec.exact_time import exact_microseconds, random_tempos


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("division", [1, 96, 480, 32767])
def test_onsets_and_ends_are_rounded_each_for_itself(time_base, division):
    generator = np.random.default_rng(division)
    tempos = random_tempos(generator, 20)
    start = generator.integers(0, 3000, 100)
    end = start + generator.integers(0, 500, 100)
    ticks = midi_ticks.TickBatch.of_one(
        midi_ticks.TickNotes(
            start=start,
            end=end,
            pitch=np.arange(100),  # a name for each note, whatever the order
            velocity=np.full(100, 1),
            program=np.zeros(100, int),
            tempo_ticks=tempos[0],
            tempo_microseconds=tempos[1],
        ),
        division,
    )
    batch, files, errors = midi_ticks.to_batch(ticks, time_base=time_base, limits=Limits(max_seconds=1e9))
    assert (files.tolist(), errors) == ([0], {})
    notes = batch.piece(0)

    def on_grid(tick: int) -> int:
        exact = Fraction(exact_microseconds(tick, tempos), 1000) if time_base == MILLISECONDS else Fraction(tick * 24)
        return int((exact / division + Fraction(1, 2)) // 1)

    for row, pitch in enumerate(notes.pitch.tolist()):
        assert notes.start[row] == on_grid(int(start[pitch]))
        assert notes.end[row] == on_grid(int(end[pitch]))
