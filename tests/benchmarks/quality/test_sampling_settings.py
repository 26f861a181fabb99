"""The grid of sampling settings: what a setting says, and the figures of pieces whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality import sampling_settings
from generation_jobs.memorisation import corpus_index
from generation_jobs.output.generated_music import GeneratedPiece
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.generation_jobs.memorisation.test_corpus_index import melody, notes_of
from tests.generation_jobs.report_fakes import make_dataset


@pytest.mark.parametrize("text", sampling_settings.GRID)
def test_every_setting_of_the_grid_is_one(text):
    assert sampling_settings.parse_setting(text)


def test_what_a_setting_does_not_say_is_drawn_as_the_model_says():
    got = sampling_settings.parse_setting("--min-p pitch=0.03")
    assert (got.temperature, got.top_k, got.top_p, got.min_p) == (1.0, None, None, {"pitch": 0.03})


@pytest.mark.parametrize(
    "text, want",
    [
        ("--bundle x", "'--bundle' is not a sampling flag"),
        ("--temperature -1", "--temperature is '-1', want"),
        ("--top-k much", "--top-k is 'much', want"),
        ("--temperature '1", "No closing quotation"),
    ],
)
def test_what_is_no_setting_is_said(text, want):
    with pytest.raises(UserError) as error:
        sampling_settings.parse_setting(text)
    assert want in str(error.value)


def test_all_mistakes_at_once():
    words = ["--bundle", "b", "--data", "d", "--num-pieces", "0", "--setting", "--min-p 2", "--setting", "--top-p 0"]
    with pytest.raises(UserError) as error:
        sampling_settings.check(*sampling_settings.make_parser().parse(words))
    assert len(error.value.problems) == 3
    assert "--num-pieces is '0', want a whole number, 1 to 100000" in error.value.problems
    assert any(problem.startswith("--setting '--min-p 2': --min-p is '2', want") for problem in error.value.problems)


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    train = [notes_of(rng.integers(40, 80, 100), 150 * np.arange(100)) for _ in range(4)]
    held_out = [melody(80, 20 + number, num_pitches=25) for number in range(3)]
    make_dataset(tmp_path, {"train": train, "validation": held_out, "test": held_out[:1]})
    return str(tmp_path), dataset_info.load(str(tmp_path)), train


def test_a_copy_of_training_pieces_is_like_the_corpus_and_copied(dataset):
    data, info, train = dataset
    pieces = [
        GeneratedPiece(
            {"seed_id": "a", "path": "", "num_primer_notes": 8, "log_likelihood": -184.0, "ended": not number}, notes
        )
        for number, notes in enumerate(train)
    ]
    got = sampling_settings.judge(pieces, data, info, corpus_index.build(data, info))
    assert got["copied"]["median"] == got["copied"]["longest"] == 92
    assert got["held_out_copied"]["longest"] < 20
    assert got["num_beyond_held_out"] == 4
    assert (got["ended"], got["notes"], got["nats_per_note"]) == (0.25, 4 * 92, 2.0)
    assert got["lowest"] >= 1
    assert got["below"] == []


def test_openings_are_of_pieces_that_go_on(dataset):
    data, info, _ = dataset
    found = sampling_settings.read_openings(data, info, 2, 16)
    assert [(len(notes), name) for notes, name in found] == [(16, "opening-0"), (16, "opening-1")]
    assert sampling_settings.read_openings(data, info, 2, 80) == []
    assert sampling_settings.read_openings(data, info, 2, 0) == [(None, "silence")]
    assert sampling_settings.held_out_ends(data, info, 16, 64) == 0
    assert sampling_settings.held_out_ends(data, info, 16, 65) == 1


def test_a_table_marks_what_is_below():
    rows = [{"setting": "--min-p 0.1", "of_ceiling": {"pitch": 0.95, "self_similarity": 0.8996, "drum": None}}]
    head, row = sampling_settings.measure_table(rows)
    assert head.split() == ["of", "the", "ceiling", "pitch", "self_simi", "drum"]
    assert row.split() == ["--min-p", "0.1", "0.950", "0.900*", "-"]
