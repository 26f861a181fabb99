import argparse
import dataclasses

import pytest

from demo import run
from job_runtime.problem_report import UserError
from midi_codec.dataset.dataset_info import Histogram
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.trainer.tiny import make_info
from trainer import config, task


def plan(**flags):
    given = {"corpus": None, "quick": False, "time_base": None, "output": "run", **flags}
    return run.make_plan(argparse.Namespace(**given))


def test_different_music_and_sizes_lie_in_different_folders():
    folders = [
        plan().folder,
        plan(quick=True).folder,
        plan(corpus="a").folder,
        plan(corpus="b").folder,
        plan(corpus="a", quick=True).folder,
    ]
    assert folders[:2] == ["run", "run/quick"]
    assert len(set(folders)) == 5


def test_chorales_are_on_beats_and_the_users_own_music_decides_itself():
    assert plan().time_base == "beats"
    assert plan(corpus="a").time_base == "auto"
    assert plan(corpus="a", time_base="beats").time_base == "beats"


def test_the_settings_of_every_training_are_valid_and_few():
    given = [
        config.read_given(task.make_parser().parse_args(["--data", "d", "--output", "o", *one.training]))
        for one in (plan(), plan(corpus="a"), plan(quick=True))
    ]
    assert given == [{"max_minutes": 4.0, "epochs": 40.0, "patience": None}, {"max_minutes": 4.0}, {"max_minutes": 0.6}]


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UserError) as error:
        plan(corpus=" ", time_base="hours")
    assert error.value.problems == [
        "CORPUS is empty, want a folder or a glob of MIDI files",
        "the time base is 'hours', want milliseconds, beats or auto",
    ]


@pytest.mark.parametrize(
    "validation, test, want",
    [
        (33, 33, ("test", 32)),
        (20, 9, ("validation", 16)),
        (3, 6, ("test", 4)),
        (1, 0, ("validation", 1)),
        (500, 400, ("validation", 32)),
    ],
)
def test_openings_divide_the_pieces_evenly(validation, test, want):
    info = make_info({"train": (1, 0), "validation": (validation, 0), "test": (test, 0)})
    assert run.choose_openings(info, 64) == want


@pytest.mark.parametrize(
    ("time_base", "notes", "want"), [(BEATS, 9_999, True), (BEATS, 10_000, False), (MILLISECONDS, 100, False)]
)
def test_little_written_music_is_learned_from_the_model_in_the_box(time_base, notes, want):
    info = make_info({"train": (9, notes), "validation": (1, 0), "test": (1, 0)}, time_base=time_base)
    assert run.box_helps(info) is want


@pytest.mark.parametrize(
    ("notes", "seconds", "want"), [(1000, 100, 400), (2471, 100, 600), (9000, 100, 800), (0, 0, 400)]
)
def test_pieces_of_dense_music_have_more_notes(notes, seconds, want):
    info = make_info({"train": (1, notes), "validation": (1, 0), "test": (1, 0)})
    train = dataclasses.replace(info.splits["train"], seconds=seconds)
    assert run.notes_per_piece(dataclasses.replace(info, splits={**info.splits, "train": train})) == want


@pytest.mark.parametrize(
    ("time_base", "longer", "want"),
    [(MILLISECONDS, 1, 4.8), (MILLISECONDS, 2, None), (BEATS, 1, None)],  # in 400 notes of 0.1 s; of 1,000 notes
)
def test_no_note_lasts_for_most_of_a_piece_if_hardly_any_of_the_corpus_would(time_base, longer, want):
    info = make_info({"train": (1, 1000), "validation": (1, 0), "test": (1, 0)}, time_base=time_base)
    train = dataclasses.replace(info.splits["train"], seconds=100.0)
    durations = Histogram(values=(100, 4800, 4801), counts=(500, 500 - longer, longer))
    info = dataclasses.replace(
        info,
        splits={**info.splits, "train": train},
        histograms={**info.histograms, "train": {**info.histograms["train"], "duration": durations}},
    )
    assert run.longest_duration(info, 400) == (None if want is None else pytest.approx(want))


def test_a_corpus_without_midi_is_the_users_mistake(tmp_path):
    (tmp_path / "notes.txt").write_text("no music")
    with pytest.raises(UserError, match="none of 1 files has a MIDI extension"):
        run.main(["--corpus", str(tmp_path), "--output", str(tmp_path / "run")])
    with pytest.raises(UserError, match="no such file or folder"):
        run.main(["--corpus", str(tmp_path / "nowhere"), "--output", str(tmp_path / "run")])


@pytest.mark.parametrize("num_files", [1, 2])
def test_a_corpus_of_fewer_files_than_splits_is_said_before_anything_is_made(tmp_path, num_files):
    for number in range(num_files):
        (tmp_path / f"{number}.mid").write_bytes(b"never read")
    with pytest.raises(UserError, match=f"has {num_files} MIDI files, want at least 3.*--split-percents"):
        run.main(["--corpus", str(tmp_path), "--output", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
