import numpy as np
import pytest

from midi_codec.music.notes import BEATS, Notes
from tests.trainer.tiny import make_many, make_table
from trainer.data.pieces import stack_pieces
from trainer.data.whole_pieces import piece_seconds, plan_whole_pieces

NUM_EVENTS = np.array([5, 40, 17, 33, 16, 1, 15])


def as_tuples(windows) -> list[tuple[int, int, int]]:
    return list(zip(windows.piece.tolist(), windows.begin.tolist(), windows.length.tolist(), strict=True))


def test_the_longest_come_first_and_rows_end_with_their_pieces():
    batches = [[as_tuples(w) for w in chunks] for chunks in plan_whole_pieces(NUM_EVENTS, chunk=16, batch_size=4)]
    assert batches == [
        [
            [(1, 0, 16), (3, 0, 16), (2, 0, 16), (4, 0, 16)],
            [(1, 16, 16), (3, 16, 16), (2, 16, 1)],
            [(1, 32, 8), (3, 32, 1)],
        ],
        [[(6, 0, 15), (0, 0, 5), (5, 0, 1)]],
    ]


def test_replicas_are_dealt_pieces_in_turn():
    chunks = next(plan_whole_pieces(NUM_EVENTS, chunk=16, batch_size=6, replicas=2))
    empty = (0, 0, 0)
    assert [as_tuples(windows) for windows in chunks] == [
        [(1, 0, 16), (2, 0, 16), (6, 0, 15), (3, 0, 16), (4, 0, 16), (0, 0, 5)],
        [(1, 16, 16), (2, 16, 1), (3, 16, 16), empty],
        [(1, 32, 8), (3, 32, 1)],
    ]


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_every_event_is_there_once_and_states_can_be_carried(replicas):
    num_events = np.random.default_rng(0).integers(1, 90, 53)
    seen = []
    for chunks in plan_whole_pieces(num_events, chunk=16, batch_size=8, replicas=replicas):
        rows_before = None
        for windows in chunks:
            assert len(windows) % replicas == 0
            by_replica = np.where(windows.length > 0, windows.piece, -1).reshape(replicas, -1)
            if rows_before is not None:  # a replica's rows are the first of those before
                kept = rows_before[:, : by_replica.shape[1]]
                assert ((by_replica == kept) | (by_replica == -1)).all()
            rows_before = by_replica
            seen += [(p, e) for p, begin, length in as_tuples(windows) for e in range(begin, begin + length)]
    assert sorted(seen) == [(piece, event) for piece, n in enumerate(num_events) for event in range(n)]


def test_no_pieces():
    assert list(plan_whole_pieces(np.zeros(0, np.int64), chunk=16, batch_size=4)) == []


def test_seconds_run_to_the_last_end_whichever_note_has_it():
    columns = {"pitch": [60, 62, 60], "velocity": [40] * 3, "start": [0, 8, 16], "duration": [55, 5, 20]}
    long_first = Notes.from_columns(**{k: np.array(v) for k, v in columns.items()}, program=np.zeros(3, np.int64))
    pieces = stack_pieces([*make_many([5, 40]), long_first], make_table())
    want = [*(notes.seconds for notes in make_many([5, 40])), 0.055]
    np.testing.assert_allclose(piece_seconds(pieces), want, rtol=1e-6)


def test_seconds_on_the_beats_grid_follow_the_tempo():
    one = {"pitch": [60], "velocity": [40], "start": [0], "program": [0]}
    many = [
        Notes.from_columns(
            **{k: np.array(v) for k, v in one.items()}, duration=np.array([ticks]), tempo=tempo, time_base=BEATS
        )
        for ticks, tempo in ((48, 60.0), (48, 120.0), (0, 60.0))
    ]
    seconds = piece_seconds(stack_pieces(many, make_table()))
    np.testing.assert_allclose(seconds, [2.0, 1.0, 1 / 24], rtol=1e-6)  # a piece lasts a tick at least
