"""Which pairs are held out, and which rows a batch has."""

from __future__ import annotations

import numpy as np

from midi_codec.dataset.pairs_file import Example
from tests.trainer.tiny import make_notes, make_table
from trainer.finetuning.pair_plan import PairPlan, lay_out_pairs, split_pairs

EXAMPLES = {
    name: Example(name, make_notes(number, num_notes=number), number % 2 == 0)
    for number, name in enumerate("abcdef", 3)
}


def pairs_of(*names: str) -> list[tuple[Example, Example]]:
    return [(EXAMPLES[name[0]], EXAMPLES[name[1]]) for name in names]


def test_rows_are_the_better_piece_then_the_worse():
    pairs = lay_out_pairs(pairs_of("ba", "bc"), make_table())
    assert len(pairs) == 2
    assert pairs.ended.tolist() == [True, False, True, False]
    assert pairs.num_events.tolist() == [5, 3, 5, 5]  # 4 notes and END; 3 notes; 5 notes
    assert pairs.pieces.piece_id.tolist()[0] == EXAMPLES["b"].notes.piece_id.encode()


def test_connected_pieces_are_on_one_side_whatever_the_order():
    pairs = pairs_of("ab", "bc", "de", "fd")
    used, held_out = split_pairs(pairs)
    assert {tuple(map(id, pair)) for pair in used + held_out} == {tuple(map(id, pair)) for pair in pairs}
    sides = [{piece.name for pair in side for piece in pair} for side in (used, held_out)]
    assert sorted(map(sorted, sides)) == [["a", "b", "c"], ["d", "e", "f"]]
    again = split_pairs(pairs[::-1])
    assert [{piece.name for pair in side for piece in pair} for side in again] == sides
    assert split_pairs(pairs_of("ab", "bc")) == (pairs_of("ab", "bc"), [])


def test_each_epoch_has_every_pair_once():
    pairs = lay_out_pairs(pairs_of("ab", "cd", "ef", "ba", "dc"), make_table())
    plan = PairPlan(pairs, replicas=1, batch_size=4, rng_seed=7, epoch=0)
    assert len(plan) == 3
    rows = np.concatenate([plan[index].piece for index in range(3)])
    assert sorted(rows.tolist()) == list(range(10)) and (rows[1::2] == rows[0::2] + 1).all()
    np.testing.assert_array_equal(plan[1].length, pairs.num_events[plan[1].piece])
    other = PairPlan(pairs, replicas=1, batch_size=4, rng_seed=7, epoch=1)
    assert [other[index].piece.tolist() for index in range(3)] != [plan[index].piece.tolist() for index in range(3)]
    in_order = PairPlan(pairs, replicas=2, batch_size=4)
    assert in_order[0].piece.tolist() == [0, 1, 2, 3]
    assert (in_order[2].piece.tolist(), in_order[2].length.tolist()) == ([8, 9, 0, 0], [7, 5, 0, 0])
