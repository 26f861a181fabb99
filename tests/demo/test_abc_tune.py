from fractions import Fraction

import numpy as np
import pytest

from demo import abc_tune

HEAD = "X:7\nT:A Reel\nM:C|\nL:1/8\nZ:Somebody\n"
HALF, WHOLE = Fraction(2), Fraction(1)


def columns(text: str, beat=WHOLE):
    notes = abc_tune.to_notes(abc_tune.parse(text), quarters_per_beat=beat, program=110, tempo=120.0)
    return {name: getattr(notes, name).tolist() for name in ("start", "pitch", "duration", "velocity")}


def pitches(text: str) -> list[int]:
    return columns(text)["pitch"]


def test_a_bar_in_ticks_with_accents():
    got = columns(f"{HEAD}K:G\nG2A2 Bcde | g8 | g8 |\n", beat=HALF)
    assert got["start"] == [0, 12, 24, 30, 36, 42, 48, 96]
    assert got["duration"] == [12, 12, 6, 6, 6, 6, 48, 48]
    assert got["pitch"] == [67, 69, 71, 72, 74, 76, 79, 79]
    assert got["velocity"] == [100, 76, 88, 76, 76, 76, 100, 100]


def test_the_key_and_accidentals_that_hold_for_a_bar():
    assert pitches(f"{HEAD}K:D\nF2=F2F2f2 | F8 | F8 |\n") == [66, 65, 65, 77, 66, 66]  # in every octave, says ABC 2.1


def test_triplets_and_broken_rhythms():
    got = columns(f"{HEAD}K:C\n(3CDE C>D C<D C2 | C8 | C8 |\n", beat=WHOLE)
    assert got["start"][:8] == [0, 8, 16, 24, 42, 48, 54, 72]


def test_ties_chords_rests_and_grace_notes():
    got = columns(f'{HEAD}K:C\n[CE]4 z2 "Am"{{d}}G2-|G8|~C4 .C4|\n', beat=HALF)
    assert list(zip(got["start"], got["pitch"], got["duration"], strict=True)) == [
        (0, 60, 24),
        (0, 64, 24),
        (36, 67, 60),
        (96, 60, 24),
        (120, 60, 24),
    ]


def test_repeats_are_played():
    first, second = [60, 62, 64], [65, 67, 69]
    assert pitches(f"{HEAD}K:C\nC8|D8|E8:|F8|G8|A8:|\n") == first + first + second + second
    assert pitches(f"{HEAD}K:C\nC8|D8|E8||F8|G8|A8:|\n") == first + second + second
    assert pitches(f"{HEAD}K:C\n|:C8|D8|E8::F8|G8|A8:|\n") == first + first + second + second
    assert pitches(f"{HEAD}K:C\n|:C8|D8|1 E8:|2 F8||G8|A8|B8|]\n") == [60, 62, 64, 60, 62, 65, 67, 69, 71]


def test_the_first_upbeat_goes_and_later_ones_stay():
    got = columns(f"{HEAD}K:C\nG2|C8|E6:|G2|F8|G6:|\n", beat=WHOLE)
    assert got["pitch"] == [60, 64, 67, 60, 64, 67, 65, 67, 67, 65, 67]
    bars = [start for start, velocity in zip(got["start"], got["velocity"], strict=True) if velocity == 100]
    assert np.array_equal(np.array(bars) % 96, np.zeros(len(bars))) and len(bars) == 8


def test_how_many_bars_are_full():
    assert abc_tune.parse(f"{HEAD}K:C\nC8|D8|E8|F8|\n").share_of_full_bars == 1.0
    assert abc_tune.parse(f"{HEAD}K:C\nC8|D8|E7|F8|\n").share_of_full_bars == 0.5


def test_the_header_may_lie_anywhere():
    assert abc_tune.header("X: 3\nT:The One\nT: Other\r\nK:C\nC8|\nZ: Me \n") == {
        "X": "3",
        "T": "The One Other",
        "K": "C",
        "Z": "Me",
    }


@pytest.mark.parametrize(
    "text, why",
    [
        ("X:1\nM:C\nK:C\nV:1\nC8|\nV:2\nC8|\n", "several voices or parts"),
        ("X:1\nM:C\nK:C\nC8|[M:3/4]C6|\n", "several voices or parts"),
        ("X:1\nL:1/8\nK:C\nC8|C8|C8|\n", "no meter"),
        ("X:1\nM:C\nL:1/8\nK:C\nC8\n", "no bars"),
        ("X:1\nK:C\nC8|D8|\n", "music21 cannot read it"),
    ],
)
def test_what_is_no_tune(text, why):
    with pytest.raises(ValueError, match=why):
        abc_tune.parse(text)
