import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midi_codec.notes import DRUM_PROGRAM, Notes
from tests.trainer.tiny import make_many, make_table
from trainer.augmentation import Augmentation
from trainer.batches import Windows, cut_windows, keyed_rng, make_batch, plan_epoch, whole_pieces
from trainer.pieces import stack_pieces

TABLE = make_table()
START = np.array([5, 3, 4, 2])  # the row after each field's last bin


def events_of(windows: Windows) -> list[tuple[int, int]]:
    return [
        (piece, begin + offset)
        for piece, begin, length in zip(windows.piece, windows.begin, windows.length, strict=True)
        for offset in range(length)
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=20), st.integers(1, 20), st.integers(0, 9))
def test_windows_hold_every_event_once(lengths, window, seed):
    windows = cut_windows(np.array(lengths), window, np.random.default_rng(seed))
    assert windows.length.min() >= 1 and windows.length.max() <= window
    want = [(piece, event) for piece, length in enumerate(lengths) for event in range(length)]
    assert sorted(events_of(windows)) == want
    whole = [piece for piece, length in enumerate(lengths) if length <= window]
    assert all((windows.piece == piece).sum() == 1 for piece in whole)


def test_an_epoch_predicts_every_event_once():
    lengths = np.array([5, 40, 7, 100, 2])
    for epoch in range(3):
        plan = plan_epoch(lengths, window=8, batch_size=4, rng_seed=1, epoch=epoch)
        assert all(1 <= len(batch) <= 4 for batch in plan)
        events = sorted(event for batch in plan for event in events_of(batch))
        assert events == [(piece, event) for piece, length in enumerate(lengths) for event in range(length)]


def arrays_of(plan):
    return [(batch.piece.tolist(), batch.begin.tolist(), batch.length.tolist()) for batch in plan]


def test_a_plan_follows_from_seed_and_epoch():
    lengths = np.array([30, 40, 50])
    settings_of_plan = {"window": 8, "batch_size": 4}
    plans = {
        key: arrays_of(plan_epoch(lengths, **settings_of_plan, rng_seed=key[0], epoch=key[1]))
        for key in [(0, 0), (0, 1), (1, 0)]
    }
    assert plans[0, 0] == arrays_of(plan_epoch(lengths, **settings_of_plan, rng_seed=0, epoch=0))
    assert plans[0, 0] != plans[0, 1] != plans[1, 0] != plans[0, 0]


def test_a_piece_is_cut_at_other_places_in_other_epochs():
    first = [
        min(begin for batch in plan_epoch(np.array([100]), window=16, batch_size=4, rng_seed=0, epoch=epoch)
            for begin in batch.begin.tolist() if begin)
        for epoch in range(200)
    ]  # fmt: skip
    assert set(first) == set(range(1, 17))


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
    assert batch.bins.shape == (1, 16, 4)  # rounded up
    assert batch.previous[0, :5].tolist() == [START.tolist(), *THREE_BINS, NOTHING]
    assert batch.bins[0, :5].tolist() == [*THREE_BINS, NOTHING, NOTHING]
    assert batch.raw[0, :5].tolist() == [*THREE_RAW, NOTHING, NOTHING]
    assert batch.is_note[0].tolist() == [1, 1, 1] + [0] * 13
    assert batch.is_end[0].tolist() == [0, 0, 0, 1] + [0] * 12
    assert batch.num_events == 4
    assert {array.dtype.name for array in (batch.previous, batch.bins, batch.raw)} == {"int32"}
    assert batch.milliseconds_per_tick.tolist() == [1.0]


def test_windows_within_pieces_written_out():
    pieces = stack_pieces([THREE, THREE], TABLE)
    windows = Windows(np.array([1, 0]), np.array([1, 2]), np.array([1, 2]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=3, start_bins=START, time=2)
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


def test_rows_of_a_batch():
    pieces = stack_pieces(make_many([9, 12]), TABLE)
    windows = Windows(np.array([0, 1]), np.array([0, 3]), np.array([10, 8]))
    batch = make_batch(pieces, windows, table=TABLE, batch_size=4, start_bins=START, rng=keyed_rng(0))
    halves = [batch.rows(slice(0, 2)), batch.rows(slice(2, 4))]
    for name, array in batch.as_dict().items():
        parts = [half[name] for half in halves]
        if name == "step_key":
            assert (parts[0] == array).all() and (parts[1] == array).all()
        else:
            assert (np.concatenate(parts) == array).all()
    assert [half["is_note"].sum() + half["is_end"].sum() for half in halves] == [18, 0]
    assert batch.num_events == 18


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
    assert pieces.is_drum.tolist() == [True, False, False] * 2
    assert (pieces.num_pieces, pieces.num_notes, pieces.num_events.tolist()) == (2, 4, [3, 3])


@pytest.mark.parametrize("window", [64, 128])
def test_little_of_an_epoch_is_padding(window):
    lengths = np.floor(np.random.default_rng(0).lognormal(5.5, 0.8, 1500)).astype(np.int64) + 2  # median 245 notes
    plan = plan_epoch(lengths, window=window, batch_size=64, rng_seed=0, epoch=0)
    cells = sum(64 * (-(-int(batch.length.max()) // 16) * 16) for batch in plan)
    assert 1 - lengths.sum() / cells < 0.065


def test_whole_pieces_come_in_chunks_whose_rows_stay():
    lengths = np.array([5, 20, 9, 16])
    seen = []
    for chunks in whole_pieces(lengths, chunk=8, batch_size=3):
        for windows in chunks:
            assert (windows.piece == chunks[0].piece).all()
        seen += [event for windows in chunks for event in events_of(windows)]
    assert sorted(seen) == [(piece, event) for piece, length in enumerate(lengths) for event in range(length)]
    assert [len(chunks) for chunks in whole_pieces(lengths, chunk=8, batch_size=3)] == [3, 1]
