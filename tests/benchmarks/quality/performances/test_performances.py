from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.harness import peer_process, synthetic
from benchmarks.harness.machine import ROOT
from benchmarks.quality.performances import __main__ as performances
from benchmarks.quality.performances import performance_data, performance_report
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.midi import midi_writer

HAS_PEERS = (peer_process.PYTHON.parent.parent / ".installed").exists()
PEERS = pytest.mark.skipif(not HAS_PEERS, reason="make peers")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Twelve performances, encoded."""
    folder = tmp_path_factory.mktemp("performances")
    for key in range(12):
        path = folder / "midi" / ("validation" if key < 3 else "train") / f"{key}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_writer.serialize(synthetic.make_notes(key, 90)))
    command = [sys.executable, "-m", "beam_pipelines.encode_corpus", "--split-regex", "(train|validation)/"]
    subprocess.run(
        [*command, "--input", str(folder / "midi"), "--output", str(folder / "data")], check=True, capture_output=True
    )
    return folder / "data"


def parse(*arguments):
    return performances.make_parser().parse_args(arguments)


def test_all_mistakes_are_named_at_once(tmp_path):
    missing = str(tmp_path / "none")
    args = parse(
        *("--data", "asap", "--data", f"a={missing}", "--data", f"a={missing}", "--output", "o"),
        *("--minutes", "0", "--cores", "99", "--validations", "0"),
    )
    with pytest.raises(UserError) as raised:
        performances.check(args)
    text = "\n".join(raised.value.problems)
    for part in (
        "--data is 'asap', want NAME=DATASET",
        "--data names a twice",
        missing,
        "--minutes is 0.0",
        "--cores is 99",
        "--validations is 0",
    ):
        assert part in text


def test_a_folder_of_another_dataset_is_left_alone(dataset, tmp_path):
    performance_data.prepare(str(dataset), tmp_path)
    about = performance_data.read_about(tmp_path)
    (tmp_path / "about.json").write_text(json.dumps({**about, "dataset": "other"}))
    with pytest.raises(UserError, match="belongs to dataset other"):
        performance_data.prepare(str(dataset), tmp_path)


def test_arrays_and_baselines(dataset, tmp_path):
    performance_data.prepare(str(dataset), tmp_path)
    about, info = performance_data.read_about(tmp_path), dataset_info.load(str(dataset))
    arrays = np.load(tmp_path / "arrays.npz")
    assert about["validation"]["num_notes"] == info.splits["validation"].num_notes == 270
    assert arrays["validation_bins"].shape == (273, 4) and arrays["train_first_event"].tolist()[-1] == 9 * 91
    assert arrays["validation_bins"][90].tolist() == [0, 0, 0, 0]
    assert about["table"]["fields"] == ["step", "pitch", "duration", "velocity"]
    assert {name: set(row) for name, row in about["baselines"].items()} == {
        name: set(about["table"]["fields"]) for name in ("unigram", "bigram", "5-gram")
    }


def test_settings_of_a_run_are_not_mixed(tmp_path):
    place = tmp_path / "run"
    done = performances.TimedRun(
        [sys.executable, "-c", ""], {"output": str(place), "seconds": 1, "cores": [0], "lags": (1, 2)}
    )
    performances.execute(done)
    performances.execute(performances.TimedRun(done.command, {**done.setup, "cores": [1]}))
    with pytest.raises(UserError, match="a run with other seconds"):
        performances.execute(performances.TimedRun(done.command, {**done.setup, "seconds": 2}))


def test_a_training_that_fails_is_a_fault(tmp_path):
    run = performances.TimedRun([sys.executable, "-c", "raise SystemExit(3)"], {"output": str(tmp_path), "seconds": 1})
    with pytest.raises(RuntimeError, match="ended with status 3"):
        performances.execute(run)


def test_the_report_takes_the_best_validation(tmp_path):
    about = {
        "validation": {"num_pieces": 1, "num_notes": 10, "seconds": 4.0},
        "baselines": {name: {"step": 2.0, "pitch": 3.0} for name in ("unigram", "bigram", "5-gram")},
    }
    points = [
        {"seconds": 60.0 * at, "steps": at, "events": 9 * at, "nll": nll, "by_field": {"step": 1.0, "pitch": nll - 1}}
        for at, nll in ((1, 4.0), (2, 3.5), (3, 3.75))
    ]
    (tmp_path / "tunes" / "mixture").mkdir(parents=True)
    (tmp_path / "tunes" / "about.json").write_text(json.dumps(about))
    curve = {"about": {"parameters": 7}, "points": points}
    (tmp_path / "tunes" / "mixture" / "curve.json").write_text(json.dumps(curve))
    report = performance_report.collect(tmp_path, ["tunes"])
    models = report["datasets"]["tunes"]["models"]
    assert models["unigram"] == {"nll": 5.0, "nll_per_second": 12.5, "by_field": {"step": 2.0, "pitch": 3.0}}
    assert models["mixture"] == {
        "nll": 3.5,
        "nll_per_second": 8.75,
        "by_field": {"step": 1.0, "pitch": 2.5},
        "minutes": 3.0,
        "steps": 3,
        "events": 27,
        "parameters": 7,
        "curve": [[60.0, 4.0], [120.0, 3.5], [180.0, 3.75]],
    }
    assert performance_report.peer_versions(tmp_path) == {}
    (tmp_path / "tunes" / "transformer").mkdir()
    (tmp_path / "tunes" / "transformer" / "curve.json").write_text(json.dumps({"about": {"torch": "2"}, "points": []}))
    assert performance_report.peer_versions(tmp_path) == {"torch": "2"}
    performance_report.draw(report, tmp_path)
    assert (tmp_path / "tunes.png").read_bytes().startswith(b"\x89PNG")


PEER_CHECK = """
import json, sys, torch, numpy as np
from benchmarks.peers import transformer as peer
setup = json.load(open(sys.argv[1]))
arrays = np.load(setup["arrays"])
train, validation = (peer.load_split(arrays, name) for name in ("train", "validation"))
trainer = peer.Trainer(setup, train)
with torch.no_grad():
    for output in trainer.model.note_model.head_outputs:
        output.weight.zero_()
    trainer.model.note_model.head_inputs.weight[-1].zero_()
print(json.dumps(peer.validate(trainer.model.note_model, validation, setup, trainer.log_spans)))
model = peer.Trainer(setup, train).model.eval()
batch = peer.tensors(peer.gather(validation, np.array([[0, 0, 16]]), np.array(setup["num_bins"])))
def run(batch):
    with torch.no_grad():
        return peer.costs(model, batch, trainer.log_spans)
before = run(batch)
batch["previous"][0, 12:], batch["current"][0, 11:] = 1, 1
after = run(batch)
print(max(float((a[0, :11] - b[0, :11]).abs().max()) for a, b in zip(before, after)))
parameters = sum(p.numel() for p in model.parameters())
print(parameters / setup["parameters"])
"""


@PEERS
@pytest.mark.slow
def test_the_transformer_is_scored_on_the_same_notes_and_sees_nothing_of_the_future(dataset, tmp_path):
    performance_data.prepare(str(dataset), tmp_path)
    table = performance_data.read_about(tmp_path)["table"]
    setup = {
        **performances.TRANSFORMER_SETTINGS,
        **table,
        **{"window": 16, "arrays": str(tmp_path / "arrays.npz"), "output": "", "parameters": 1_500_000},
        **{"head_units": 128, "transpose": 5, "rng_seed": 0},
    }
    (tmp_path / "setup.json").write_text(json.dumps(setup))
    command = [str(peer_process.PYTHON), "-c", PEER_CHECK, str(tmp_path / "setup.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    by_field, leak, size = (json.loads(line) for line in done.stdout.splitlines())
    assert leak < 1e-5
    assert size == pytest.approx(1, abs=0.01)
    arrays = np.load(tmp_path / "arrays.npz")
    for index, name in enumerate(table["fields"]):
        assert by_field[name] == pytest.approx(unigram_cost(arrays, table, index), rel=1e-5), name


def unigram_cost(arrays, table, index):
    """Add-one unigram nats per note of a field, with END as a coin of its own that counts as the pitch's."""

    def notes(split):
        keep = np.ones(len(arrays[f"{split}_bins"]), bool)
        keep[arrays[f"{split}_first_event"][1:] - 1] = False
        return arrays[f"{split}_bins"][keep, index]

    counts = np.bincount(notes("train"), minlength=table["num_bins"][index]) + 1
    cost = np.mean((np.array(table["log_spans"][index]) - np.log(counts / counts.sum()))[notes("validation")])
    if table["fields"][index] == "pitch":
        end = 1 / (1 + len(notes("train")) / 9)
        cost -= math.log(1 - end) + 3 * math.log(end) / 270
    return cost


@pytest.mark.slow
def test_the_command_runs_and_goes_on(dataset, tmp_path):
    command = [sys.executable, "-m", "benchmarks.performances", "--quick", "--data", f"tunes={dataset}"]
    command += ["--output", str(tmp_path / "out"), "--cores", "1"]
    first = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout.splitlines()[-1])
    trained = {"categorical", "mixture", "mse"} | ({"transformer"} if HAS_PEERS else set())
    models = report["datasets"]["tunes"]["models"]
    assert set(models) == trained | {"unigram", "bigram", "5-gram"}
    for name, model in models.items():
        assert model["nll"] == pytest.approx(sum(model["by_field"].values()))
        assert name not in trained or len(model["curve"]) == 2
    # The second half of a training is lost, and made up for.
    place = tmp_path / "out" / "tunes" / "categorical" / "curve.json"
    assert sorted(path.name for path in place.parent.glob("checkpoint*")) == ["checkpoint-2"]
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["datasets"] == report["datasets"]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["categorical", pytest.param("transformer", marks=PEERS)])
def test_a_training_goes_on_from_its_last_validation(dataset, tmp_path, side):
    performance_data.prepare(str(dataset), tmp_path / "tunes")
    curve = tmp_path / "tunes" / side / "curve.json"
    if side == "transformer":  # its size is that of a run of ours
        (tmp_path / "tunes" / "categorical").mkdir()
        ours = tmp_path / "tunes" / "categorical" / "curve.json"
        ours.write_text(json.dumps({"about": {"parameters": 50_000}, "points": [{}, {}]}))
    args = parse("--data", f"tunes={dataset}", "--output", str(tmp_path), "--quick", "--cores", "1")
    config = performances.check(args)[1]
    plan = performances.plan("tunes", str(dataset), config, args, with_peer=True)
    run = next(run for run in plan if run.folder.name == side)
    half = performances.TimedRun(run.command, {**run.setup, "seconds": run.setup["seconds"] / 2, "validations": 1})
    performances.execute(half)
    first = json.loads(curve.read_text())["points"]
    (tmp_path / "tunes" / side / "setup.json").unlink()
    performances.execute(run)
    points = json.loads(curve.read_text())["points"]
    assert len(points) == 2 and points[:1] == first
    assert points[1]["steps"] > first[0]["steps"] and points[1]["seconds"] > first[0]["seconds"]
    assert len(list(curve.parent.glob("checkpoint*"))) == 1
