"""A model's chances of a roll's decisions are chances, are exact, and are those of the trainer's own evaluation."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from benchmarks.quality.pianoroll import pianoroll_model
from benchmarks.quality.pianoroll.pianoroll_data import to_piece
from benchmarks.quality.pianoroll.pianoroll_model import decisions_of
from job_runtime.problem_report import UserError
from midi_codec import fields
from midi_codec.music.notes import BEATS
from tests.benchmarks.rolls import make_roll, make_song
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.data.pieces import stack_pieces
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

STEPS = ([0, 1, 2, 3], [50, 40, 5, 1])


def make_bundle(*, timing_loss: str = "categorical", **config: object) -> Bundle:
    """Random weights, wide enough that every decision differs."""
    table = fields.build_field_table(
        {"step": STEPS, "duration": ([1], [96])}, programs=(0,), time_base=BEATS, timing_loss=timing_loss
    )
    keras.utils.set_random_seed(3)
    settings = {"units": 16, "head_units": 16, "layers": 1, "dropout": 0.0, **config}
    model = NoteModel(ModelConfig(**settings), table)
    weights = {name: 3 * array for name, array in bundle_lib.get_weights(model).items()}
    return Bundle(
        config=settings,
        fields=table,
        dataset={"hash": "d" * 32, "time_base": "beats"},
        metrics={},
        deviations={},
        weights=weights,
    )


CONTEXT = {"context_units": 16, "context_lags": (2,), "context_periods": (4,)}
BEFORE = [[50, 55], []]
KEYS = range(21, 109)
ROLLS = {  # which differ in one decision, or in what comes behind it
    "in_frame": [make_roll(*BEFORE, [60, key], [70]) for key in range(61, 109)],
    "new_frame": [make_roll(*BEFORE, [60], [key]) for key in KEYS],
    "first": [make_roll([key], [60]) for key in KEYS],
    "ends": [make_roll(*BEFORE, [60])],
    "goes_on": [make_roll(*BEFORE, [60], [47]), make_roll(*BEFORE, [60], [], [90])],
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle(**CONTEXT)


@pytest.fixture(scope="module")
def chances(bundle) -> dict[str, dict[str, np.ndarray]]:
    """By the names of ROLLS and of decisions, `[rolls, events]`."""
    sizes = {name: (len(rolls), int(rolls[0].sum()) + 1) for name, rolls in ROLLS.items()}
    found = decisions_of(bundle, [to_piece(roll) for rolls in ROLLS.values() for roll in rolls], name="b")
    cuts = np.cumsum([rolls * events for rolls, events in sizes.values()])[:-1]
    return {
        name: {
            key: np.exp(part.reshape(size))
            for key, part in zip(found, (np.split(column, cuts)[index] for column in found.values()), strict=True)
        }
        for index, (name, size) in enumerate(sizes.items())
    }


def test_the_chances_of_what_can_come_add_up_to_one(chances):
    for name, event in (("in_frame", 3), ("new_frame", 3), ("first", 0)):
        assert chances[name]["pitch_in_order"][:, event].sum() == pytest.approx(1, abs=1e-6), name
        assert chances[name]["pitch"][:, event].sum() < 0.999, name  # keys that cannot come take some


def test_going_on_and_ending_have_all_chances_between_them(chances):
    ends = chances["ends"]["end"][0, 3]
    assert chances["goes_on"]["end"][:, 3] == pytest.approx([1 - ends] * 2, abs=1e-6)  # what comes does not tell
    assert 0.001 < ends < 0.999
    for name in ("step", "pitch", "step_in_order", "pitch_in_order"):
        assert chances["ends"][name][0, 3] == 1  # END decides nothing else


def test_the_first_notes_step_is_known(chances):
    first = chances["first"]
    assert (first["step_in_order"][:, 0] == 1).all() and (first["step"][:, 0] < 1).all()
    assert np.array_equal(first["step_in_order"][:, 1:], first["step"][:, 1:])


@pytest.mark.slow
def test_the_sums_are_those_of_the_trainers_evaluation(bundle):
    pieces = [to_piece(make_song(number, length=length)) for number, length in enumerate((30, 5, 90))]
    found = decisions_of(bundle, pieces, name="b")
    model = bundle.build_model()
    stacked = stack_pieces([piece.notes for piece in pieces], bundle.fields)
    sums = evaluate_pieces(model, stacked, deviations={}, batch_size=2).sums
    per_piece = {name: np.add.reduceat(column, stacked.first_event) for name, column in found.items()}
    assert per_piece["step"] == pytest.approx(-sums["nll_step"], rel=1e-5)
    assert per_piece["pitch"] + per_piece["end"] == pytest.approx(-sums["nll_pitch"], rel=1e-5)


@pytest.mark.slow
def test_chunks_and_batches_change_nothing(bundle, monkeypatch):
    pieces = [to_piece(make_song(number, length=length)) for number, length in enumerate((30, 5, 21))]
    whole = decisions_of(bundle, pieces, name="b")
    monkeypatch.setattr(pianoroll_model, "CHUNK", 8)
    monkeypatch.setattr(pianoroll_model, "BATCH_SIZE", 2)
    for name, column in decisions_of(bundle, pieces, name="b").items():
        assert column == pytest.approx(whole[name], abs=1e-4), name


@pytest.mark.slow
def test_another_key_tells_the_same_decisions(bundle):
    rolls = [make_song(number, length=20) for number in range(3)]
    higher = [np.roll(roll, 2, axis=1) for roll in rolls]
    assert not any(roll[:, -2:].any() for roll in rolls)
    shifted = decisions_of(bundle, [to_piece(roll) for roll in rolls], name="b", shift=2)
    as_if = decisions_of(bundle, [to_piece(roll) for roll in higher], name="b")
    for name in ("end", "step", "pitch", "step_in_order"):
        np.testing.assert_allclose(shifted[name], as_if[name], rtol=0, atol=1e-6)
    one_octave = [to_piece(make_roll(*BEFORE, [key], [70])) for key in KEYS]
    chances = decisions_of(bundle, one_octave, name="b", shift=-3)["pitch_in_order"].reshape(len(KEYS), -1)
    assert np.exp(chances[:, 2]).sum() == pytest.approx(1, abs=1e-6)  # of all keys of the roll in that key


def test_a_roll_without_notes_is_an_end(bundle):
    found = decisions_of(bundle, [to_piece(make_roll([], []))], name="b")
    assert all(len(column) == 1 for column in found.values())
    assert found["end"][0] < 0 and found["pitch"][0] == found["step"][0] == 0


def test_a_model_of_other_notes_is_refused():
    bundle = make_bundle(timing_loss="mixture")
    with pytest.raises(UserError, match="--bundle: b: the loss of step is mixture, want categorical"):
        decisions_of(bundle, [to_piece(make_roll([60]))], name="b")
    other = fields.FieldTable(bundle.fields.fields, "milliseconds", 0)
    bundle = Bundle(**{**vars(make_bundle()), "fields": other})
    with pytest.raises(UserError, match="b: the notes are on a grid of beats"):
        decisions_of(bundle, [to_piece(make_roll([60]))], name="b")
