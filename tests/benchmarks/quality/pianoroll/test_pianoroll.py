"""The commands of `benchmarks.pianoroll`: what they print, leave, and say of mistakes."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.harness.machine import ROOT
from benchmarks.quality.pianoroll import __main__ as pianoroll
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.benchmarks import rolls
from tests.benchmarks.rolls import make_roll, make_song
from trainer import bundle as bundle_lib

TINY = ["--units", "16", "--head-units", "16", "--layers", "1", "--epochs", "2", "--samples", "0", "--batch-size", "8"]
SONGS = {
    "train": [make_song(number, length=20 if number else 14) for number in range(8)],
    "valid": [make_song(number, length=15) for number in (3, 7)],
    "test": [np.concatenate([make_roll([]), make_song(2, length=11), make_roll([], [])]), make_roll([], [])],
}


@pytest.fixture
def data(tmp_path) -> str:
    return rolls.write(tmp_path / "songs.npz", SONGS)


def settings(*arguments: str) -> pianoroll.TrainConfig:
    return pianoroll.settings_of(pianoroll.make_parser().parse_args(["train", "--output", "B", *arguments]))


def last_json(capfd) -> dict:
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_calibrate(tmp_path):
    # One frame of training: key 60 has chance 2/3, the other 87 keys 1/3.
    path = rolls.write(tmp_path / "one.npz", {"train": [make_roll([60])], "valid": [make_roll([60]), make_roll([])]})
    program = [sys.executable, "-m", "benchmarks.pianoroll"]
    done = subprocess.run(
        [*program, "calibrate", "--data", path], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == command.OK, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    one, none = 88 * math.log(3 / 2), 87 * math.log(3 / 2) + math.log(3)
    assert found == pytest.approx({"train": one, "valid": (one + none) / 2}, rel=1e-12)


def test_a_missing_file_is_the_users_mistake(capfd, tmp_path):
    assert command.run("p", pianoroll.main, ["calibrate", "--data", str(tmp_path / "no.npz")]) == command.USER_ERROR
    assert "Boulanger-Lewandowski" in capfd.readouterr().err


@pytest.mark.parametrize("given", [[], ["--data", ""]])
@pytest.mark.parametrize("action", [["quality", "--set", "jsb_chorales"], ["calibrate"], ["evaluate", "--bundle", "b"]])
def test_without_a_file_a_command_says_where_to_get_one(action, given, capfd):
    assert command.run("p", pianoroll.main, [*action, *given]) == command.USER_ERROR
    assert "--data is not given; want a roll file of one of the sets of Boulanger-Lew" in capfd.readouterr().err


def test_settings_are_those_of_the_set_then_of_config_then_of_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(pianoroll, "SETTINGS", tmp_path)
    (tmp_path / "songs.yaml").write_text("units: 32\nlayers: 3\ndropout: 0.5\nmax_minutes: 4\n")
    (tmp_path / "mine.yaml").write_text("layers: 1\ndropout: 0.25\n")
    found = settings("--data", "far/songs.npz", "--config", str(tmp_path / "mine.yaml"), "--dropout", "0.125")
    assert (found.units, found.layers, found.dropout, found.max_minutes) == (32, 1, 0.125, 4)
    assert settings("--data", "far/songs.npz", "--minutes", "2.5").max_minutes == 2.5
    assert settings("--data", "other.npz", "--set", "songs").units == 32
    assert settings("--data", "other.npz") == pianoroll.TrainConfig()


def test_an_unknown_set_and_wrong_settings_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pianoroll, "SETTINGS", tmp_path)
    (tmp_path / "songs.yaml").write_text("units: 33\nlajers: 3\n")
    with pytest.raises(UserError, match="--set is 'son', want songs"):
        settings("--data", "x.npz", "--set", "son")
    with pytest.raises(UserError) as error:
        settings("--data", "songs.npz")
    assert len(error.value.problems) == 2 and "lajers" in str(error.value) and "units is 33" in str(error.value)
    with pytest.raises(UserError, match="--minutes and --max-minutes are the same"):
        settings("--data", "x.npz", "--minutes", "1", "--max-minutes", "2")
    with pytest.raises(UserError, match="--timing-loss is 'mse', want categorical"):
        settings("--data", "x.npz", "--timing-loss", "mse")


def test_every_set_has_settings_that_can_be_read():
    names = {path.stem for path in pianoroll.SETTINGS.glob("*.yaml")}
    assert names >= {"jsb_chorales", "nottingham", "musedata", "piano_midi"}
    for name in names:
        args = argparse.Namespace(set=None, data=f"{name}.npz", minutes=None, config=None)
        assert pianoroll.settings_of(args).max_minutes


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "bundles").glob("*")), ids=lambda path: path.name)
def test_the_bundles_in_the_repository_are_small_and_whole(path):
    assert sum(file.stat().st_size for file in path.iterdir()) <= pianoroll.MAX_BYTES
    found = bundle_lib.load(str(path))
    assert set(found.dataset["rests"]) == {"leading", "trailing"}


@pytest.mark.slow
def test_train_evaluate_pack_and_go_on(data, tmp_path, capfd):
    run, packed = str(tmp_path / "run"), str(tmp_path / "packed")
    train = ["train", "--data", data, "--output", run, *TINY]
    assert pianoroll.main(train) == command.OK
    assert "model" in capfd.readouterr().out
    for split, frames in (("valid", 30), ("test", 16)):
        assert pianoroll.main(["evaluate", "--bundle", run, "--data", data, "--split", split]) == command.OK
        found = last_json(capfd)
        assert found["frames"] == frames and found["split"] == split
        assert found["nats_per_frame"] == pytest.approx(sum(found["parts"].values()))
        assert 0 < found["nats_per_frame"] < found["nats_per_frame_of_notes"] < 30
        assert found["parameters"] == [sum(array.size for array in bundle_lib.load(f"{run}/bundle").weights.values())]

    assert pianoroll.main(["pack", "--bundle", run, "--output", packed]) == command.OK
    stored = np.load(next((tmp_path / "packed").glob("weights-*.npz")))
    assert {stored[name].dtype for name in stored.files} == {np.dtype(np.float16)}
    whole, small = bundle_lib.load(f"{run}/bundle"), bundle_lib.load(packed)
    assert small.dataset["rests"] == {"leading": [8, 0, 0], "trailing": [8, 1, 1]}
    for name, weight in small.weights.items():
        assert weight.dtype == np.float32 and weight == pytest.approx(whole.weights[name], rel=1e-3, abs=1e-7)

    capfd.readouterr()
    alone = rolls.write(tmp_path / "alone.npz", {"test": SONGS["test"]})  # packed bundles need no training part
    both = ["evaluate", "--bundle", packed, "--bundle", packed, "--data", alone, "--split", "test"]
    assert pianoroll.main(both) == command.OK
    assert last_json(capfd)["nats_per_frame"] == pytest.approx(found["nats_per_frame"], rel=1e-2)
    with pytest.raises(UserError, match="has no part train, only test"):
        pianoroll.main(["evaluate", "--bundle", run, "--data", alone, "--split", "test"])

    assert pianoroll.main(train) == command.OK
    assert "is finished already" in capfd.readouterr().out
    with pytest.raises(UserError, match="epochs is 2.0 there and 3.0 here"):
        pianoroll.main([*train, "--epochs", "3"])


@pytest.mark.slow
def test_quality_is_all_of_it(data, tmp_path, capfd):
    run = str(tmp_path / "run")
    assert pianoroll.main(["quality", "--data", data, "--output", run, *TINY]) == command.OK
    found = last_json(capfd)
    assert found["split"] == "valid" and found["bundles"] == [bundle_lib.load(f"{run}/packed").hash]
    assert dataset_info.load(f"{run}/dataset").settings["rests"]["leading"] == [8, 0, 0]
    assert pianoroll.main(["quality", "--data", data, "--output", run, *TINY]) == command.OK
    assert last_json(capfd)["nats_per_frame"] == found["nats_per_frame"]


def test_a_bundle_too_large_or_out_of_range_is_not_packed(tmp_path, monkeypatch):
    from tests.benchmarks.quality.pianoroll.test_pianoroll_model import make_bundle

    one = make_bundle()
    bundle_lib.save(str(tmp_path / "one"), one)
    monkeypatch.setattr(pianoroll, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="bytes as float16, want at most 1000"):
        pianoroll.main(["pack", "--bundle", str(tmp_path / "one"), "--output", str(tmp_path / "two")])
    one.weights["head_bias"][0] = 1e6
    bundle_lib.save(str(tmp_path / "one"), one)
    with pytest.raises(UserError, match="head_bias has values that float16 does not hold"):
        pianoroll.main(["pack", "--bundle", str(tmp_path / "one"), "--output", str(tmp_path / "two")])
    assert not (tmp_path / "two").exists()
