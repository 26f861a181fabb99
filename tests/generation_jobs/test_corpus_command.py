"""`box` in place of a dataset: the corpus of the model in the box, on the grid of the music."""

import json

import pytest

from generation_jobs import compare, corpus_command, evaluate
from generation_jobs.output import manifest
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from trainer import box_model, bundle


@pytest.fixture
def music(tmp_path):
    """The output of a job of the model in the box, as far as these commands look at it first."""
    (tmp_path / manifest.JOB_FILE).write_text(json.dumps({"bundle": bundle.load(box_model.folder("beats")).hash}))
    return str(tmp_path)


def test_another_path_stays(music):
    assert corpus_command.resolve_data("./box", music) == "./box"


def test_the_corpus_is_on_the_grid_of_the_model_that_made_the_music(music, tmp_path, monkeypatch):
    assert corpus_command.resolve_data("box", music) == box_model.corpus_folder("beats")
    assert corpus_command.resolve_data("box", str(tmp_path / "nowhere")) == box_model.corpus_folder("beats")
    monkeypatch.setattr(box_model, "time_base_of", lambda bundle: "milliseconds")
    monkeypatch.setattr(box_model, "corpus_folder", lambda time_base: f"/nowhere/{time_base}")
    with pytest.raises(UserError, match="the model in the box has no corpus on a grid of milliseconds"):
        corpus_command.resolve_data("box", music)


def test_commands_load_the_corpus_its_index_and_its_thresholds(music):
    info = dataset_info.load(box_model.corpus_folder("beats"))
    args = compare.make_parser().parse_args(["--music", music, "--data", "box", "--index", "box"])
    found, index = compare._check(args)
    assert (found, index.dataset, index.num_pieces) == (info, info.hash, info.splits["train"].num_pieces)
    args = evaluate.make_parser().parse_args(["--music", music, "--data", "box", "--screen", "box"])
    found, screen = evaluate._check(args)
    assert (found, screen.dataset, screen.index) == (info, info.hash, None)


@pytest.mark.parametrize("figures", [[], [{"seed_id": "a\nb", "shared": {"with": None}}], [{"x": 1.5, "y": []}, {}]])
def test_pieces_are_written_one_by_one_as_json_would_write_them_together(figures):
    result = {"measures": [], "nested": {"list": [1, []]}}
    wanted = json.dumps(result | {"pieces": figures}, indent=1) + "\n"
    assert b"".join(corpus_command._with_pieces(result, iter(figures))).decode() == wanted
