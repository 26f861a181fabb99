"""Pairs from screening, from measures, from a discriminator, and from lines of a file."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from generation_jobs import pairs
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import pairs_file
from midi_codec.music.notes import MILLISECONDS, Notes
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes


def make_job(root: pathlib.Path, reasons: dict[tuple[str, int], list[str]], **notes: Notes) -> None:
    """A job with a piece for each key, rejected for these reasons; all pieces of a seed have one primer."""
    primer = make_notes(8)
    pieces = []
    for number, (seed_id, sample) in enumerate(reasons):
        rest = notes.get(f"{seed_id}{sample}", make_notes(60, rng_seed=number + 1))
        both = {name: [*getattr(primer, name), *getattr(rest, name)] for name in ("pitch", "velocity", "duration")}
        start = [*primer.start, *(rest.start + int(primer.start[-1]) + 1)]
        pieces.append((seed_id, sample, Notes.from_columns(**both, start=start, program=[0] * len(start))))
    make_music(root, pieces)
    for path in (root / "manifest").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line, found in zip(lines, reasons.values(), strict=True):
            line["screening"] = {"reasons": found, "checks": {}, "rejected": []}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def named(path: pathlib.Path) -> list[tuple[str, str]]:
    found, time_base = pairs_file.read(str(path))
    assert time_base == MILLISECONDS
    return [(better.name, worse.name) for better, worse in found]


def run(root: pathlib.Path, *flags: str) -> list[tuple[str, str]]:
    assert pairs.main(["--music", str(root / "music"), "--output", str(root / "pairs.json"), *flags]) == command.OK
    return named(root / "pairs.json")


def test_accepted_pieces_are_better_than_rejected_ones_of_their_seed(tmp_path, capsys):
    reasons = {("a", 0): [], ("a", 1): ["loop"], ("a", 2): [], ("a", 3): ["loop"], ("a", 4): [], ("b", 0): ["loop"]}
    make_job(tmp_path / "music", reasons)
    assert run(tmp_path) == [("a-00000", "a-00001"), ("a-00004", "a-00001"), ("a-00002", "a-00003")]
    assert f"3 pairs of 6 pieces in {tmp_path}/pairs.json" in capsys.readouterr().out
    found, _ = pairs_file.read(str(tmp_path / "pairs.json"))
    assert [better.ended for better, _ in found] == [True, True, True]  # `make_music` ends every other piece
    assert not found[0][1].ended and len(found[0][1].notes) == 68


def test_no_more_than_four_rivals_and_none_of_another_seed(tmp_path):
    make_job(tmp_path / "music", {("a", 0): ["loop"], **{("a", k): [] for k in range(1, 8)}, ("b", 0): []})
    assert run(tmp_path) == [(f"a-0000{k}", "a-00000") for k in range(1, 5)]
    make_job(tmp_path / "other", {("a", 0): [], ("b", 0): ["loop"]})
    with pytest.raises(UserError, match="has no seed with both accepted and rejected pieces"):
        pairs.main(["--music", str(tmp_path / "other"), "--output", str(tmp_path / "pairs.json")])


def test_a_job_that_was_not_screened(tmp_path):
    make_music(tmp_path / "music", [("a", 0, make_notes())])
    with pytest.raises(UserError, match="was not screened, want a job of generate --screen ... --on-reject keep"):
        run(tmp_path)


def test_pieces_like_the_corpus_are_better(tmp_path):
    make_dataset(tmp_path / "data", {"train": [make_notes(68, rng_seed=seed) for seed in range(20, 30)]})
    odd = {
        f"a{k}": dataclasses.replace(notes, pitch=notes.pitch + 30, duration=20 * notes.duration)
        for k in (1, 2)
        for notes in [make_notes(60, rng_seed=k)]
    }
    make_job(tmp_path / "music", {("a", k): [] for k in range(6)}, **odd)
    found = run(tmp_path, "--data", str(tmp_path / "data"))
    assert len(found) == 2 and {worse for _, worse in found} == {"a-00001", "a-00002"}


def test_pieces_that_the_discriminator_takes_for_the_corpus_are_better(tmp_path):
    make_job(tmp_path / "music", {("a", k): [] for k in range(7)})
    scores = [0.5, -2.0, None, 1.5, -1.0, 3.0, 0.0]
    judged = [{"seed_id": "a", "sample": k, "discriminator": score} for k, score in enumerate(scores)]
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"pieces": judged}))
    assert run(tmp_path, "--evaluation", str(path)) == [("a-00005", "a-00004"), ("a-00003", "a-00001")]
    path.write_text(json.dumps({"pieces": [*judged, {"seed_id": "z", "sample": 0, "discriminator": 1.0}]}))
    with pytest.raises(UserError, match="evaluation.json is not of this music: it has other pieces"):
        run(tmp_path, "--evaluation", str(path))
    path.write_text(json.dumps({"pieces": [{"seed_id": "a", "sample": 0}]}))
    with pytest.raises(UserError, match="discriminator"):
        run(tmp_path, "--evaluation", str(path))


def test_a_file_says_it(tmp_path):
    make_job(tmp_path / "music", {("a", 0): [], ("a", 1): [], ("b", 0): []})
    (tmp_path / "order.txt").write_text("a-00001 over a-00000\n\nb-00000.mid over a-00001\n")
    order = ["--order", str(tmp_path / "order.txt")]
    assert run(tmp_path, *order) == [("a-00001", "a-00000"), ("b-00000", "a-00001")]
    (tmp_path / "order.txt").write_text("a-00001, a-00000\na-00001 over c\na-00000 over a-00000\n")
    with pytest.raises(UserError) as refused:
        run(tmp_path, *order)
    assert [problem.rpartition("order.txt:")[2] for problem in refused.value.problems] == [
        "1: 'a-00001, a-00000', want NAME over NAME",
        "2: the music has no piece 'c'",
        "3: a piece is compared with itself, want two pieces",
    ]


def test_other_primers_cannot_be_compared(tmp_path):
    make_music(tmp_path / "music", [("a", 0, make_notes(20, rng_seed=1)), ("b", 0, make_notes(20, rng_seed=2))])
    (tmp_path / "order.txt").write_text("a-00000 over b-00000\n")
    with pytest.raises(UserError, match="the pieces continue different primers, want pieces of one seed"):
        run(tmp_path, "--order", str(tmp_path / "order.txt"))


def test_mistakes_are_all_said(tmp_path):
    with pytest.raises(UserError) as refused:
        run(tmp_path, *(f"--{name}={tmp_path}/{name}" for name in ("order", "data", "evaluation")))
    assert len(refused.value.problems) == 5
    assert refused.value.problems[0] == "--data and --evaluation and --order are given, want at most one of them"
