"""The statistics, on pieces small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from generation_jobs.corpus_comparison import MAX_POLYPHONY, Part, compare, count, measures, overlap
from midi_codec.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes


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


def test_pitch_classes_leave_out_drums_and_what_was_given():
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


def test_polyphony_is_time_with_so_many_notes():
    notes = make_notes([0, 50, 200, 200], [100, 100, 30, 0])
    assert counted("polyphony", Part(notes)) == {
        "0 sounding": 50, "1 sounding": 50 + 50 + 30, "2 sounding": 50
    }  # fmt: skip


def test_polyphony_counts_notes_given_that_still_sound():
    notes = make_notes([0, 0, 100, 150], [10, 120, 100, 100])
    assert counted("polyphony", Part(notes, 2)) == {"1 sounding": 30 + 50, "2 sounding": 20 + 50}


def test_polyphony_has_a_last_bin_for_more():
    notes = make_notes([0] * 20, [10] * 20, pitch=list(range(40, 60)))
    assert counted("polyphony", Part(notes)) == {f"{MAX_POLYPHONY} or more sounding": 10}


@pytest.mark.parametrize("num_given", [0, 3])
def test_nothing_generated_counts_nothing(num_given):
    notes = make_notes([0, 10, 20][:num_given], [5] * num_given)
    totals = count([Part(notes, num_given)], measures(MILLISECONDS))
    assert [total.sum() for total in totals] == [0] * len(measures(MILLISECONDS))


@pytest.mark.parametrize(
    "first, second, want",
    [([1.0, 0.0], [0.0, 1.0], 0.0), ([0.5, 0.5], [0.5, 0.5], 1.0), ([0.75, 0.25], [0.5, 0.5], 0.75)],
)
def test_overlap_is_the_area_under_both(first, second, want):
    assert overlap(np.array(first), np.array(second)) == want


def test_overlap_of_nothing_is_none():
    assert overlap(None, np.array([1.0])) is None


def test_compare_scales_counts_and_gives_a_ceiling():
    generated = [Part(make_notes([0, 10], [5, 5], pitch=[60, 62])), Part(make_notes([0], [5], pitch=[60]))]
    corpus = [Part(make_notes([0, 10, 20, 30], [5] * 4, pitch=[60, 60, 62, 64]))]
    held_out = [Part(make_notes([0, 10], [5] * 2, pitch=[60, 64]))]
    first = compare(generated, corpus, held_out, time_base=MILLISECONDS)[0]
    assert first.measure.name == "pitch_class"
    assert first.generated is not None and first.corpus is not None
    np.testing.assert_allclose(first.generated[[0, 2, 4]], [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(first.corpus[[0, 2, 4]], [0.5, 0.25, 0.25])
    assert first.overlap == pytest.approx(0.75)
    assert first.ceiling == pytest.approx(0.75)


def test_compare_without_a_held_out_part_has_no_ceiling():
    part = Part(make_notes([0, 10], [5, 5]))
    for comparison in compare([part], [part], [], time_base=BEATS):
        assert comparison.overlap == pytest.approx(1.0)
        assert comparison.ceiling is None


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_words_of_bins_are_unique_and_axis_marks_are_bins(time_base):
    for measure in measures(time_base):
        assert len(set(measure.bins)) == len(measure.bins)
        assert all(0 <= index < len(measure.bins) for index, _ in measure.ticks)
