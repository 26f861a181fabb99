"""The measures, on pieces small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec.measures.music_measures import MAX_POLYPHONY, Part, measures
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes


def make_notes(
    start, duration, pitch=None, velocity=None, program=None, time_base: str = MILLISECONDS
) -> Notes:  # each a list, or None for what does not matter
    size = len(start)
    return Notes.from_columns(
        pitch=np.array([60] * size if pitch is None else pitch),
        velocity=np.array([64] * size if velocity is None else velocity),
        start=np.array(start),
        duration=np.array(duration),
        program=np.array([0] * size if program is None else program),
        time_base=time_base,
    )


def counted(name: str, part: Part, time_base: str = MILLISECONDS) -> dict[str, float]:
    """The bins that are not empty, by their words."""
    measure = next(measure for measure in measures(time_base) if measure.name == name)
    counts = measure.count(part)
    assert counts.shape == (len(measure.bins),)
    return {measure.bins[index]: float(counts[index]) for index in np.flatnonzero(counts)}


def test_pitch_classes_ignore_drums_and_primers():
    notes = make_notes([0, 10, 20, 30, 40], [5] * 5, pitch=[60, 61, 72, 70, 38], program=[0, 0, 0, 40, DRUM_PROGRAM])
    assert counted("pitch_class", Part(notes)) == {"C": 2, "C♯": 1, "B♭": 1}
    assert counted("pitch_class", Part(notes, 2)) == {"C": 1, "B♭": 1}


def test_steps_begin_with_the_second_note():
    notes = make_notes([500, 500, 509, 519, 531, 544, 20_000, 120_000], [5] * 8)
    assert counted("step", Part(notes)) == {
        "0": 1, "1 ms to 9 ms": 1, "10 ms to 12 ms": 2, "13 ms to 15 ms": 1, "10.24 s or more": 2
    }  # fmt: skip


def test_the_first_generated_step_is_from_the_last_note_given():
    notes = make_notes([0, 100, 113, 113], [5] * 4)
    assert counted("step", Part(notes, 2)) == {"13 ms to 15 ms": 1, "0": 1}


def test_durations_on_the_grid_of_beats():
    notes = make_notes([0, 1, 2, 3, 4], [0, 6, 7, 24, 1000], time_base=BEATS)
    words = {"0": 1, "6/24 to 7/24 of a beat": 2, "24/24 to 31/24 of a beat": 1, "384/24 of a beat or more": 1}
    assert counted("duration", Part(notes), BEATS) == words


def test_velocities_are_binned_by_four():
    notes = make_notes([0, 1, 2, 3], [5] * 4, velocity=[1, 3, 4, 127])
    assert counted("velocity", Part(notes)) == {
        "velocity 0 to 3": 2, "velocity 4 to 7": 1, "velocity 124 to 127": 1
    }  # fmt: skip


def test_polyphony_is_weighted_by_time():
    notes = make_notes([0, 50, 200, 200], [100, 100, 30, 0])
    assert counted("polyphony", Part(notes)) == {
        "0 sounding": 50, "1 sounding": 50 + 50 + 30, "2 sounding": 50
    }  # fmt: skip


def test_polyphony_counts_primer_notes_that_still_sound():
    notes = make_notes([0, 0, 100, 150], [10, 120, 100, 100])
    assert counted("polyphony", Part(notes, 2)) == {"1 sounding": 30 + 50, "2 sounding": 20 + 50}


def test_polyphony_has_a_last_bin_for_more():
    notes = make_notes([0] * 20, [10] * 20, pitch=list(range(40, 60)))
    assert counted("polyphony", Part(notes)) == {f"{MAX_POLYPHONY} or more sounding": 10}


@pytest.mark.parametrize("num_given", [0, 3])
def test_nothing_generated_counts_nothing(num_given):
    notes = make_notes([0, 10, 20][:num_given], [5] * num_given)
    for measure in measures(MILLISECONDS):
        counts, figure = measure.look(Part(notes, num_given))
        assert counts.sum() == 0 and figure is None


def figure(name: str, part: Part, time_base: str = MILLISECONDS) -> float | None:
    return next(measure for measure in measures(time_base) if measure.name == name).piece_figure(part)


def test_pitch_and_drum_are_separate():
    notes = make_notes([0, 10, 20], [5] * 3, pitch=[60, 38, 62], program=[0, DRUM_PROGRAM, 0])
    assert counted("pitch", Part(notes)) == {"pitch 60": 1, "pitch 62": 1}
    assert counted("drum", Part(notes)) == {"pitch 38": 1}
    assert figure("pitch", Part(notes)) == 61


def test_intervals_stay_within_a_program_and_begin_at_the_last_note_given():
    notes = make_notes([0, 10, 20, 30, 40], [5] * 5, pitch=[60, 40, 67, 28, 110], program=[0, 40, 0, 40, 0])
    assert counted("interval", Part(notes)) == {"+7 semitones": 1, "-12 semitones": 1, "+24 semitones": 1}
    assert counted("interval", Part(notes, 3)) == {"-12 semitones": 1, "+24 semitones": 1}
    assert figure("interval", Part(notes)) == pytest.approx((7 + 12 + 43) / 3)


def test_density_counts_whole_seconds_and_beats():
    notes = make_notes([500, 600, 1499, 1500, 3600], [5] * 5)
    assert counted("density", Part(notes)) == {"3 onsets": 1, "1 onsets": 1, "0 onsets": 1}
    assert figure("density", Part(notes)) == pytest.approx(4 / 3)
    beats = make_notes([0, 12, 24, 48], [5] * 4, time_base=BEATS)
    assert counted("density", Part(beats), BEATS) == {"2 onsets": 1, "1 onsets": 1}


def test_figures_of_times_are_in_seconds_or_beats():
    assert figure("duration", Part(make_notes([0, 1], [500, 1500]))) == 1.0
    assert figure("step", Part(make_notes([0, 12, 48], [5] * 3, time_base=BEATS)), BEATS) == 1.0


def test_the_figure_of_pitch_classes_is_their_entropy():
    notes = make_notes([0, 1, 2, 3], [5] * 4, pitch=[60, 72, 62, 64])
    assert figure("pitch_class", Part(notes)) == 1.5
    assert figure("pitch_class", Part(notes.take(slice(2)))) == 0


def test_figures_of_the_windows_measures():
    notes = make_notes([index * 100 for index in range(64)], [50] * 64)
    for name, want in (("self_similarity", 1.0), ("groove", 1.0)):
        assert figure(name, Part(notes)) == pytest.approx(want)
    assert figure("groove", Part(notes, 1)) is None  # 63 notes are no window


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_bin_labels_are_unique_and_axis_marks_are_bins(time_base):
    names = [measure.name for measure in measures(time_base)]
    assert len(set(names)) == len(names) == (17 if time_base == BEATS else 16)
    for measure in measures(time_base):
        assert len(set(measure.bins)) == len(measure.bins) == len(measure.edges)
        assert all(0 <= index < len(measure.bins) for index, _ in measure.ticks)
