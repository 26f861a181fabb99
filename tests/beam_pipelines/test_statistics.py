import numpy as np
import pytest

from beam_pipelines import statistics
from midi_codec import records
from midi_codec.dataset_info import COLUMNS, Histogram, SplitInfo
from midi_codec.notes import BEATS, MILLISECONDS, Notes


def make_notes(start, duration, *, pitch=60, tempo=120.0, time_base=MILLISECONDS) -> Notes:
    ones = np.ones(len(start), np.int64)
    return Notes.from_columns(
        pitch=ones * pitch,
        velocity=ones * 90,
        start=np.array(start),
        duration=np.array(duration),
        program=ones * 0,
        tempo=tempo,
        time_base=time_base,
    )


def features_of(notes: Notes) -> dict[str, bytes]:
    return records.split_features(records.serialize_columns(piece_id="p", group_id="g", source="s", notes=notes))


def plain(counts) -> dict[int, int]:
    values, numbers = counts
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def test_of_records_counts_every_column():
    pieces = [make_notes([100, 100, 300], [50, 50, 7]), make_notes([0], [70_000], pitch=0)]
    shard = statistics.of_records([features_of(notes) for notes in pieces], time_base=MILLISECONDS)
    assert {name: plain(shard.counts[name]) for name in COLUMNS} == {
        "step": {0: 3, 200: 1},
        "pitch": {0: 1, 60: 3},
        "duration": {7: 1, 50: 2, 70_000: 1},
        "velocity": {90: 4},
        "program": {0: 4},
    }
    assert (shard.num_pieces, shard.num_notes) == (2, 4)
    assert shard.seconds == 0.207 + 70.0  # from the first onset on


def test_seconds_end_with_the_note_that_ends_last():
    shard = statistics.of_records([features_of(make_notes([0, 10], [500, 5]))], time_base=MILLISECONDS)
    assert shard.seconds == 0.5


def test_seconds_of_beats_follow_each_pieces_tempo():
    slow = make_notes([0, 24], [24, 24], tempo=60.0, time_base=BEATS)  # two beats of one second
    fast = make_notes([0, 24], [24, 24], tempo=180.0, time_base=BEATS)
    shard = statistics.of_records([features_of(notes) for notes in (slow, fast)], time_base=BEATS)
    assert shard.seconds == round(slow.seconds + fast.seconds, 3) == 2.667


def test_no_records():
    shard = statistics.of_records([], time_base=MILLISECONDS)
    assert (shard.num_pieces, shard.num_notes, shard.seconds) == (0, 0, 0.0)
    assert {name: plain(shard.counts[name]) for name in COLUMNS} == {name: {} for name in COLUMNS}


@pytest.mark.parametrize("highest", [1, 5, 65_535, 65_536, 65_537, 2**31])
def test_count_agrees_with_sorting(highest):
    rng = np.random.default_rng(highest)
    values = np.concatenate([rng.integers(0, highest, 2000), [highest - 1, 0]])
    want, counts = np.unique(values, return_counts=True)
    assert plain(statistics.count(values)) == dict(zip(want.tolist(), counts.tolist(), strict=True))


def test_add_up():
    first = statistics.of_records([features_of(make_notes([0, 5], [10, 10]))], time_base=MILLISECONDS)
    second = statistics.of_records([features_of(make_notes([0], [2]))] * 2, time_base=MILLISECONDS)
    empty = statistics.of_records([], time_base=MILLISECONDS)
    info, histograms = statistics.add_up([first, empty, second])
    assert info == SplitInfo(num_pieces=3, num_notes=4, seconds=0.019, shard_lengths=(1, 0, 2))
    assert histograms["duration"] == Histogram(values=(2, 10), counts=(2, 2))
    assert histograms["step"] == Histogram(values=(0, 5), counts=(3, 1))


def test_a_split_without_shards():
    info, histograms = statistics.add_up([])
    assert info == SplitInfo()
    assert histograms == {name: Histogram() for name in COLUMNS}
