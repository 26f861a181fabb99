"""Figures in nats per frame, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.quality.pianoroll.pianoroll_data import to_piece
from benchmarks.quality.pianoroll.pianoroll_score import (
    DECISIONS,
    figure,
    independent_pitches,
    mean_probabilities,
    rest_nats,
)
from tests.benchmarks.rolls import make_roll

NO_RESTS = {"leading": [2, 0, 0], "trailing": [2, 0, 0]}


def test_independent_pitches_by_hand():
    # Two frames of training: key 60 in both has chance 3/4, key 64 in one 1/2, the other 86 keys 1/4.
    train = [make_roll([60], [60, 64])]
    valid = [make_roll([60, 61]), make_roll([])]
    first = -math.log(3 / 4) - math.log(1 / 2) - math.log(1 / 4) - 85 * math.log(3 / 4)
    second = -math.log(1 / 4) - math.log(1 / 2) - 86 * math.log(3 / 4)
    assert independent_pitches(train, valid) == pytest.approx((first + second) / 2, rel=1e-14)


def test_empty_frames_around_the_notes_cost_what_their_chances_say():
    # Of 8 sequences 4 begin with an empty frame: 5/10. Of the 7 there, 3 stand behind another: (3 + 1) / (7 + 2).
    counts = {"leading": [8, 4, 7], "trailing": [8, 0, 0]}
    none_behind = -math.log(1 - 1 / 10)
    pieces = [to_piece(make_roll(*frames)) for frames in ([[60]], [[], [60]], [[], [], [], [60]], [[60], []])]
    goes_on = 4 / 9
    one = -math.log(1 / 2) - math.log(1 - goes_on)
    trailing_one = -math.log(1 / 10) - math.log(1 - 1 / 2)
    wanted = [
        -math.log(1 / 2) + none_behind,
        one + none_behind,
        one - 2 * math.log(goes_on) + none_behind,
        -math.log(1 / 2) + trailing_one,
    ]
    assert rest_nats(pieces, counts) == pytest.approx(np.array(wanted), rel=1e-12)


def test_the_chances_of_all_numbers_of_empty_frames_add_up_to_one():
    counts = {"leading": [9, 2, 5], "trailing": [9, 1, 1]}
    pieces = [to_piece(make_roll(*[[]] * leading, [60])) for leading in range(200)]
    none_behind = 1 - 2 / 11
    assert np.exp(-rest_nats(pieces, counts)).sum() == pytest.approx(none_behind, rel=1e-9)


def test_an_ensemble_decides_by_the_mean_of_its_members():
    members = [{"step": np.log([0.5, 1.0])}, {"step": np.log([0.25, 0.5])}]
    assert np.exp(mean_probabilities(members)["step"]) == pytest.approx(np.array([0.375, 0.75]), rel=1e-12)
    assert mean_probabilities(members[:1])["step"].tolist() == members[0]["step"].tolist()


def test_a_figure_is_all_nats_over_all_frames():
    pieces = [to_piece(make_roll([60], [], [62, 64])), to_piece(make_roll([], [60]))]
    decisions = {name: np.full(6, -1.0) for name in DECISIONS}
    decisions["pitch_in_order"] = np.full(6, -0.5)
    decisions["step_in_order"] = np.full(6, -0.25)
    found = figure(pieces, decisions, {**NO_RESTS, "leading": [2, 1, 1]})
    assert (found.frames, found.sequences, found.notes) == (5, 2, 4)
    rests = math.log(2) + math.log(2) - math.log(2 / 3) - 2 * math.log(3 / 4)
    assert found.parts == pytest.approx({"end": 6 / 5, "step": 1.5 / 5, "pitch": 3 / 5, "rest": rests / 5})
    assert found.nats_per_frame == pytest.approx((6 + 1.5 + 3 + rests) / 5)
    assert found.nats_per_frame_of_notes == pytest.approx((18 + rests) / 5)
    assert found.to_json()["nats_per_frame"] == found.nats_per_frame
