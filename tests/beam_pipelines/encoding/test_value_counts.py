import numpy as np
import pytest

from beam_pipelines.encoding import value_counts
from beam_pipelines.encoding.value_counts import ValueCounts
from midi_codec.dataset.dataset_info import COLUMNS, SPLITS, Histogram
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, Notes
from tests.beam_pipelines.corpora import make_notes

TRAIN, VALIDATION, TEST = range(3)


def piece(start, duration, *, pitch=60) -> Notes:
    ones = np.ones(len(start), np.int64)
    columns = {"pitch": ones * pitch, "velocity": ones * 90, "program": ones * 0}
    return Notes.from_columns(**columns, start=np.array(start), duration=np.array(duration))


def batch_of(*pieces: Notes) -> NoteBatch:
    return NoteBatch.from_notes(list(pieces), MILLISECONDS)


def plain(counted, split: str) -> dict[str, dict[int, int]]:
    return {name: dict(zip(*(part.tolist() for part in counted[split][name]), strict=True)) for name in COLUMNS}


def test_every_column_is_counted_for_the_split_of_its_piece():
    batch = batch_of(piece([100, 100, 300], [50, 50, 7]), piece([0], [70_000], pitch=0))
    counts = ValueCounts()
    counts.add(batch, np.array([TRAIN, TEST], np.uint8))
    assert plain(counts.counts(), "train") == {
        "step": {0: 2, 200: 1},
        "pitch": {60: 3},
        "duration": {7: 1, 50: 2},
        "velocity": {90: 3},
        "program": {0: 3},
    }
    assert plain(counts.counts(), "validation") == {name: {} for name in COLUMNS}
    assert plain(counts.counts(), "test") == {
        "step": {0: 1},
        "pitch": {0: 1},
        "duration": {70_000: 1},
        "velocity": {90: 1},
        "program": {0: 1},
    }


def test_the_silence_before_a_piece_is_no_step():
    assert value_counts.steps(batch_of(piece([9, 12], [1, 1]), piece([500, 503], [1, 1]))).tolist() == [0, 3, 0, 3]


@pytest.mark.parametrize("highest", [1, 5, 65_535, 65_536, 65_537, 2**31 - 1])
def test_any_duration_is_counted_exactly(highest):
    rng = np.random.default_rng(highest)
    values = np.concatenate([rng.integers(0, highest, 2000), [highest - 1, 0]])
    counts = ValueCounts()
    counts.add(batch_of(piece(np.zeros(len(values), np.int64), values)), np.array([TRAIN], np.uint8))
    want, numbers = np.unique(values, return_counts=True)
    assert plain(counts.counts(), "train")["duration"] == dict(zip(want.tolist(), numbers.tolist(), strict=True))


def test_batches_of_any_size_and_order_add_up_to_the_same():
    pieces = [make_notes(number, num_notes=1 + number) for number in range(20)]
    splits = np.arange(20, dtype=np.uint8) % 3
    whole, parts, sums = ValueCounts(), ValueCounts(), ValueCounts()
    whole.add(batch_of(*pieces), splits)
    for rows in (range(15, 20), range(0, 3), range(3, 15)):
        each = ValueCounts()
        each.add(batch_of(*(pieces[row] for row in rows)), splits[list(rows)])
        parts.add(batch_of(*(pieces[row] for row in rows)), splits[list(rows)])
        sums.add_counts(each.counts())
    assert whole.histograms() == parts.histograms() == sums.histograms()
    assert sum(whole.histograms()[split]["pitch"].counts != () for split in SPLITS) == 3


def test_what_is_taken_off_leaves_no_trace():
    one, other = piece([0, 70_001], [70_000, 5]), piece([0, 9], [3, 80_000], pitch=61)
    moved, alone = ValueCounts(), ValueCounts()
    moved.add(batch_of(one, other), np.array([TRAIN, TRAIN], np.uint8))
    correction = ValueCounts()
    correction.add(batch_of(other), np.array([TRAIN], np.uint8), sign=-1)
    correction.add(batch_of(other), np.array([VALIDATION], np.uint8))
    assert plain(correction.counts(), "train")["duration"] == {3: -1, 80_000: -1}
    moved.add_counts(correction.counts())
    alone.add(batch_of(one), np.array([TRAIN], np.uint8))
    alone.add(batch_of(other), np.array([VALIDATION], np.uint8))
    assert moved.histograms() == alone.histograms()


def test_nothing_to_count():
    counts = ValueCounts()
    counts.add(batch_of(), np.zeros(0, np.uint8))
    assert counts.histograms() == {split: {name: Histogram() for name in COLUMNS} for split in SPLITS}
