import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midi_codec.music import notes as notes_module
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MAX_TEMPO_MICROSECONDS, MILLISECONDS, Notes, canonical_tempo
from tests.midi_codec.midi_bytes import rows

COLUMNS = ("pitch", "velocity", "start", "duration", "program")
TWO = {"pitch": [64, 60], "velocity": [70, 80], "start": [500, 0], "duration": [250, 500], "program": [DRUM_PROGRAM, 5]}


def make(changes=None, **settings_of_notes: Any) -> Notes:
    columns: dict[str, Any] = {name: np.array(values) for name, values in (TWO | (changes or {})).items()}
    return Notes.from_columns(**columns, **settings_of_notes)


def test_columns_are_sorted_and_have_their_dtypes():
    notes = make()
    assert rows(notes) == [(0, 500, 60, 80, 5), (500, 750, 64, 70, DRUM_PROGRAM)]
    assert {name: getattr(notes, name).dtype for name in COLUMNS} == notes_module.COLUMN_DTYPES
    assert (len(notes), notes.tempo, notes.time_base) == (2, 120.0, MILLISECONDS)
    assert notes.step.tolist() == [0, 500]
    assert notes.seconds == 0.75


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(*[st.integers(1, 3)] * 5), max_size=60), st.sampled_from([np.int64, np.int32, np.uint8]))
def test_order_is_the_total_order(table, dtype):
    columns = dict(zip(COLUMNS, np.array(table, dtype=dtype).reshape(-1, 5).T, strict=True))
    notes = Notes.from_columns(**columns)
    sorted_columns = [getattr(notes, name).tolist() for name in ("start", "pitch", "program", "duration", "velocity")]
    want = [(start, pitch, program, duration, velocity) for pitch, velocity, start, duration, program in table]
    assert list(zip(*sorted_columns, strict=True)) == sorted(want)


@pytest.mark.parametrize(
    "column, low, high",
    [
        ("pitch", 0, 127),
        ("velocity", 1, 127),
        ("start", 0, 2**31 - 1),
        ("duration", 0, 2**31 - 1),
        ("program", 0, DRUM_PROGRAM),
    ],
)
def test_ranges_hold_to_the_unit(column, low, high):
    assert sorted(getattr(make({column: [low, high]}), column).tolist()) == [low, high]
    for bad in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"{column}\[1\] is {bad}, want {low} to {high}"):
            make({column: [low, bad]})


def test_narrow_dtypes_are_checked_too():
    with pytest.raises(ValueError, match=r"pitch\[0\] is 200, want 0 to 127"):
        make({"pitch": np.array([200, 1], np.uint8)})
    with pytest.raises(ValueError, match=r"velocity\[1\] is -1, want 1 to 127"):
        make({"velocity": np.array([1, -1], np.int8)})
    with pytest.raises(ValueError, match=r"start\[1\] is nan"):
        make({"start": np.array([0.0, np.nan])})


def test_other_mistakes_are_named():
    with pytest.raises(ValueError, match="columns differ in length: {'pitch': 3, 'velocity': 2"):
        make({"pitch": [1, 2, 3]})
    with pytest.raises(ValueError, match="time_base is 'bars', want one of milliseconds, beats"):
        make(time_base="bars")


def test_no_notes():
    empty = make({name: [] for name in COLUMNS})
    assert (len(empty), empty.seconds, empty.step.tolist()) == (0, 0.0, [])
    assert empty.from_first_onset() is empty
    assert len(empty.piece_id) == 32
    assert Notes.from_pretty_midi(empty.to_pretty_midi()) == empty


def test_equality_is_about_notes_tempo_and_grid():
    assert make() == make({name: values[::-1] for name, values in TWO.items()})
    assert make() != make(tempo=60.0)
    assert make() != make(time_base=BEATS)
    assert make() != make({"velocity": [70, 81]})
    assert make() != "notes"
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())


def test_piece_id_is_of_the_notes_from_the_first_onset():
    notes = make()
    later = make({"start": [507, 7]})
    assert later.piece_id == later.from_first_onset().piece_id == notes.piece_id
    assert later.from_first_onset() == notes
    assert make(tempo=60.0).piece_id == notes.piece_id
    assert make(time_base=BEATS).piece_id != notes.piece_id
    for name in COLUMNS:
        assert make({name: [TWO[name][0] - 1, TWO[name][1]]}).piece_id != notes.piece_id
    # part of the dataset format: a change here moves every piece of every dataset
    assert notes.piece_id == "434bf31985af5a9e5771fcf82a1b9d4e"


def test_take_keeps_times():
    assert rows(make().take(slice(1, None))) == [(500, 750, 64, 70, DRUM_PROGRAM)]
    assert rows(make().take(np.array([], int))) == []


def test_beats_take_their_seconds_from_the_tempo():
    notes = make({"start": [48, 0], "duration": [24, 24]}, tempo=90.0, time_base=BEATS)
    assert notes.seconds == pytest.approx(3 * 60 / 90)


def test_every_tempo_event_survives_canonical_tempo():
    """Neighbours at the slow end share a float32; the value that comes back must name the same tempo."""
    microseconds = np.arange(1, MAX_TEMPO_MICROSECONDS + 1)
    tempos = (60e6 / microseconds).astype(np.float32).astype(np.float64)
    again = np.round(60e6 / tempos)
    assert ((60e6 / again).astype(np.float32) == tempos).all()
    assert again.min() == 1 and again.max() == MAX_TEMPO_MICROSECONDS
    for value in (1, 500_000, 999_999, MAX_TEMPO_MICROSECONDS):  # and the functions are this formula
        assert canonical_tempo(value) == tempos[value - 1]
        assert notes_module.tempo_to_microseconds(canonical_tempo(value)) == again[value - 1]


@pytest.mark.parametrize("tempo", [0.0, -1.0, float("nan"), 3.5, 1e9, float("inf")])
def test_tempos_that_no_event_can_say(tempo):
    with pytest.raises(ValueError, match="tempo is"):
        notes_module.tempo_to_microseconds(tempo)


def test_pretty_midi_for_people():
    midi = make().to_pretty_midi()
    assert [(part.program, part.is_drum) for part in midi.instruments] == [(5, False), (0, True)]
    (note,) = midi.instruments[1].notes
    assert (note.pitch, note.velocity, note.start, note.end) == (64, 70, 0.5, 0.75)
    assert midi.get_tempo_changes()[1].tolist() == [120.0]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, MAX_TEMPO_MICROSECONDS), st.sampled_from([MILLISECONDS, BEATS]))
def test_pretty_midi_and_back(key, microseconds, time_base):
    generator = np.random.default_rng(key)
    notes = Notes.from_columns(
        pitch=generator.integers(0, 128, 20),
        velocity=generator.integers(1, 128, 20),
        start=generator.integers(0, 10_000_000, 20),
        duration=generator.integers(0, 10_000, 20),
        program=generator.integers(0, DRUM_PROGRAM + 1, 20),
        tempo=canonical_tempo(microseconds),
        time_base=time_base,
    )
    assert Notes.from_pretty_midi(notes.to_pretty_midi(), time_base) == notes


def test_pretty_midi_rounds_halves_up():
    midi = make().to_pretty_midi()
    (note,) = midi.instruments[0].notes
    note.start, note.end = 0.0625, 0.1875  # exact in binary: 62.5 and 187.5 ms
    assert rows(Notes.from_pretty_midi(midi))[0] == (63, 188, 60, 80, 5)


def test_replacing_a_column_keeps_the_rest():
    louder = dataclasses.replace(make(), velocity=np.array([1, 2], np.uint8))
    assert louder.velocity.tolist() == [1, 2]
    assert louder.start.tolist() == [0, 500]
