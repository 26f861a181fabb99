"""`--time-base auto`: written music goes on the grid of beats, played music on milliseconds."""

import numpy as np
import pytest

from beam_pipelines.encoding import piece_measures
from beam_pipelines.survey import time_base_choice
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.midi import midi_writer
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, Notes
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of


def piece(starts) -> Notes:
    same = np.full(len(starts), 60)
    return Notes.from_columns(
        pitch=np.arange(len(starts)), velocity=same, start=starts, duration=same, program=same, time_base=BEATS
    )


def written(number: int) -> bytes:
    rng = np.random.default_rng(number)
    return midi_writer.serialize(piece(np.cumsum(6 * rng.integers(0, 5, 40))))


WRITTEN = {f"{number}.mid": written(number) for number in range(4)}
PLAYED = {f"played/{number}.mid": make_midi(number, num_notes=24) for number in range(12)}


def test_positions_of_the_beat():
    pieces = [piece([5, 29, 53]), piece([0, 6, 12, 18, 24, 30]), piece(np.arange(48)), piece([0, 24, 48, 60])]
    found = piece_measures.count_positions(NoteBatch.from_notes(pieces, BEATS))
    assert found == pytest.approx([1.0, 3.7797631, 24.0, 1.7547654])


def test_auto_is_the_default_and_the_same_as_saying_it(tmp_path, capsys):
    for name, files, want in (("written", WRITTEN, "beats"), ("played", {**WRITTEN, **PLAYED}, "milliseconds")):
        music = write_files(tmp_path / name, files)
        for output, flags in (("default", ()), ("auto", ("--time-base", "auto")), ("named", ("--time-base", want))):
            assert encode("--input", music, "--output", str(tmp_path / f"{name}-{output}"), *flags) == 0
        assert files_of(tmp_path / f"{name}-default") == files_of(tmp_path / f"{name}-named")
        assert files_of(tmp_path / f"{name}-auto") == files_of(tmp_path / f"{name}-named")
    out = capsys.readouterr().out
    assert "--time-base beats suits this corpus: in 4 pieces that were read, 100% of the notes are in pieces" in out
    share = 160 / (160 + 12 * 24)
    assert f"--time-base milliseconds suits this corpus: in 16 pieces that were read, {share:.0%} of the notes" in out


@pytest.mark.parametrize("flags", [(), ("--time-base", "auto"), ("--time-base", "milliseconds")])
def test_a_survey_says_what_suits(tmp_path, capsys, flags):
    encode("--survey", "--input", write_files(tmp_path / "music", WRITTEN), *flags)
    assert capsys.readouterr().out.count("--time-base beats suits this corpus") == 1


def test_of_a_large_corpus_a_sample_decides(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(time_base_choice, "SAMPLE_FILES", 4)
    music = write_files(tmp_path / "music", PLAYED)
    encode("--survey", "--input", music)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "suits this corpus" in line)
    assert 1 <= int(line.split("in ", 1)[1].split()[0]) <= 8


def test_where_nothing_can_be_read_milliseconds_are_kept(tmp_path, capsys):
    music = write_files(tmp_path / "music", {f"{number}.mid": b"no MIDI" for number in range(3)})
    with pytest.raises(UserError, match="nothing to keep"):
        encode("--input", music, "--output", str(tmp_path / "d"))
    assert "--time-base milliseconds: no file of the sample has notes that can be read" in capsys.readouterr().out


def test_what_is_added_has_the_grid_of_the_older_dataset(tmp_path):
    music = write_files(tmp_path / "music", PLAYED)
    encode("--input", music, "--output", str(tmp_path / "old"), "--time-base", "beats")
    write_files(tmp_path / "music", {"new.mid": make_midi(99)})
    new = str(tmp_path / "new")
    assert encode("--input", music, "--output", new, "--add-to", str(tmp_path / "old")) == 0
    assert dataset_info.load(new).time_base == "beats"
