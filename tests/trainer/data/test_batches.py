import dataclasses

import numpy as np
import pytest

from midi_codec.fields import build_field_table
from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, Notes
from tests.trainer.tiny import COMPOSER, LIVE, make_labels, make_many, make_table
from trainer.data import batches
from trainer.data.augmentation import Augmentation
from trainer.data.batches import (
    WHOLE,
    Batch,
    Part,
    Windows,
    keyed_rng,
    make_batch,
)
from trainer.data.pieces import is_drum, stack_pieces

TABLE = make_table()
START = np.array([5, 3, 4, 2])  # the row after each field's last bin


THREE = Notes.from_columns(
    pitch=np.array([60, 65, 62]),
    velocity=np.array([40, 90, 40]),
    start=np.array([0, 0, 7]),
    duration=np.array([5, 20, 55]),
    program=np.zeros(3, np.int64),
)
# The rows of THREE in the order of the table: step, pitch, duration, velocity; values, and their bins.
THREE_RAW = [[0, 60, 5, 40], [0, 65, 20, 90], [7, 62, 55, 40]]
THREE_BINS = [[0, 0, 0, 0], [0, 2, 1, 1], [2, 1, 2, 0]]
NOTHING = [0, 0, 0, 0]


def test_a_whole_piece_written_out():
    pieces = stack_pieces([THREE], TABLE)
    windows = Windows(np.array([0]), np.array([0]), np.array([4]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=1, start_bins=START)
    assert batch.previous[0].tolist() == [START.tolist(), *THREE_BINS]
    assert batch.bins[0].tolist() == [*THREE_BINS, NOTHING]
    assert batch.raw[0].tolist() == [*THREE_RAW, NOTHING]
    assert batch.is_note[0].tolist() == [1, 1, 1, 0]
    assert batch.is_end[0].tolist() == [0, 0, 0, 1]
    assert batch.num_events == 4 and batch.step_key.tolist() == [0, 0]
    assert {array.dtype.name for array in (batch.previous, batch.bins, batch.raw)} == {"int32"}
    assert batch.milliseconds_per_tick.tolist() == [1.0]


def test_windows_within_pieces_written_out(monkeypatch):
    monkeypatch.setattr(batches, "TIME_MULTIPLE", 2)
    pieces = stack_pieces([THREE, THREE], TABLE)
    windows = Windows(np.array([1, 0]), np.array([1, 2]), np.array([1, 2]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=3, start_bins=START)
    assert batch.previous.tolist() == [
        [THREE_BINS[0], THREE_BINS[1]],
        [THREE_BINS[1], THREE_BINS[2]],
        [START.tolist(), NOTHING],
    ]
    assert batch.raw.tolist() == [[THREE_RAW[1], NOTHING], [THREE_RAW[2], NOTHING], [NOTHING, NOTHING]]
    assert batch.is_note.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert batch.is_end.tolist() == [[0, 0], [0, 1], [0, 0]]


def test_a_batch_follows_from_its_key():
    pieces = stack_pieces(make_many([9, 12]), TABLE)
    windows = Windows(np.array([0, 1]), np.array([0, 3]), np.array([10, 8]))

    def make(*key):
        amounts = Augmentation(transpose=0, tempo=0.5)
        batch = make_batch(
            pieces, windows, table=TABLE, batch_size=4, start_bins=START, amounts=amounts, rng=keyed_rng(*key)
        )
        return {name: array.tobytes() for name, array in batch.as_dict().items()}

    first, again, other = make(1, 2, 3), make(1, 2, 3), make(1, 2, 4)
    assert first == again
    assert first["dropout_keys"] != other["dropout_keys"] and first["raw"] != other["raw"]
    assert first["is_note"] == other["is_note"]


def test_every_row_has_a_dropout_key_of_its_own():
    pieces = stack_pieces(make_many([9]), TABLE)
    windows = Windows(*np.zeros((2, 64), np.int64), np.full(64, 10))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=64, start_bins=START, rng=keyed_rng(0))
    assert batch.dropout_keys.dtype == np.uint32 and len(np.unique(batch.dropout_keys, axis=0)) == 64


def test_drums_of_a_piece_are_known_where_they_stand():
    columns = {
        "pitch": [60, 65],
        "velocity": [40, 40],
        "start": [0, 5],
        "duration": [5, 5],
        "program": [DRUM_PROGRAM, 0],
    }
    notes = Notes.from_columns(**{name: np.array(column) for name, column in columns.items()})
    pieces = stack_pieces([notes, notes], make_table(programs=(0, DRUM_PROGRAM)))
    assert is_drum(pieces.events).tolist() == [True, False, False] * 2
    assert (pieces.num_pieces, pieces.num_notes, pieces.num_events.tolist()) == (2, 4, [3, 3])


@pytest.mark.parametrize(
    "longest, size, rows, time", [(1, 1, 1, 4), (4, 1, 1, 4), (5, 3, 3, 8), (8, 4, 4, 8), (9, 4, 6, 12)]
)
def test_time_is_rounded_up_and_rows_are_as_asked(longest, size, rows, time):
    pieces = stack_pieces(make_many([9, 12, 9, 12]), TABLE)
    windows = Windows(np.arange(size), np.zeros(size, np.int64), np.append(longest, np.ones(size - 1, np.int64)))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=rows, start_bins=START)
    assert batch.bins.shape == (rows, time, 4)
    assert (batch.is_note + batch.is_end).sum(axis=1).tolist() == [longest, *[1] * (size - 1), *[0] * (rows - size)]


@pytest.mark.parametrize("replicas", [2, 4, 6])
@pytest.mark.parametrize("count", [1, 2])
def test_the_parts_of_a_batch_are_the_batch(replicas, count):
    """Whoever makes the rows: values, draws and keys are those of the whole batch; only empty rows are added."""
    pieces = stack_pieces(make_many([9, 12, 30]), TABLE)
    windows = Windows(np.array([0, 1, 2, 2, 2]), np.array([0, 3, 0, 9, 18]), np.array([10, 9, 9, 9, 8]))
    amounts = Augmentation(transpose=0, tempo=0.3)

    def make(batch_size: int, part: Part = WHOLE) -> Batch:
        rng = keyed_rng(0, 1, 2)
        settings_of_batch = {"table": TABLE, "start_bins": START, "amounts": amounts, "rng": rng, "part": part}
        return make_batch(pieces, windows, batch_size=batch_size, memory=4, **settings_of_batch)

    whole = make(5)
    size = -(-5 // replicas) * replicas
    parts = [make(size, Part(index=index, count=count, replicas=replicas)) for index in range(count)]
    for name, want in whole.as_dict().items():
        got = [part.as_dict()[name] for part in parts]
        if name == "step_key":
            assert all((array == want).all() for array in got) and want.any()
            continue
        assert {len(array) for array in got} == {size // count}
        assert (np.concatenate(got)[:5] == want).all(), name
    assert [part.num_events for part in parts] == [45] * count
    assert sum(part.is_note.sum() + part.is_end.sum() for part in parts) == 45


def before_of(batch: Batch) -> list:
    return [batch.before.tolist(), batch.before_is_note.tolist(), batch.before_tick.tolist()]


def test_the_notes_before_a_window_written_out():
    later = dataclasses.replace(THREE, start=np.array([0, 4, 11], np.int32))  # the second begins at tick 4
    pieces = stack_pieces([THREE, later], TABLE)
    windows = Windows(np.array([1, 0, 1, 0]), np.array([3, 0, 1, 2]), np.array([1, 4, 2, 2]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=5, start_bins=START, memory=2)
    first, second = [0, 60, 5, 40], [4, 65, 20, 90]
    assert before_of(batch) == [
        [[second, [7, 62, 55, 40]], [NOTHING] * 2, [NOTHING, first], THREE_RAW[:2], [NOTHING] * 2],
        [[1, 1], [0, 0], [0, 1], [1, 1], [0, 0]],
        [11, 0, 0, 0, 0],
    ]
    assert [getattr(batch, name).dtype.name for name in ("before", "before_is_note", "before_tick")] == [
        "int32",
        "float32",
        "int32",
    ]


def test_without_a_memory_nothing_comes_along():
    pieces = stack_pieces(make_many([9, 12]), TABLE)
    windows = Windows(np.array([0, 1]), np.array([0, 3]), np.array([10, 8]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=4, start_bins=START)
    assert (batch.before.shape, batch.before_is_note.shape) == ((4, 0, 4), (4, 0))
    assert batch.before_tick.tolist() == [0] * 4


@pytest.mark.parametrize("memory", [1, 5, 40])
def test_a_memory_changes_nothing_else(memory):
    """Where no note before a window comes near the ends of its range, which the draws keep to."""
    pieces = stack_pieces(make_many([9, 12, 30]), TABLE)
    windows = Windows(np.array([0, 1, 2, 2, 2]), np.array([0, 3, 0, 9, 18]), np.array([10, 9, 9, 9, 8]))
    amounts = Augmentation(transpose=0, tempo=0.3)
    settings_of_batch = {"table": TABLE, "batch_size": 6, "start_bins": START, "amounts": amounts}
    without = make_batch(pieces, windows, **settings_of_batch, rng=keyed_rng(0, 1)).as_dict()
    batch = make_batch(pieces, windows, **settings_of_batch, rng=keyed_rng(0, 1), memory=memory)
    for name in without.keys() - {"before", "before_is_note", "before_tick"}:
        assert batch.as_dict()[name].tobytes() == without[name].tobytes(), name
    assert batch.before_is_note.sum(axis=1).tolist() == [min(memory, begin) for begin in (0, 3, 0, 9, 18, 0)]


def test_notes_before_a_window_are_changed_as_the_window_is():
    """A window that holds all notes of a piece, and one that has all but the last of them before it."""
    table = build_field_table(
        {"step": ([0, 10], [1, 1]), "duration": ([10], [1])}, programs=(0,), time_base=MILLISECONDS
    )
    pieces = stack_pieces(make_many([20]), table)
    amounts = Augmentation(transpose=12, velocity=20, tempo=0.5)

    def make(begin: int, length: int, key: int) -> Batch:
        windows = Windows(np.array([0]), np.array([begin]), np.array([length]))
        start_bins, rng = table.start_bins, keyed_rng(key)
        return make_batch(
            pieces, windows, table=table, batch_size=1, start_bins=start_bins, amounts=amounts, rng=rng, memory=19
        )

    seen = set()
    for key in range(20):
        whole, late = make(0, 21, key), make(19, 2, key)
        assert (late.before[0] == whole.raw[0, :19]).all()
        assert (late.raw[0, 0] == whole.raw[0, 19]).all()
        factor = late.before_tick[0] / pieces.events["onset"][18]
        np.testing.assert_allclose(late.before[0, 1:, 0], pieces.block().raw[1:19, 0] * factor, atol=0.51)
        assert abs(late.before_tick[0] - late.before[0, :, 0].sum()) <= 19 / 2  # each step is rounded by itself
        seen.add((late.before[0, 0, 1], late.before_tick[0]))
    assert len(seen) == 20


def test_a_change_keeps_the_notes_before_within_range():
    high = Notes.from_columns(
        pitch=np.array([126, 60, 60]),
        velocity=np.array([64, 64, 64]),
        start=np.array([0, 4, 8]),
        duration=np.array([5, 5, 5]),
        program=np.zeros(3, np.int64),
    )
    table = build_field_table(
        {"step": ([0, 10], [1, 1]), "duration": ([10], [1])}, programs=(0,), time_base=MILLISECONDS
    )
    pieces = stack_pieces([high], table)
    windows = Windows(np.array([0]), np.array([2]), np.array([2]))
    highest = {}
    for memory in (0, 2):
        settings_of_batch = {"table": table, "batch_size": 1, "start_bins": table.start_bins, "memory": memory}
        made = [
            make_batch(pieces, windows, **settings_of_batch, amounts=Augmentation(transpose=5), rng=keyed_rng(key))
            for key in range(60)
        ]
        highest[memory] = max(int(batch.raw[0, 0, 1]) for batch in made)
    assert highest == {0: 65, 2: 61}


def test_keys_of_other_lengths_are_other_streams():
    assert keyed_rng(3, 1).integers(2**32) != keyed_rng(3, 1, 0, 0).integers(2**32)  # NumPy pads with zeros


LABELLED = dataclasses.replace(TABLE, labels=(COMPOSER, LIVE))


def test_labels_are_those_of_the_pieces():
    pieces = stack_pieces([THREE] * 4, LABELLED, labels=[make_labels(number) for number in range(4)])
    assert pieces.labels.tolist() == [[1, 0], [2, 1], [0, 1], [0, 0]]
    assert stack_pieces([THREE] * 2, LABELLED).labels.tolist() == [[0, 0], [0, 0]]
    assert stack_pieces([THREE] * 2, TABLE).labels.shape == (2, 0)
    windows = Windows(np.array([1, 0, 1]), np.zeros(3, np.int64), np.full(3, 4))
    batch = make_batch(pieces, windows, table=LABELLED, batch_size=4, start_bins=START, label_dropout=0.9)
    assert batch.labels[:3].tolist() == [[2, 1], [1, 0], [2, 1]]  # nothing is dropped without a stream


def test_labels_are_dropped_by_the_stream_of_the_batch():
    pieces = stack_pieces([THREE] * 300, LABELLED, labels=[{"composer": "Mozart", "live": "yes"}] * 300)
    windows = Windows(np.arange(300), np.zeros(300, np.int64), np.full(300, 4))
    whole, plain = (
        make_batch(
            pieces, windows, table=LABELLED, batch_size=300, start_bins=START, rng=keyed_rng(1, 2), label_dropout=rate
        )
        for rate in (0.25, 0.0)
    )
    assert plain.labels.tolist() == [[2, 1]] * 300
    known = whole.labels > 0
    assert known.mean(axis=0) == pytest.approx([0.75, 0.75], abs=0.06) and (known[:, 0] != known[:, 1]).sum() > 60
    assert (whole.dropout_keys == plain.dropout_keys).all() and (whole.step_key == plain.step_key).all()
    part = make_batch(
        pieces,
        windows,
        table=LABELLED,
        batch_size=300,
        start_bins=START,
        rng=keyed_rng(1, 2),
        label_dropout=0.25,
        part=Part(1, 2, 2),
    )
    assert (part.labels == whole.labels[150:]).all()
