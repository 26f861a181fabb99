"""Thresholds from a corpus, what they reject, and the file they are kept in."""

from __future__ import annotations

import collections
import dataclasses
import json

import numpy as np
import pytest

from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.screening import __main__ as screening_command
from generation_jobs.settings.requests import Result
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset.records import Piece
from midi_codec.measures import thresholds as screening
from midi_codec.measures.thresholds import Screen, fit, load, reject_shares
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.generation_jobs import report_fakes
from tests.midi_codec.measures.test_music_measures import make_notes

SCREEN = Screen({"longest_repeat": 3.0, "low_density": 2.0, "ended_notes": 4.0}, MILLISECONDS, "d" * 32)


def result(notes: Notes, *, num_given: int = 0, ended: bool = False) -> Result:
    return Result(notes, num_given, -1.0, ended)


def steady(size: int, step: int, pitch=None) -> Notes:
    return make_notes(
        list(range(0, size * step, step)), [10] * size, pitch=pitch or [index % 90 for index in range(size)]
    )


def test_no_reason_is_accepted_and_a_value_at_the_threshold_passes():
    assert SCREEN.judge(result(steady(41, 500, [60, 60, 60, *range(38)]))).reasons == ()


@pytest.mark.parametrize(
    "given, want",
    [
        (result(steady(40, 100, [60] * 4 + list(range(36)))), ("longest_repeat",)),
        (result(steady(40, 501)), ("low_density",)),
        (result(steady(3, 100), ended=True), ("ended_notes",)),
        (result(steady(3, 100)), ()),  # it met a limit: short, but not by its own will
        (result(steady(5, 100), num_given=5), (screening.NO_NOTES,)),
        (result(steady(40, 600, [60] * 40)), ("longest_repeat", "low_density")),
    ],
)
def test_reasons(given, want):
    assert SCREEN.judge(given).reasons == want


def test_a_primer_is_not_judged():
    assert SCREEN.judge(result(steady(50, 100, [60] * 10 + list(range(40))), num_given=10)).reasons == ()


def test_checks_are_the_measured_values_and_valid_json():
    judgement = SCREEN.judge(result(steady(40, 100)))
    assert judgement.checks["high_density"] == 10
    json.dumps(judgement.checks, allow_nan=False)


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match="beats.*milliseconds"):
        SCREEN.judge(result(make_notes([0], [1], time_base=BEATS)))


def test_fit_takes_the_outer_quantile_and_passes_its_own_corpus():
    corpus = [report_fakes.make_notes(300, rng_seed=seed) for seed in range(8)]
    screen = fit(corpus, time_base=MILLISECONDS, dataset="d" * 32)
    assert set(screen.thresholds) == set(screening.screen_checks.NAMES)
    assert [screen.judge_notes(notes, 0, ended=True).reasons for notes in corpus] == [()] * 8
    assert screen.thresholds["ended_notes"] == 300


def test_fit_leaves_out_one_window_in_more_than_a_thousand():
    corpus = [steady(32, 100)] * 1499 + [steady(32, 100, [60] * 32)]
    thresholds = fit(corpus, time_base=MILLISECONDS, dataset="d").thresholds
    assert thresholds["pitch_share"] == 0.03125  # of 32 notes, one


def test_short_repeats_and_loops_are_no_fault_even_if_the_corpus_has_none():
    thresholds = fit([steady(64, 100)] * 30, time_base=MILLISECONDS, dataset="d").thresholds
    loops = {2: 8, 4: 12, 8: 24, 16: 48, 32: 96, 64: 192}
    assert thresholds["longest_repeat"] == 8
    assert thresholds["max_polyphony"] == 1 + 2
    assert {most: thresholds[f"loop_notes_{most}"] for most in loops} == loops


def test_a_corpus_that_repeats_its_strains_does_not_hide_a_short_loop():
    strain = np.random.default_rng(0).integers(50, 90, 60)
    corpus = [steady(240, 100, list(np.tile(strain, 4))) for _ in range(3)]
    screen = fit(corpus, time_base=MILLISECONDS, dataset="d")
    assert screen.thresholds["loop_notes_64"] == 240
    looped = steady(240, 100, [*np.tile(strain, 3), *np.tile(strain[:4], 15)])
    reasons = screen.judge_notes(looped, 0, ended=False).reasons
    assert [name for name in reasons if "loop" in name] == [f"loop_notes_{most}" for most in (4, 8, 16)]


def test_a_damaged_file_sets_no_limit_to_density():
    corpus = [steady(64, 90 + index % 20) for index in range(1500)]
    damaged = make_notes([0] * 5120, [10] * 5120, pitch=[index % 90 for index in range(5120)])
    sound = fit(corpus, time_base=MILLISECONDS, dataset="d").thresholds
    thresholds = fit([*corpus, damaged], time_base=MILLISECONDS, dataset="d").thresholds
    assert sound["high_density"] == thresholds["high_density"] == pytest.approx(1000 / 90, rel=1e-6)
    assert thresholds["max_begun"] == sound["max_begun"] == 12
    assert thresholds["low_density"] == sound["low_density"]


def test_if_most_windows_are_equal_every_density_counts():
    corpus = [*[steady(64, 100)] * 30, steady(64, 10)]
    assert fit(corpus, time_base=MILLISECONDS, dataset="d").thresholds["high_density"] == 100


def test_damaged_music_is_rejected():
    corpus = [report_fakes.make_notes(300, rng_seed=seed) for seed in range(30)]
    screen = fit(corpus, time_base=MILLISECONDS, dataset="d" * 32)
    notes = corpus[0]
    assert screen.judge_notes(notes, 0, ended=False).reasons == ()
    columns = {name: getattr(notes, name) for name in ("pitch", "velocity", "start", "duration", "program")}
    half, piano = np.arange(300) >= 150, np.zeros(300)
    for reason, change in (
        ("longest_repeat", {"pitch": np.where(half, 60, notes.pitch), "program": piano}),
        ("longest_silence", {"start": notes.start + half * 60_000}),
        ("loop_notes_8", {"pitch": np.where(half, np.arange(300) % 7 + 50, notes.pitch), "program": piano}),
        ("longest_note", {"duration": np.where(half, 100_000, notes.duration)}),
        ("overlap_share", {"duration": np.full(300, 20_000)}),
        ("high_density", {"start": notes.start // 10}),
        ("low_density", {"start": notes.start * 10}),
    ):
        damaged = Notes.from_columns(**{**columns, **change})
        assert reason in screen.judge_notes(damaged, 0, ended=False).reasons


def test_reject_shares_count_a_piece_once():
    judged = collections.Counter([(), ("b",), ("a", "b"), ()])
    assert list(reject_shares(judged).items()) == [("any", 0.5), ("b", 0.5), ("a", 0.25)]
    assert reject_shares({}) == {}


def test_the_command_writes_what_load_reads(tmp_path, capsys):
    train = [report_fakes.make_notes(100, rng_seed=seed) for seed in range(5)]
    info = report_fakes.make_dataset(tmp_path / "data", {"train": train, "validation": train[:1]})
    path = str(tmp_path / "thresholds.json")
    assert screening_command.main(["--data", str(tmp_path / "data"), "--output", path]) == command.OK
    wanted = fit(train, time_base=MILLISECONDS, dataset=info.hash)
    copied = make_index(*train).longest_run(train[0]).num_notes
    assert load(path) == dataclasses.replace(wanted, thresholds={**wanted.thresholds, screening.COPIED_NOTES: copied})
    assert copied > 50
    assert "rejects 0.0 % of 1 validation piece: none" in capsys.readouterr().out
    assert json.loads((tmp_path / "thresholds.json").read_text())["validation_rejects"] == {"any": 0.0}


def test_a_dataset_without_training_pieces_is_refused(tmp_path):
    report_fakes.make_dataset(tmp_path / "data", {"validation": [report_fakes.make_notes()]})
    with pytest.raises(UserError, match="no piece in its train split"):
        screening_command.main(["--data", str(tmp_path / "data"), "--output", str(tmp_path / "t.json")])


def make_index(*pieces: Notes, dataset: str = "d" * 32) -> Index:
    named = [Piece(notes.piece_id, "", "", notes) for notes in pieces]
    return Index.build(named, time_base=MILLISECONDS, dataset=dataset)


def test_copied_notes_count_with_an_index_and_only_beyond_what_other_pieces_share():
    tune = steady(60, 100, list(np.random.default_rng(0).integers(30, 90, 60)))
    index = make_index(tune)
    screen = screening.limit_copies(SCREEN, index, [tune.take(slice(10)), tune.take(slice(4))])
    assert screen.thresholds == {**SCREEN.thresholds, "copied_notes": 10.0}
    for given, num_primer, want in (
        (tune.take(slice(20, 30)), 0, ()),
        (tune.take(slice(20, 31)), 0, ("copied_notes",)),
        (tune.take(slice(20, 31)), 1, ()),
    ):
        judgement = screen.judge(result(given.from_first_onset(), num_given=num_primer))
        assert judgement.reasons == want
        assert judgement.checks["copied_notes"] == len(given) - num_primer
    assert screening.limit_copies(SCREEN, index, []).thresholds == SCREEN.thresholds
    assert "copied_notes" not in SCREEN.judge(result(tune)).checks


def test_thresholds_and_index_must_come_from_one_dataset(tmp_path):
    (tmp_path / "t.json").write_text(SCREEN.to_json())
    with pytest.raises(UserError) as raised:
        load(str(tmp_path / "t.json"), make_index(dataset="e" * 32))
    words = (f"that of the index is {'e' * 32}", "thresholds has no copied_notes")
    assert all(word in problem for word, problem in zip(words, raised.value.problems, strict=True))
    index = make_index()
    (tmp_path / "t.json").write_text(dataclasses.replace(SCREEN, thresholds={"copied_notes": 9}).to_json())
    assert load(str(tmp_path / "t.json"), index).index is index


def test_all_mistakes_in_a_thresholds_file_are_reported(tmp_path):
    fields = {"format_version": 1, "time_base": "hours", "thresholds": {"tune": 1, "length": "long"}}
    (tmp_path / "t.json").write_text(json.dumps(fields))
    with pytest.raises(UserError) as raised:
        load(str(tmp_path / "t.json"))
    words = ("dataset is missing", "format_version is 1", "time_base is 'hours'", "length is 'long'", "'tune'")
    assert all(word in problem for word, problem in zip(words, raised.value.problems, strict=True))


@pytest.mark.parametrize("text", ["", "[]", None])
def test_files_that_are_not_thresholds_are_refused(tmp_path, text):
    path = tmp_path / "t.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="t.json"):
        load(str(path))


def test_few_values_are_not_the_extreme_of_a_thousand():
    values = np.arange(1.0, 101.0)  # the tenth beyond 90 exceeds it by 5.5 in the median
    reach = np.log(10) * 5.5 / np.log(2)
    assert screening._limit(values, "longest_note") == pytest.approx(100 + reach, abs=1e-5)
    factor = np.median(np.arange(91.0, 101.0) / 90.0)  # of rates, in factors
    assert screening._limit(values, "max_begun") == pytest.approx(100 * factor ** (np.log(10) / np.log(2)), rel=1e-3)
    assert screening._limit(np.append(np.full(30, 5.0), 50.0), "longest_note") == 50, "one outlier gives no slope"
    assert screening._limit(np.arange(10_000.0), "longest_note") == 9990, "observed, where there are enough"
    assert 0 < screening._limit(values, "ended_notes") < 1
    assert screening._limit(values, screening.COPIED_NOTES) == 100, "not estimated"


def test_a_short_rest_and_few_overlaps_are_no_fault_of_music_after_a_corpus_without():
    screen = fit([steady(64, 100)] * 5, time_base=MILLISECONDS, dataset="d")
    assert (screen.thresholds["longest_silence"], screen.thresholds["overlap_share"]) == (2.0, 0.02)
