import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data import epoch_plan
from trainer.data.batches import TIME_MULTIPLE, Windows, keyed_rng
from trainer.data.epoch_plan import EpochPlan
from trainer.data.pieces import PIECE, Pieces, event_dtype


def events_of(windows: Windows) -> list[tuple[int, int]]:
    return [
        (piece, begin + offset)
        for piece, begin, length in zip(windows.piece, windows.begin, windows.length, strict=True)
        for offset in range(length)
    ]


def plan_epoch(lengths, *, window: int, batch_size: int, rng_seed: int, epoch: int, folder=None) -> list[Windows]:
    index = np.zeros(len(lengths), PIECE)
    index["num_events"] = lengths
    pieces = Pieces(np.zeros(0, event_dtype(1)), index, np.zeros(0, np.uint8), (), folder)
    plan = EpochPlan(pieces, window=window, batch_size=batch_size, rng_seed=rng_seed, epoch=epoch)
    return [plan[index] for index in range(len(plan))]


def plan_in_memory(lengths, *, window: int, batch_size: int, rng_seed: int, epoch: int) -> list[Windows]:
    """The definition of a plan, for corpora whose windows fit into memory."""
    rng = keyed_rng(rng_seed, epoch)
    fits = lengths <= window
    first = np.where(fits, lengths, 1 + np.floor(rng.random(len(lengths)) * window).astype(np.int64))
    counts = 1 + -(-(lengths - first) // window)
    piece = np.repeat(np.arange(len(lengths)), counts)
    order = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, ... within a piece
    begin = np.where(order == 0, 0, first[piece] + (order - 1) * window)
    size = np.where(order == 0, first[piece], window)
    shuffled = Windows(piece, begin, np.minimum(size, lengths[piece] - begin)).take(rng.permutation(len(piece)))
    batches = []
    for start in range(0, len(shuffled), 64 * batch_size):
        pool = shuffled.take(slice(start, start + 64 * batch_size))
        by_length = pool.take(np.argsort(-pool.length, kind="stable"))
        batches += [by_length.take(slice(row, row + batch_size)) for row in range(0, len(pool), batch_size)]
    return [batches[index] for index in rng.permutation(len(batches))]


@pytest.mark.parametrize("window, batch_size", [(1, 1), (7, 2), (16, 3), (500, 1)])
def test_a_plan_in_files_is_the_plan_in_memory(window, batch_size, tmp_path, monkeypatch):
    """Block by block, whatever the blocks; several pools of windows, and a short last batch."""
    monkeypatch.setattr(epoch_plan, "BLOCK_PIECES", 5)
    monkeypatch.setattr(epoch_plan, "POOLS", 2)
    lengths = np.random.default_rng(1).integers(1, 200, 47)
    settings_of_plan = {"window": window, "batch_size": batch_size, "rng_seed": 3, "epoch": 2}
    want = arrays_of(plan_in_memory(lengths, **settings_of_plan))
    assert arrays_of(plan_epoch(lengths, **settings_of_plan)) == want
    assert arrays_of(plan_epoch(lengths, **settings_of_plan, folder=str(tmp_path))) == want
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=20), st.integers(1, 20), st.integers(0, 9))
def test_windows_hold_every_event_once(lengths, window, seed):
    plan = plan_epoch(np.array(lengths), window=window, batch_size=3, rng_seed=seed, epoch=0)
    assert all(1 <= size <= window for windows in plan for size in windows.length.tolist())
    events = sorted(event for windows in plan for event in events_of(windows))
    assert events == [(piece, event) for piece, length in enumerate(lengths) for event in range(length)]
    pieces = [piece for windows in plan for piece in windows.piece.tolist()]
    assert all(pieces.count(piece) == 1 for piece, length in enumerate(lengths) if length <= window)


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


# Quantiles of the lengths of pieces, from the shortest to the longest: asap (performances), pop909, Nottingham.
CORPORA = {
    "asap": (19, 688, 1300, 2267, 4000, 7212, 15000),
    "pop909": (180, 1035, 1350, 1664, 1980, 2387, 4200),
    "nottingham": (71, 155, 205, 265, 380, 629, 1600),
}
SHARES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("batch_size, window", [(32, 128), (64, 64), (64, 128)])
def test_little_of_an_epoch_is_padding(corpus, batch_size, window):
    lengths = np.interp(np.linspace(0, 1, 800), SHARES, CORPORA[corpus]).astype(np.int64)
    for epoch in range(3):
        plan = plan_epoch(lengths, window=window, batch_size=batch_size, rng_seed=0, epoch=epoch)
        cells = sum(len(batch) * -(-int(batch.length.max()) // TIME_MULTIPLE) * TIME_MULTIPLE for batch in plan)
        assert 1 - lengths.sum() / cells < 0.05


def test_windows_of_all_pieces_are_mixed():
    """Where every window is alike but for its piece, a batch holds pieces from all over the split."""
    lengths = np.full(6400, 16)
    plan = plan_epoch(lengths, window=16, batch_size=64, rng_seed=0, epoch=0)
    means = [batch.piece.mean() for batch in plan]
    assert len(plan) == 100 and np.abs(np.array(means) - 3200).max() < 4 * 6400 / 12**0.5 / 8
