"""Patterns are of one program, in any key, without drums and primers; sets are compared by equally many."""

from __future__ import annotations

from generation_jobs.measures.diversity import Patterns, compare, lines
from midi_codec.measures.music_measures import Part
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, Notes

TUNE = [60, 62, 64, 65, 67, 69, 71, 72]


def make_part(*tracks: tuple[int, list[int]], num_given: int = 0) -> Part:
    rows = sorted((24 * k, program, pitch) for program, pitches in tracks for k, pitch in enumerate(pitches))
    start, program, pitch = zip(*rows, strict=True)
    same = [90] * len(rows)
    return Part(
        Notes.from_columns(
            start=start, duration=same, pitch=pitch, velocity=same, program=program, tempo=120.0, time_base=BEATS
        ),
        num_given,
    )


def test_a_transposed_tune_is_the_same_pattern():
    patterns = Patterns([make_part((0, TUNE)), make_part((5, [pitch + 3 for pitch in TUNE]))])
    assert (len(patterns), patterns.distinct(2), patterns.distinct(1)) == (2, 0.5, 1.0)
    patterns.add(make_part((0, TUNE[::-1])))
    assert patterns.distinct(3) == 0.666667


def test_tracks_do_not_mix_and_drums_do_not_count():
    one, two = Patterns([make_part((0, TUNE))]), Patterns([make_part((0, TUNE), (9, TUNE[:7]), (DRUM_PROGRAM, TUNE))])
    assert len(one) == len(two) == 1
    both = Patterns([make_part((0, TUNE), (9, TUNE))])
    assert both.distinct(2) == 0.5


def test_notes_of_the_primer_do_not_count():
    assert len(Patterns([make_part((0, [50, *TUNE]), num_given=1)])) == 1
    assert len(Patterns([make_part((0, TUNE), num_given=1)])) == 0


def test_as_many_patterns_of_both_sets():
    generated = Patterns([make_part((0, TUNE * 4))])
    assert len(generated) == 25 and generated.distinct(25) == 8 / 25
    found = compare(generated, [make_part((0, TUNE)), make_part((0, TUNE[::-1]))])
    assert (found["patterns"], found["train"]) == (2, 1.0)
    assert list(lines({"patterns": 1200, "generated": 0.75, "train": 0.8})) == [
        "distinct among 1,200 patterns of 8 notes: 75.0 % of the generated ones, 80.0 % of train's"
    ]
    nothing = compare(generated, [])
    assert nothing == {"patterns": 0, "generated": None, "train": None} and not list(lines(nothing))
