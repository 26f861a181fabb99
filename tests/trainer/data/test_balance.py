"""Pieces of small sources several times per epoch."""

import pytest

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_many, make_table
from trainer.data.balance import balanced
from trainer.data.pieces import stack_pieces

TABLE = make_table()
NOTES = make_many([99, 4, 10, 99])
PIECES = stack_pieces(NOTES, TABLE, sources=["big/a.mid", "small/b.mid", "middle/c.mid", "big/d.mid"])


def test_a_source_occurs_by_the_root_of_how_much_smaller_it_is():
    pieces, times = balanced(PIECES, "^([a-z]+)/")
    assert times == {"big": 1, "middle": 4, "small": 6}  # sqrt(200 / 11), sqrt(200 / 5)
    order = [0, *[1] * 6, *[2] * 4, 3]
    want = stack_pieces([NOTES[index] for index in order], TABLE)
    assert pieces.block().raw.tolist() == want.block().raw.tolist()
    for name in ("num_events", "piece_id", "milliseconds_per_tick"):
        assert pieces.index[name].tolist() == want.index[name].tolist()
    assert [pieces.source(piece) for piece in range(12)] == [PIECES.source(index) for index in order]
    assert pieces.events is PIECES.events


def test_paths_in_which_nothing_is_found_are_named():
    with pytest.raises(UserError, match="balance_regex '(.*)' finds no source in the paths middle/c.mid, small/b.mid"):
        balanced(PIECES, "(big)/")
