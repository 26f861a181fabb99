import numpy as np
import pytest

from demo import chorales
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError
from midi_codec.midi import midi_file
from midi_codec.music.notes import BEATS


def make_score(*voices):
    """A score with one measure a voice; a voice is a list of (pitch, quarters, tie)."""
    from music21 import note, stream, tie

    score = stream.Score()
    for voice in voices:
        part, offset = stream.Part(), 0.0
        measure = stream.Measure()
        for pitch, quarters, tied in voice:
            element = note.Rest() if pitch is None else note.Note(pitch)
            element.duration.quarterLength = quarters
            if tied:
                element.tie = tie.Tie(tied)
            measure.insert(offset, element)
            offset += quarters
        part.insert(0, measure)
        score.insert(0, part)
    return score


def columns(notes):
    return np.c_[notes.start, notes.pitch, notes.duration].tolist()


def test_notes_come_in_ticks_of_a_beat():
    notes = chorales.to_notes(make_score([(60, 1.0, None), (None, 0.5, None), (62, 1 / 3, None)]))
    assert columns(notes) == [[0, 60, 24], [36, 62, 8]]
    assert notes.time_base == BEATS
    assert round(notes.tempo) == 84
    assert set(notes.velocity) == {80} and set(notes.program) == {0}


def test_tied_notes_are_one():
    voice = [(60, 1.0, "start"), (60, 1.0, "continue"), (60, 0.5, "stop"), (60, 1.0, None)]
    assert columns(chorales.to_notes(make_score(voice))) == [[0, 60, 60], [60, 60, 24]]


def test_a_unison_of_two_voices_keeps_the_longer():
    score = make_score([(60, 1.0, None), (62, 1.0, None)], [(60, 2.0, None)])
    assert columns(chorales.to_notes(score)) == [[0, 60, 48], [24, 62, 24]]


def test_grace_notes_are_left_out():
    from music21 import note

    score = make_score([(60, 1.0, None)])
    score.parts[0].getElementsByClass("Measure")[0].insert(0.0, note.Note(61).getGrace())
    assert columns(chorales.to_notes(score)) == [[0, 60, 24]]


def test_a_real_chorale(tmp_path):
    assert chorales.export("bach/bwv269", str(tmp_path)) is True
    notes = midi_file.parse((tmp_path / "bwv269.mid").read_bytes(), time_base=BEATS)
    assert len(notes) == 224
    assert columns(notes)[:4] == [[0, 43, 24], [0, 59, 24], [0, 62, 24], [0, 67, 24]]  # G major, four voices


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "bwv269.mid").write_bytes(b"mine")
    assert chorales.export("bach/bwv269", str(tmp_path)) is True
    assert (tmp_path / "bwv269.mid").read_bytes() == b"mine"


def test_more_than_four_voices_are_left_out(tmp_path):
    assert chorales.export("bach/bwv41.6", str(tmp_path)) is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_exporting_in_processes_counts_and_stops(tmp_path, capsys):
    assert chorales.main(["--output", str(tmp_path / "out"), "--limit", "3"]) == 0
    assert len(list((tmp_path / "out").glob("*.mid"))) == 3
    assert "3 chorales in" in capsys.readouterr().out
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted):
        chorales.export_all(chorales.chorale_names()[:8], str(tmp_path / "stopped"), stop)


def test_a_bad_limit_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="--limit is '0', want a whole number, 1 or more"):
        chorales.main(["--output", str(tmp_path), "--limit", "0"])
