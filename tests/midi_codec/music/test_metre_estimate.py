import numpy as np
import pytest

from midi_codec.music import metre_estimate
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes

Bar = list[tuple[float, float, int]]
PATTERNS: dict[
    str, tuple[int, Bar]
] = {  # the length of a bar; bass and chords: start, duration in quarter notes, pitch
    "2/4": (2, [(0, 2, 40), (0, 1, 67), (1, 0.5, 64), (1.5, 0.5, 64)]),
    "3/4": (3, [(0, 3, 40), (0, 1, 67), (1, 1, 64), (2, 1, 64)]),
    "4/4": (4, [(0, 4, 40), (0, 1, 67), (1, 0.5, 64), (1.5, 0.5, 65), (2, 1, 67), (3, 1, 64)]),
    "6/8": (3, [(0, 3, 40), (0, 1, 67), (1, 0.5, 64), (1.5, 1, 67), (2.5, 0.5, 64)]),
}
HARMONY = [0, 5, 7, 0, 9, 2, 7, 0]  # a step up per bar


def make_piece(name: str, *, late: float = 0, bars: int = 16, time_base: str = BEATS) -> Notes:
    """Bars of a pattern, each in another harmony; the first `late` quarter notes are left out."""
    length, pattern = PATTERNS[name]
    rows = [
        (bar * length + start - late, duration, pitch + HARMONY[bar % len(HARMONY)])
        for bar in range(bars)
        for start, duration, pitch in pattern
        if bar * length + start >= late
    ]
    start, duration, pitch = np.array(rows).T
    return Notes.from_columns(
        pitch=pitch.astype(int),
        velocity=np.full(len(rows), 64),
        start=np.rint(24 * (start - start.min())).astype(int),
        duration=np.rint(24 * duration).astype(int),
        program=np.zeros(len(rows), int),
        time_base=time_base,
    )


@pytest.mark.parametrize("name", ["3/4", "4/4", "6/8"])
def test_a_plain_accompaniment(name):
    assert str(metre_estimate.estimate(make_piece(name))) == name


def test_two_beats_may_be_half_a_bar():
    found = metre_estimate.estimate(make_piece("2/4"))
    assert found.tick == 0 and str(found) in ("2/4", "4/4")


@pytest.mark.parametrize(("name", "late", "tick"), [("3/4", 2, -48), ("3/4", 1, -24), ("4/4", 3, -72), ("4/4", 0, 0)])
def test_an_upbeat(name, late, tick):
    found = metre_estimate.estimate(make_piece(name, late=late))
    assert (str(found), found.tick) == (name, tick)


def test_ticks_are_counted_like_those_of_the_notes():
    notes = make_piece("3/4")
    later = Notes.from_columns(
        **{name: getattr(notes, name) for name in ("pitch", "velocity", "duration", "program")},
        start=notes.start + 1000,
        time_base=BEATS,
    )
    assert metre_estimate.estimate(later).tick == 1000


def test_too_few_notes_and_milliseconds_show_no_bars():
    assert metre_estimate.estimate(make_piece("4/4", bars=2)) is None
    assert metre_estimate.estimate(make_piece("4/4", time_base=MILLISECONDS)) is None
