import contextlib

import numpy as np

from tests.trainer.tiny import make_many, make_table
from trainer.config import TrainConfig
from trainer.feed import Feed, Position, batch_windows
from trainer.pieces import stack_pieces

TABLE = make_table()
CONFIG = TrainConfig(batch_size=2, window=16, transpose=0, velocity=0, tempo=0.2)
PIECES = stack_pieces(make_many([30, 9, 12]), TABLE)
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
        windows = batch_windows(PIECES, CONFIG, before)
        assert windows.length.sum() == batch.num_events
        assert (windows.length == (batch.is_note + batch.is_end).sum(axis=1)[: len(windows)]).all()
        before = after
