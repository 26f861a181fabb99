"""Advantages, and the batches of drawn pieces."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from midi_codec.measures.music_measures import Part
from tests.trainer.small_model import make_model
from tests.trainer.tiny import make_notes
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.data import batches
from trainer.data.feed import Position
from trainer.finetuning.drawn_pieces import (
    Drawer,
    DrawnPiece,
    DrawnSource,
    advantages,
    batch_of,
    improvement,
    mean_and_spread,
)

pytestmark = pytest.mark.usefixtures("eagerly")


def test_advantages_are_standard_deviations_from_the_mean():
    values = {"a": np.array([1.0, 3.0, np.nan, 2.0]), "b": np.array([0.0, 0.0, 0.0, 0.0])}
    spread = math.sqrt(2 / 3)
    assert advantages(values, {"a": 2.0}).tolist() == pytest.approx([-1 / spread, 1 / spread, 0, 0])
    both = advantages(values, {"a": 3.0, "b": 4.0})  # all alike in b
    assert both.tolist() == pytest.approx([-0.6 / spread, 0.6 / spread, 0, 0])
    assert advantages({"a": np.full(3, np.nan)}, {"a": 1.0}).tolist() == [0, 0, 0]


def test_one_far_piece_counts_five_deviations_at_most():
    found = advantages({"a": np.array([1.0] + [0.0] * 99)}, {"a": 1.0})
    assert found[0] == 5.0 and found[1] == pytest.approx(-1 / math.sqrt(99))


def make_pieces() -> list[DrawnPiece]:
    notes = [make_notes(number, num_notes=length) for number, length in enumerate((5, 9, 3))]
    return [DrawnPiece(each, Part(each), ended=number != 1) for number, each in enumerate(notes)]


def test_rows_are_whole_pieces_and_only_an_end_that_was_drawn_is_an_event():
    model = make_model()
    batch = batch_of(make_pieces(), np.array([1.0, -1.0, 0.5], np.float32), model, batches.WHOLE)
    assert batch.is_note.sum(axis=1).tolist() == [5, 9, 3] and batch.is_end.sum(axis=1).tolist() == [1, 0, 1]
    assert batch.advantage.tolist() == [1.0, -1.0, 0.5] and batch.num_events == 19
    assert set(batch.as_dict()) == {field.name for field in dataclasses.fields(batch)} - {"num_events"}


def test_a_worker_makes_its_own_rows():
    model, advantage = make_model(), np.array([1.0, -1.0, 0.5], np.float32)
    whole = batch_of(make_pieces(), advantage, model, batches.Part(0, 1, 2))
    parts = [batch_of(make_pieces(), advantage, model, batches.Part(index, 2, 2)) for index in range(2)]
    assert whole.advantage.tolist() == [1.0, -1.0, 0.5, 0.0]
    for name, rows in whole.as_dict().items():
        if name != "step_key":
            np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), rows)
    assert {part.num_events for part in parts} == {19}


def test_what_is_drawn_depends_on_weights_seed_and_step():
    model = make_model(end_bias=-30.0)
    start = Bundle(dataclasses.asdict(model.config), model.table, {}, {}, {}, bundle_lib.get_weights(model))

    def draw(seed: int, *key: int) -> list[bytes]:
        drawer = Drawer(model, start, rng_seed=seed, max_notes=4, ends=True)
        return [piece.drawn.start.tobytes() + piece.drawn.pitch.tobytes() for piece in drawer.draw(8, *key)]

    first = draw(0, 0, 3)
    assert draw(0, 0, 3) == first and draw(1, 0, 3) != first and draw(0, 0, 4) != first and draw(0, 1, 3) != first


def test_a_key_that_is_struck_again_ends_the_note_that_is_heard():
    model = make_model(end_bias=-30.0)
    bundle = Bundle(dataclasses.asdict(model.config), model.table, {}, {}, {}, bundle_lib.get_weights(model))
    piano = dataclasses.replace(bundle, dataset={"restrike_share": 0.0})
    sounds_on, ends = (
        Drawer(model, start, rng_seed=0, max_notes=12, ends=True).draw(20, 0, 0) for start in (bundle, piano)
    )
    assert [piece.drawn for piece in ends] == [piece.drawn for piece in sounds_on]
    assert all(piece.part.notes == piece.drawn for piece in sounds_on)
    assert any((piece.part.notes.duration < piece.drawn.duration).any() for piece in ends)


def test_an_improvement_is_in_spreads_of_the_first_validation():
    first = {"reward_a": 0.5, "spread_a": 0.25, "reward_b": -2.0, "spread_b": 0.0}
    found = {"reward_a": 0.75, "spread_a": 9.0, "reward_b": -1.5, "spread_b": 9.0}
    assert improvement(first, first, {"a": 3.0, "b": 4.0}) == 0
    assert improvement(found, first, {"a": 3.0, "b": 4.0}) == pytest.approx((3 * 1 + 4 * 0.5) / 5)


def test_the_mean_and_spread_of_what_is_known():
    assert mean_and_spread(np.array([1.0, np.nan, 3.0])) == (2.0, 1.0)
    assert mean_and_spread(np.array([np.nan])) == (0.0, 0.0)


def test_a_source_continues_at_any_step():
    batch = batch_of(make_pieces(), np.zeros(3, np.float32), make_model(), batches.WHOLE)
    made: list[int] = []

    def make(step: int):
        made.append(step)
        return batch

    source = DrawnSource(make).batches(Position(7, 0, 7.0))
    assert [next(source)[1] for _ in range(2)] == [Position(8, 0, 8.0), Position(9, 0, 9.0)] and made == [7, 8]
    source.close()
