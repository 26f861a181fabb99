import numpy as np
import pytest

from midi_codec.midi.tempo_map import TempoMaps
from midi_codec.music.notes import canonical_tempo
from midi_codec.music.piece_offsets import offsets_of
from tests.midi_codec.exact_time import exact_microseconds, random_tempos


def tempo_maps(*files: tuple[list[int], list[int]]) -> TempoMaps:
    ticks, microseconds = (np.array(sum((file[side] for file in files), []), np.int64) for side in (0, 1))
    return TempoMaps(ticks, microseconds, offsets_of([len(file[0]) for file in files]))


def test_time_is_exact_for_few_and_many_tempos_whatever_the_neighbours():
    generator = np.random.default_rng(0)
    files = [random_tempos(generator, num_changes) for num_changes in (0, 1, 2, 0, 11, 60, 500)]
    maps = tempo_maps(*((ticks.tolist(), microseconds.tolist()) for ticks, microseconds in files))
    times = generator.integers(0, 3000, (300, len(files)))
    for row in times[:20]:
        want = [exact_microseconds(tick, tempos) for tick, tempos in zip(row.tolist(), files, strict=True)]
        assert maps.scaled_at(row).tolist() == want
    for file, tempos in enumerate(files):
        ticks = times[:, file].copy()
        maps.scale(ticks, maps.offsets[file], maps.offsets[file + 1])
        assert ticks.tolist() == [exact_microseconds(tick, tempos) for tick in times[:, file].tolist()]


def test_tempo_at_a_tick_includes_a_change_at_that_tick():
    changes = ([0, 10, 10, 20], [600_000, 1, 400_000, 400_000])
    maps = tempo_maps(changes, changes, changes, changes, ([5], [857_142]), ([5], [857_142]), ([], []))
    want = [100.0, 100.0, 150.0, 150.0, 120.0, canonical_tempo(857_142), 120.0]
    assert maps.tempo_at(np.array([0, 9, 10, 25, 4, 5, 9])).tolist() == want
    assert maps.slowest.tolist() == [600_000] * 4 + [857_142] * 2 + [500_000]


@pytest.mark.parametrize(
    "changes, want",
    [
        (([], []), [(0, 500_000)]),
        (([0], [400_000]), [(0, 400_000)]),  # the default never was
        (([0, 7, 7, 9], [1, 2, 1, 3]), [(0, 1), (9, 3)]),  # the last one at a tick counts; repeated tempos do not
        (([7, 9], [500_000, 400_000]), [(0, 500_000), (9, 400_000)]),
    ],
)
def test_stretches(changes, want):
    maps = tempo_maps(changes)
    assert list(zip(maps.begins.tolist(), maps.microseconds.tolist(), strict=True)) == want


def test_no_files():
    maps = tempo_maps()
    assert maps.tempo_at(np.empty(0, np.int64)).tolist() == []
