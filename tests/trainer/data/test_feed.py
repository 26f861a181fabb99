import contextlib
import dataclasses
import threading

import numpy as np
import pytest

from tests.trainer.tiny import make_many, make_table
from trainer.config import TrainConfig
from trainer.data import batches as trainer_batches
from trainer.data import feed
from trainer.data.batches import WHOLE, Part
from trainer.data.feed import Feed, Position, plan_of
from trainer.data.pieces import stack_pieces

TABLE = make_table()
CONFIG = TrainConfig(batch_size=2, window=16, transpose=0, velocity=0, tempo=0.2)
PIECES = stack_pieces(make_many([30, 9, 12]), TABLE)
RAW, ONSET = PIECES.block().raw, PIECES.events["onset"]
START = np.array([5, 3, 4, 2], np.int32)


def take(count: int, position: Position):
    with contextlib.closing(Feed(PIECES, TABLE, CONFIG, start_bins=START, position=position)) as batches:
        return [next(batches) for _ in range(count)]


def test_a_feed_goes_on_from_any_position():
    whole = take(9, Position())
    for done in (1, 2, 3, 5, 8):
        rest = take(9 - done, whole[done - 1][1])
        for (got, got_after), (want, want_after) in zip(rest, whole[done:], strict=True):
            assert got_after == want_after
            for name, array in want.as_dict().items():
                assert (got.as_dict()[name] == array).all()


def test_positions_count_epochs():
    positions = [after for _, after in take(9, Position())]
    per_epoch = next(index for index, position in enumerate(positions) if position.epoch == 1) + 1
    assert positions[per_epoch - 1] == Position(1, 0, 1.0)
    assert [position.epochs_done for position in positions[:per_epoch]] == [
        (index + 1) / per_epoch for index in range(per_epoch)
    ]
    assert positions[per_epoch].epoch == 1 and positions[per_epoch].batch == 1


def test_an_epoch_holds_every_event_and_the_next_is_another():
    whole = take(20, Position())
    by_epoch = {}
    before = Position()
    for batch, after in whole:
        by_epoch.setdefault(before.epoch, []).append(batch)
        before = after
    assert [sum(batch.num_events for batch in by_epoch[epoch]) for epoch in (0, 1)] == [54, 54]
    assert any(
        first.raw.shape != second.raw.shape or (first.raw != second.raw).any()
        for first, second in zip(by_epoch[0], by_epoch[1], strict=False)
    )


def test_the_windows_of_a_position_are_those_of_its_batch():
    before = Position()
    for batch, after in take(9, Position()):
        windows = plan_of(PIECES, CONFIG)(before.epoch)[before.batch]
        assert windows.length.sum() == batch.num_events
        assert (windows.length == (batch.is_note + batch.is_end).sum(axis=1)[: len(windows)]).all()
        before = after


@pytest.mark.parametrize("count, replicas", [(2, 2), (2, 4), (3, 3)])
def test_workers_make_parts_whose_union_is_the_epoch(count, replicas):
    """Each worker has rows of its own, no two the same, and together they are what one worker would have."""
    settings = dataclasses.replace(CONFIG, batch_size=6)
    per_epoch = len(batches_of_epoch(settings, WHOLE))
    whole = batches_of_epoch(settings, WHOLE)
    parts = [batches_of_epoch(settings, Part(index, count, replicas)) for index in range(count)]
    assert [len(part) for part in parts] == [per_epoch] * count
    for index, want in enumerate(whole):
        made = [part[index] for part in parts]
        assert {len(batch.bins) for batch in made} == {-(-len(want.bins) // replicas) * replicas // count}
        for name in ("raw", "bins", "previous", "is_note", "is_end", "dropout_keys", "milliseconds_per_tick"):
            got = np.concatenate([getattr(batch, name) for batch in made])
            assert (got[: len(want.bins)] == getattr(want, name)).all()
        assert {batch.num_events for batch in made} == {want.num_events}
        assert all((batch.step_key == want.step_key).all() for batch in made)
    own = [sum(int(batch.is_note.sum() + batch.is_end.sum()) for batch in part) for part in parts]
    assert sum(own) == len(RAW) and max(own) < sum(own)


def batches_of_epoch(config: TrainConfig, part: Part):
    made = []
    with contextlib.closing(
        Feed(PIECES, TABLE, config, start_bins=START, position=Position(epoch=2, epochs_done=2.0), part=part)
    ) as batches:
        for batch, after in batches:
            made.append(batch)
            if after.epoch == 3:
                return made
    raise AssertionError("a feed has no end")


def test_a_worker_gathers_only_its_own_rows(monkeypatch):
    asked = []
    original = feed.make_batch
    monkeypatch.setattr(feed, "make_batch", lambda *a, **k: (asked.append(k["part"]), original(*a, **k))[1])
    batches_of_epoch(CONFIG, Part(1, 2, 2))
    assert set(asked) == {Part(1, 2, 2)}
    seen = []
    augment = trainer_batches.augment
    monkeypatch.setattr(trainer_batches, "augment", lambda raw, **k: (seen.append(len(raw)), augment(raw, **k))[1])
    batches_of_epoch(dataclasses.replace(CONFIG, batch_size=4), Part(1, 2, 2))
    assert max(seen) == 2


def test_a_feed_with_a_memory():
    """Each row of an epoch has the notes before it, and all else as it is without."""
    config = dataclasses.replace(CONFIG, tempo=0.0)
    with contextlib.closing(Feed(PIECES, TABLE, config, start_bins=START, position=Position(), memory=20)) as batches:
        made = [next(batches) for _ in range(9)]
    without = Feed(PIECES, TABLE, config, start_bins=START, position=Position())
    before = Position()
    with contextlib.closing(without):
        for (batch, after), (plain, _) in zip(made, without, strict=False):
            windows = plan_of(PIECES, config)(before.epoch)[before.batch]
            for row, (piece, begin) in enumerate(zip(windows.piece, windows.begin, strict=True)):
                first = PIECES.first_event[piece]
                want = RAW[first + max(begin - 20, 0) : first + begin]
                assert (batch.before[row, 20 - len(want) :] == want).all()
                assert batch.before_is_note[row].tolist() == [0] * (20 - len(want)) + [1] * len(want)
                assert batch.before_tick[row] == (ONSET[first + begin - 1] if begin else 0)
            assert (batch.bins == plain.bins).all() and plain.before.shape[1] == 0
            before = after


def test_waiting_is_measured(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(feed.time, "monotonic", lambda: next(clock))
    with contextlib.closing(Feed(PIECES, TABLE, CONFIG, start_bins=START, position=Position())) as batches:
        assert batches.waited == 0
        next(batches)
        next(batches)
        assert batches.waited == 2


def test_a_fault_within_a_batch_is_raised_where_it_is_taken(monkeypatch):
    def fail(*_, **__):
        raise ValueError("spoilt")

    monkeypatch.setattr(feed, "make_batch", fail)
    with (
        contextlib.closing(Feed(PIECES, TABLE, CONFIG, start_bins=START, position=Position())) as batches,
        pytest.raises(ValueError, match="spoilt"),
    ):
        next(batches)


def test_threads_end_with_the_feed():
    before = threading.active_count()
    batches = Feed(PIECES, TABLE, CONFIG, start_bins=START, position=Position())
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
