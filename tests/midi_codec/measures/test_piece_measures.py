"""Recurring patterns, phrases, key, longest note and loops, on pieces small enough to see."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec.measures.music_measures import Part, measures
from midi_codec.measures.piece_measures import key_share, longest_note, loop, phrase_lengths, recurrence
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS
from tests.midi_codec.measures.test_music_measures import counted, figure, make_notes

TUNE = [60, 64, 62, 67, 65, 69]
OTHER = [80, 55, 71, 48, 77]
STEPS = [12, 24, 6, 12, 36, 48]


def tune(pitch, step=12, time_base=BEATS, **columns):
    """Notes one after the other."""
    steps = [step] * len(pitch) if isinstance(step, int) else step
    start = np.cumsum([0, *steps])[: len(pitch)].tolist()
    return make_notes(start, [5] * len(pitch), pitch=pitch, time_base=time_base, **columns)


def marks(notes) -> list[int]:
    return recurrence(notes).astype(int).tolist()


def test_a_pattern_recurs_in_another_key():
    higher = [pitch + 5 for pitch in TUNE]
    assert marks(tune(TUNE + OTHER + higher)) == [0] * 11 + [1] * 6
    assert marks(tune(TUNE + OTHER + higher[:5])) == [0] * 16  # five notes are no pattern
    assert marks(tune(TUNE + OTHER + TUNE + OTHER)) == [0] * 11 + [1] * 11


def test_on_beats_the_steps_must_be_equal():
    steps = [*STEPS, 7, 7, 7, 7, 7]
    assert marks(tune(TUNE + OTHER + TUNE, [*steps, *STEPS])) == [0] * 11 + [1] * 6
    assert marks(tune(TUNE + OTHER + TUNE, [*steps, 12, 24, 7, 12, 36])) == [0] * 17


def test_on_milliseconds_only_chords_must_be_equal():
    steps = [200, 400, 100, 200, 600, 500, 150, 150, 150, 150, 150]
    uneven = [220, 380, 130, 190, 700]
    assert marks(tune(TUNE + OTHER + TUNE, [*steps, *uneven], MILLISECONDS)) == [0] * 11 + [1] * 6
    as_a_chord = [220, 380, 20, 190, 700]
    assert marks(tune(TUNE + OTHER + TUNE, [*steps, *as_a_chord], MILLISECONDS)) == [0] * 17


def test_a_pattern_does_not_overlap_with_itself():
    scale = list(range(48, 48 + 9))
    zigzag = [60 + 7 * (index % 3) for index in range(11)]
    assert marks(tune(zigzag)) == [0] * 11
    assert marks(tune([*zigzag, 74])) == [0] * 6 + [1] * 6  # twelve notes are two patterns
    assert marks(tune(scale)) == [0] * 9


def test_repeated_notes_and_trills_are_no_pattern():
    assert marks(tune([60] * 40))[14:] == [0] * 26
    assert marks(tune([60, 62] * 20))[16:] == [0] * 24


def test_a_pattern_is_of_one_program_and_others_may_sound_between():
    lead, bass = TUNE + OTHER + TUNE, [40, 45, 43, 52, 38, 41, 50, 36, 47, 39, 44, 48, 37, 51, 42, 46, 35]
    pitch = [each for pair in zip(lead, bass, strict=True) for each in pair]
    together = tune(pitch, 6, program=[0, 32] * 17)
    assert marks(together) == [0] * 22 + [1, 0] * 6
    in_turn = tune(TUNE + OTHER + TUNE, program=[0] * 11 + [1] * 6)
    assert marks(in_turn) == [0] * 17  # another program's pattern is not a repetition


def test_drums_are_not_transposed():
    hits = [36, 42, 38, 46, 44, 49]
    rest = [35, 37, 39, 40, 41]
    program = [DRUM_PROGRAM] * 17
    assert marks(tune(hits + rest + hits, program=program)) == [0] * 11 + [1] * 6
    assert marks(tune(hits + rest + [hit + 1 for hit in hits], program=program)) == [0] * 17


def test_a_primer_is_where_a_pattern_occurred_before_but_does_not_count():
    notes = tune(TUNE + OTHER + TUNE)
    assert counted("recurrence", Part(notes, 11), BEATS) == {"recurring notes": 6}
    assert counted("recurrence", Part(notes), BEATS) == {"new notes": 11, "recurring notes": 6}
    assert figure("recurrence", Part(notes, 9), BEATS) == 6 / 8


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6])
def test_short_pieces_have_no_patterns(size):
    assert marks(tune(TUNE[:size])) == [0] * size


def test_phrases_end_where_the_time_to_the_next_chord_is_twice_the_median():
    steps = [12, 12, 12, 24, 12, 23, 12, 12, 36, 12]
    assert phrase_lengths(tune([60] * 11, steps)).tolist() == [4] * 4 + [5] * 5 + [2] * 2
    assert counted("phrase", Part(tune([60] * 11, steps), 5), BEATS) == {"length 4 to 5": 4, "length 2": 2}


def test_phrases_count_chords_of_each_program_without_drums():
    start = [0, 0, 0, 12, 12, 24, 48, 48]
    program = [0, 0, 9, 0, DRUM_PROGRAM, 0, 0, DRUM_PROGRAM]
    notes = make_notes(start, [5] * 8, pitch=[60, 64, 70, 60, 36, 60, 60, 36], program=program, time_base=BEATS)
    assert phrase_lengths(notes).tolist() == [3, 3, 1, 0, 3, 3, 0, 1]  # at equal times the lower note comes first
    assert phrase_lengths(notes.take(slice(0))).tolist() == []


def test_the_share_of_notes_in_the_best_key():
    a_major = [69, 71, 73, 74, 76, 78, 80]
    assert key_share(tune([*a_major, 70])).tolist() == [7 / 8]
    a_minor = [57, 59, 60, 62, 64, 65, 67, 69]
    assert key_share(tune(a_minor)).tolist() == [1.0]
    assert key_share(tune([*a_minor, 61, 63, 66], program=[0] * 9 + [DRUM_PROGRAM] * 2)).tolist() == [8 / 9]
    assert key_share(tune([36], program=[DRUM_PROGRAM])).size == 0
    assert key_share(tune(range(60, 72))).tolist() == [7 / 12]
    assert counted("key_share", Part(tune([70, *a_major]), 1), BEATS) == {"0.95 to 1.00": 1}


def test_the_longest_note_is_a_share_of_the_length():
    notes = make_notes([0, 10, 30], [10, 40, 70])
    assert longest_note(notes, 0).tolist() == [0.7]
    assert figure("longest_note", Part(notes, 1)) == 0.7
    assert longest_note(make_notes([0, 60], [60, 40]), 1).tolist() == [
        0.4
    ]  # the time of the primer counts, not its notes
    assert longest_note(make_notes([0], [0]), 0).size == longest_note(make_notes([0], [5]), 1).size == 0


@pytest.mark.parametrize(
    "period, want",
    [
        (1, 1.0),  # half a beat
        (6, 1.0),
        (16, 1.0),  # eight beats
        (17, 0.0),  # too long ago
    ],
)
def test_a_loop_repeats_what_came_at_most_eight_beats_before(period, want):
    assert loop(tune([50 + index % period for index in range(64)]), 0).tolist() == [want]


def test_a_loop_is_of_equal_pitches_programs_and_times_in_the_second_half():
    opening = list(range(40, 60))
    again = [70, 72, 74, 71] * 5
    assert loop(tune(opening + [70, 72, 74, 71] + again[:16]), 0).tolist() == [16 / 20]
    changed = [*again[:-2], 90, 91]
    assert loop(tune(again + changed), 0).tolist() == [18 / 20]
    assert loop(tune(again * 2, program=[0] * 20 + [1] * 20), 0).tolist() == [16 / 20]
    assert loop(tune(again * 2, 17), 0).tolist() == [0.0]  # no multiple of its period is a lag
    assert loop(tune(opening + again), 20).tolist() == [1.0]  # the second half of what was generated
    assert loop(tune(opening), 20).size == loop(tune([]), 0).size == 0


def test_loops_are_measured_on_beats_only():
    notes = tune([60, 62] * 10)
    assert counted("loop", Part(notes), BEATS) == {"0.95 to 1.00": 1}
    assert "loop" not in [measure.name for measure in measures(MILLISECONDS)]
