"""The command: what it refuses, what it writes, and that a stopped run continues to the same bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest

from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import pairs_file
from midi_codec.dataset.labels import Vocabulary
from midi_codec.dataset.pairs_file import Example, Pair
from midi_codec.music.notes import MILLISECONDS
from tests.trainer.tiny import make_notes, make_table
from trainer import bundle as bundle_lib
from trainer import finetune
from trainer.bundle import Bundle
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel
from trainer.run_output import checkpoint

NUM_PAIRS = 10


@pytest.fixture(scope="module")
def inputs(data, tmp_path_factory):
    """A bundle of a small model, and pairs: long pieces are better than short ones."""
    root = tmp_path_factory.mktemp("inputs")
    config = ModelConfig(units=16, layers=1, head_units=16)
    weights = bundle_lib.get_weights(NoteModel(config, make_table()))
    dataset = {"hash": "d" * 32, "time_base": MILLISECONDS}
    bundle_lib.save(
        str(root / "bundle"), Bundle(dataclasses.asdict(config), make_table(), dataset, {"baselines": {}}, {}, weights)
    )
    pieces = [Example(f"p{n}", make_notes(n, num_notes=5 + 10 * (n % 2)), True) for n in range(2 * NUM_PAIRS)]
    pairs = [Pair(f"p{n + 1}", f"p{n}") for n in range(0, 2 * NUM_PAIRS, 2)]
    pairs_file.write(str(root / "pairs.json"), pieces, pairs, time_base=MILLISECONDS)
    return ["--bundle", str(root / "bundle"), "--pairs", str(root / "pairs.json"), "--data", data]


def run(inputs, folder, *more: str) -> int:
    settings = ["--num-pairs", "4", "--epochs", "3", "--learning-rate", "0.003", "--transpose", "0", "--max-kl", "9"]
    return finetune.main([*inputs, "--output", str(folder), *settings, "--max-nats-lost", "9", *more])


@contextlib.contextmanager
def stopped_at(step: int, monkeypatch) -> Iterator[None]:
    """The run within is interrupted after the checkpoint of a step."""
    save = checkpoint.save

    def stop_after(folder, number, *rest):
        save(folder, number, *rest)
        if number == step:
            raise command.Interrupted("stop")

    with monkeypatch.context() as patched, pytest.raises(command.Interrupted):
        patched.setattr(checkpoint, "save", stop_after)
        yield


def test_everything_wrong_is_said(inputs, tmp_path):
    notes = make_notes(0, num_notes=3)
    other = dataclasses.replace(notes, pitch=notes.pitch + 1)
    pieces = [Example("a", other, True), Example("b", notes, True)]
    pairs_file.write(str(tmp_path / "pairs.json"), pieces, [Pair("a", "b")], time_base=MILLISECONDS)
    with pytest.raises(UserError) as refused:
        run(inputs, tmp_path, "--pairs", str(tmp_path / "pairs.json"), "--beta", "0", "--patience", "x")
    assert refused.value.problems == [
        "--patience is 'x', want a whole number, 1 or more, or none",
        "--beta is '0', want a number above 0",
        f"{tmp_path}/pairs.json: pieces.a: pitch 61, 63, 66 does not occur in the model's corpus",
    ]
    with pytest.raises(UserError) as refused:
        run(inputs, tmp_path, "--pairs", str(tmp_path / "no"), "--bundle", str(tmp_path / "no"))
    assert len(refused.value.problems) == 2


def test_a_model_that_is_told_labels_is_refused(inputs, tmp_path):
    start = bundle_lib.load(inputs[1])
    table = dataclasses.replace(start.fields, labels=(Vocabulary(name="composer", values=("Bach",)),))
    weights = {**start.weights, "label_composer": np.zeros((2, 16), np.float32)}
    bundle_lib.save(str(tmp_path / "told"), dataclasses.replace(start, fields=table, weights=weights))
    with pytest.raises(UserError) as refused:
        run(inputs, tmp_path, "--bundle", str(tmp_path / "told"))
    assert refused.value.problems == [
        f"{tmp_path}/told is told labels (composer), which neither objective gives it, want one without"
    ]


@pytest.mark.slow
def test_a_stopped_run_continues_to_the_same_bundle(inputs, tmp_path, monkeypatch, capsys):
    assert run(inputs, tmp_path / "whole") == command.OK
    out = capsys.readouterr().out
    assert "8 pairs to train on, 2 held out" in out and "kept: step 6 of 6" in out
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4, 6]
    assert (lines[0]["kl"], lines[0]["pairs_right"]) == (0, 0)
    assert lines[-1]["pair_loss"] < lines[0]["pair_loss"] and lines[-1]["pairs_right"] == 1 and lines[-1]["kl"] > 0
    whole = bundle_lib.load(str(tmp_path / "whole/bundle"))
    assert whole.dataset["init_from"] == bundle_lib.load(inputs[1]).hash

    with stopped_at(4, monkeypatch):
        run(inputs, tmp_path / "stopped")
    assert run(inputs, tmp_path / "stopped") == command.OK
    assert bundle_lib.load(str(tmp_path / "stopped/bundle")).hash == whole.hash
    assert run(inputs, tmp_path / "stopped") == command.OK
    assert "is finished already" in capsys.readouterr().out
    with pytest.raises(UserError, match="beta is 0.1 there and 0.2 here; want the same, or another --output"):
        run(inputs, tmp_path / "stopped", "--beta", "0.2")


def draw(inputs, folder, *more: str) -> int:
    """A run with rewards: `inputs` without the pairs."""
    without = inputs[:2] + inputs[4:]
    settings = ["--num-pieces", "8", "--max-notes", "16", "--steps", "4", "--validate-every", "2", "--max-kl", "9"]
    own = ["--rewards", "screening=2,duration", "--validation-pieces", "8", "--learning-rate", "0.01", *settings]
    return finetune.main([*without, "--output", str(folder), *own, "--max-nats-lost", "9", *more])


def test_one_objective_is_wanted(inputs, tmp_path):
    with pytest.raises(UserError) as refused:
        finetune.main([*inputs[:2], *inputs[4:], "--output", str(tmp_path)])
    assert refused.value.problems == ["neither of --pairs and --rewards given, want one of them"]
    with pytest.raises(UserError) as refused:
        draw(inputs, tmp_path, *inputs[2:4])
    assert refused.value.problems == ["both of --pairs and --rewards given, want one of them"]


def test_flags_of_the_other_objective_are_refused(inputs, tmp_path):
    with pytest.raises(UserError) as refused:
        draw(inputs, tmp_path, "--beta", "1", "--rewards", "key_share,screen=2", "--screen", str(tmp_path / "no"))
    known = refused.value.problems[1]
    assert refused.value.problems[0] == "--beta is given, which --rewards does not use"
    assert known.startswith(
        "--rewards: 'screen' is no reward (did you mean screening?), want some of screening, pitch, "
    )
    assert refused.value.problems[2] == f"--screen: {str(tmp_path / 'no')!r} does not exist, want a thresholds file"
    with pytest.raises(UserError) as refused:
        run(inputs, tmp_path, "--steps", "3", "--screen", "box")
    assert refused.value.problems == [
        "--steps is given, which --pairs does not use",
        "--screen is given, which --pairs does not use",
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("loop=x", "want a number"),
        ("loop=", "want a number"),
        ("loop=0", "want names of rewards, each once, with weights above 0: NAME or NAME=WEIGHT"),
        ("loop,loop=2", "which has loop twice, want each reward once"),
    ],
)
def test_weights_that_cannot_be(inputs, tmp_path, value, problem):
    with pytest.raises(UserError) as refused:
        draw(inputs, tmp_path, "--rewards", value)
    assert refused.value.problems[0] == f"--rewards is {value!r}, {problem}"


@pytest.mark.slow
def test_a_stopped_run_with_rewards_continues_to_the_same_bundle(inputs, tmp_path, monkeypatch, capsys):
    assert draw(inputs, tmp_path / "whole") == command.OK
    out = capsys.readouterr().out
    assert "reward screening" in out and "reward duration" in out and "of 4" in out
    lines = [json.loads(line) for line in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4]
    assert lines[0]["kl"] == 0 and lines[-1]["kl"] > 0
    assert lines[0]["reward"] == 0 and 0 <= lines[0]["reward_screening"] <= 1 and lines[0]["spread_duration"] > 0
    with stopped_at(2, monkeypatch):
        draw(inputs, tmp_path / "stopped")
    assert draw(inputs, tmp_path / "stopped") == command.OK
    again = [json.loads(line) for line in (tmp_path / "stopped/metrics.jsonl").read_text().splitlines()]
    for one, other in zip(lines, again, strict=True):
        assert {name: one[name] for name in one if name.startswith(("reward", "kl", "validation"))} == {
            name: other[name] for name in other if name.startswith(("reward", "kl", "validation"))
        }
    whole, stopped = (bundle_lib.load(str(tmp_path / name / "bundle")).hash for name in ("whole", "stopped"))
    assert stopped == whole and draw(inputs, tmp_path / "stopped") == command.OK
    assert "is finished already" in capsys.readouterr().out
