import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec import fields
from midi_codec.dataset import dataset_info
from midi_codec.dataset.labels import Vocabulary
from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from midi_codec.music.notes import BEATS, Notes
from tests.trainer.evaluation.test_validation import make_model
from tests.trainer.tiny import COMPOSER, LIVE, make_many, make_notes, make_table, write_dataset
from trainer import bundle as bundle_lib
from trainer import evaluate
from trainer.data.pieces import stack_pieces
from trainer.data.split_cache import load_split
from trainer.evaluation.baselines import score_baselines
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.evaluation.validation import Evaluator

pytestmark = pytest.mark.usefixtures("eagerly")
TRAIN, HELD_OUT = make_many([30, 20, 25]), [make_notes(number, num_notes=size) for number, size in ((7, 9), (8, 33))]
DEVIATIONS = {"step": 7.0, "duration": 15.0}


def save_bundle(folder: str, loss: str = CATEGORICAL, labels: tuple[Vocabulary, ...] = (), **changes) -> str:
    model = make_model(dataclasses.replace(make_table(timing_loss=loss), labels=labels))
    bundle = bundle_lib.Bundle(
        config=dataclasses.asdict(model.config),
        fields=model.table,
        dataset={"hash": "0" * 32, "time_base": "milliseconds"},
        metrics={},
        deviations=DEVIATIONS if loss == MSE else {},
        weights=bundle_lib.get_weights(model),
    )
    bundle_lib.save(folder, dataclasses.replace(bundle, **changes))
    return folder


@pytest.fixture(scope="module")
def report(place) -> dict:
    """Three heads side by side, and the baselines."""
    return run(place, bundles=(CATEGORICAL, MSE, MIXTURE), output="three.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A dataset and a bundle a head."""
    root = tmp_path_factory.mktemp("evaluate")
    write_dataset(f"{root}/data", {"train": TRAIN, "validation": HELD_OUT})
    for loss in (CATEGORICAL, MSE, MIXTURE):
        save_bundle(f"{root}/{loss}/bundle", loss)
    return root


def run(place, *more: str, bundles: tuple[str, ...] = (CATEGORICAL,), output: str = "figures.json") -> dict:
    paths = [f"{place}/{name}/bundle" for name in bundles]
    given = ["--bundle", *paths, "--data", f"{place}/data", "--output", f"{place}/{output}", "--num-resamples", "200"]
    assert evaluate.main([*given, *more]) == command.OK
    return json.loads((place / output).read_text())


def mistakes(*argv: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        evaluate.main(argv)
    return caught.value.problems


def test_figures_of_one_bundle_and_the_table(place, capsys):
    report = run(place)
    info = dataset_info.load(f"{place}/data")
    assert report["data"] == {
        "path": f"{place}/data",
        "hash": info.hash,
        "split": "validation",
        "time_base": info.time_base,
    }
    assert report["split"]["num_notes"] == 42
    model = make_model(make_table())
    held_out = stack_pieces(HELD_OUT, model.table)
    want = Evaluator(model, tf.distribute.OneDeviceStrategy("/cpu:0"), batch_size=2).evaluate(held_out)
    row = report["models"][-1]
    assert row["name"] == CATEGORICAL and row["bundle"] == f"{place}/{CATEGORICAL}/bundle"
    assert row["nll"]["value"] == pytest.approx(want.nll, rel=1e-6)
    assert row["nll_per_second"]["value"] == pytest.approx(want.nll_per_second, rel=1e-6)
    assert {name: figure["value"] for name, figure in row["nll_by_field"].items()} == pytest.approx(want.nll_by_field)
    assert {name: tops["top1"]["value"] for name, tops in row["accuracy"].items()} == pytest.approx(want.accuracy)
    pieces = dict(zip(report["pieces"]["piece_id"], report["pieces"]["num_notes"], strict=True))
    assert pieces == {notes.piece_id: len(notes) for notes in HELD_OUT}
    printed = capsys.readouterr().out
    assert f"validation of {place}/data: 2 pieces, 42 notes" in printed
    assert f"{want.nll:.3f}" in printed
    first = (place / "figures.json").read_bytes()
    run(place)
    assert (place / "figures.json").read_bytes() == first, "the same command gives other bytes"


def test_three_heads_side_by_side(report):
    assert [row["name"] for row in report["models"]] == ["unigram", "bigram", "5-gram", CATEGORICAL, MSE, MIXTURE]
    pairs = [(row["name"], row["minus"]) for row in report["differences"]]
    assert [pair for pair in pairs if not {"unigram", "bigram", "5-gram"} & set(pair)] == [
        (MSE, CATEGORICAL),
        (MIXTURE, CATEGORICAL),
        (MIXTURE, MSE),
    ]
    rows = {row["name"]: row for row in report["models"]}
    assert set(rows[CATEGORICAL]["reliability"]) == {"step", "pitch", "duration", "velocity"}
    assert set(rows[MSE]["reliability"]) == set(rows[MIXTURE]["accuracy"]) == {"pitch", "velocity"}
    for name in (CATEGORICAL, MSE, MIXTURE):
        assert set(rows[name]["pit"]) == set(rows[name]["error_milliseconds"]) == {"step", "duration"}
    difference = report["differences"][pairs.index((MSE, CATEGORICAL))]
    assert difference["nll"]["value"] == rows[MSE]["nll"]["value"] - rows[CATEGORICAL]["nll"]["value"]


def test_an_mse_head_counts_with_the_deviation_of_its_bundle(report):
    """Not with that of the split it is measured on, which it could not know."""
    (row,) = (row for row in report["models"] if row["name"] == MSE)
    model = make_model(make_table(timing_loss=MSE))
    pieces = stack_pieces(HELD_OUT, model.table)
    own = Evaluator(model, tf.distribute.OneDeviceStrategy("/cpu:0"), batch_size=2).evaluate(pieces)
    assert row["deviations"] == DEVIATIONS
    want = evaluate_pieces(model, pieces, deviations=DEVIATIONS, batch_size=2).sums["nll_step"].sum() / 42
    assert row["nll_by_field"]["step"]["value"] == pytest.approx(want, rel=1e-6)
    assert row["nll_by_field"]["step"]["value"] > own.nll_by_field["step"] + 1e-3  # the split's own is the best


def test_baselines_are_those_of_the_training_split(place, report):
    table = fields.dataset_table(dataset_info.load(f"{place}/data"))
    want = score_baselines(stack_pieces(TRAIN, table), stack_pieces(HELD_OUT, table), table)
    for row in report["models"][:3]:
        assert row["nll"]["value"] == pytest.approx(want[row["name"]].nll, rel=1e-12)


def test_without_a_training_split_there_are_no_baselines(place):
    write_dataset(f"{place}/music", {"test": HELD_OUT})
    report = run(place, "--data", f"{place}/music", "--split", "test")
    assert [row["name"] for row in report["models"]] == [CATEGORICAL]
    assert report["data"]["split"] == "test"


def test_what_labels_are_worth_stands_beside_the_rest(place, capsys):
    """The model with labels is measured with each piece's own, with none and with others; the other one is not."""
    write_dataset(f"{place}/labelled", {"train": TRAIN, "validation": HELD_OUT}, has_labels=True)
    save_bundle(f"{place}/told/bundle", labels=(COMPOSER, LIVE))
    more = ("--data", f"{place}/labelled", "--no-baselines")
    report = run(place, *more, bundles=(CATEGORICAL, "told"), output="told.json")
    plain, told = report["models"]
    assert "labels" not in plain and "label_values" not in plain
    assert {name for name in report["pieces"]["sums"][CATEGORICAL] if "composer" in name} == set()
    sums = report["pieces"]["sums"]["told"]  # Bach, Mozart; the second is live
    assert sums["known_composer"] == [1, 1] and sums["known_live"] == [0, 1]
    found = told["labels"]
    assert found["composer"]["own"]["value"] == pytest.approx(told["nll"]["value"])
    assert found["composer"]["others"]["value"] == pytest.approx(sum(sums["others_composer"]) / 42)
    assert found["live"]["unknown"]["value"] == pytest.approx(sums["unknown_live"][1] / 33)
    assert set(found["live"]) == {"own", "unknown", "unknown_minus_own"}
    assert told["label_values"]["composer"] == {"num_pieces": 2, "num_values": 2, "by_chance": 0.5, "commonest": 0.5}
    printed = capsys.readouterr().out
    assert "composer: pieces that are likeliest with their own value, %" in printed and "live: nats per note" in printed

    without = run(place, *more, "--label-values", "0", bundles=("told",))["models"][0]
    assert without == {key: value for key, value in told.items() if key not in ("labels", "label_values")}


def test_every_mistake_is_told_at_once(place, tmp_path):
    got = mistakes(
        *("--bundle", f"{tmp_path}/none", f"{place}/mse/bundle", f"{place}/mse/bundle"),
        *("--data", f"{place}/data", "--split", "test", "--output", str(tmp_path)),
        *("--num-resamples", "5", "--batch-size", "0", "--rng-seed", "-1", "--label-values", "-1"),
    )
    assert got == [
        "--num-resamples is '5', want a whole number, 100 to 1000000",
        "--batch-size is '0', want a whole number, 1 to 65536",
        f"--rng-seed is '-1', want a whole number, 0 to {2**63 - 1}",
        "--label-values is '-1', want a whole number, 0 to 4096",
        f"--bundle {place}/mse/bundle is given 2 times, want each once",
        f"--output '{tmp_path}' is a folder, want a file",
        f"{place}/data: the test split holds no note; there are notes in train, validation",
        f"{tmp_path}/none is not a bundle: no bundle.json",
    ]


def test_what_does_not_fit_is_named_bundle_by_bundle(place):
    columns = {"pitch": [61, 66], "velocity": [40, 41], "start": [0, 5], "duration": [10, 10], "program": [3, 3]}
    odd = Notes.from_columns(**{name: np.array(c) for name, c in columns.items()}, tempo=120.0, time_base=BEATS)
    write_dataset(f"{place}/odd", {"validation": [odd]}, time_base=BEATS)
    path = f"{place}/{CATEGORICAL}/bundle"
    assert mistakes("--bundle", path, "--data", f"{place}/odd") == [
        f"{path}: knows a grid of milliseconds, but the dataset has one of beats",
        f"{path}: does not know pitch 61, 66, which the validation split holds",
        f"{path}: does not know velocity 41, which the validation split holds",
        f"{path}: knows only program 0, but the validation split holds program 3",
    ]


def test_a_damaged_shard_is_named(place):
    info = write_dataset(f"{place}/damaged", {"validation": HELD_OUT})
    (path,) = dataset_info.shard_paths(f"{place}/damaged", info, "validation")
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"\0\0\0\0")
    (problem,) = mistakes("--bundle", f"{place}/{CATEGORICAL}/bundle", "--data", f"{place}/damaged")
    assert problem == f"{path}: record 0: the record at byte 0 is damaged: its data have a wrong checksum"


def test_a_signal_ends_it_between_chunks_and_nothing_is_written(place, monkeypatch):
    class Stopped(evaluate.WatchedStop):
        requested = True

        def __init__(self) -> None:
            self._previous = {}

    monkeypatch.setattr(evaluate, "WatchedStop", Stopped)
    with pytest.raises(command.Interrupted, match="start the same command again"):
        run(place, output="stopped.json")
    assert not (place / "stopped.json").exists()


def test_names_in_tables():
    paths = ["runs/a/bundle", "runs/b/bundle/", "old/a/bundle", "best", "x/unigram/bundle"]
    assert evaluate.short_names(paths) == {
        "runs/a/bundle": "runs/a/bundle",
        "runs/b/bundle/": "b",
        "old/a/bundle": "old/a/bundle",
        "best": "best",
        "x/unigram/bundle": "x/unigram/bundle",
    }


def test_pieces_without_near_duplicates_are_resampled_alone(place):
    info = dataset_info.load(f"{place}/data")
    pieces = load_split(f"{place}/data", info, "train", fields.dataset_table(info))
    assert len(np.unique(pieces.group)) == pieces.num_pieces == 3
