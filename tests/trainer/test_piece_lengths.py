"""The quantiles of a corpus's lengths, and the share of its short pieces that they give back."""

from __future__ import annotations

import numpy as np
import pytest

from trainer import piece_lengths


def test_quantiles_of_the_notes_per_piece():
    assert piece_lengths.describe(np.arange(10, 111)) == {
        "0": 10.0, "1": 11.0, "2": 12.0, "5": 15.0, "10": 20.0, "25": 35.0, "50": 60.0, "75": 85.0,
        "90": 100.0, "95": 105.0, "98": 108.0, "99": 109.0, "100": 110.0,
    }  # fmt: skip
    assert piece_lengths.describe(np.zeros(0)) == {}


def test_the_share_of_short_pieces():
    shares = piece_lengths.short_shares(piece_lengths.describe(np.arange(10, 111)))
    assert len(shares) == 15  # a piece of 15 notes is not short
    np.testing.assert_allclose(shares, [0] * 11 + [0.01, 0.02, 0.03, 0.04], atol=1e-7)
    assert len(piece_lengths.short_shares({})) == 0


def test_lengths_that_many_pieces_have():
    shares = piece_lengths.short_shares({"0": 3, "1": 4, "2": 4, "5": 7, "10": 9})
    np.testing.assert_allclose(shares, [0, 0, 0, 0, 0.02, 0.03, 0.04], atol=1e-7)
    assert len(piece_lengths.short_shares(piece_lengths.describe(np.full(20, 6)))) == 6


@pytest.mark.parametrize(
    "described", [{"a": 1.0}, {"0": 3, "2": 2}, {"2": 1, "0": 2}, {"0": -1.0}, {"0": 1.0, "0.0": 2.0}]
)
def test_what_is_not_valid(described):
    assert not piece_lengths.is_valid(described)
    assert piece_lengths.is_valid({}) and piece_lengths.is_valid({"0": 3, "100": 3})
