"""The exported model against the one it comes from; the export is loaded by a process that cannot import our code."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from job_runtime.command import OK
from job_runtime.problem_report import UserError
from midi_codec.dataset.labels import Vocabulary
from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.tiny import ALL_PITCHES, COMPOSER, LIVE, make_many, make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.export import __main__ as export
from trainer.model.likelihoods import gaussian_tick_nll
from trainer.model.mixture import Mixture
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

pytestmark = pytest.mark.slow  # a process with TensorFlow for each model

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "export.md"
PLAIN = ModelConfig(units=32, layers=2, head_units=16)
DEEP = dataclasses.replace(
    PLAIN, layers=3, layer_norm=True, residual=True, tied_embeddings=True, recurrent_dropout=0.2, embedding_dropout=0.1
)
CONTEXT = dataclasses.replace(
    PLAIN, context_units=16, context_notes=32, context_lags=(8, 25), context_periods=(50,), layer_norm=True
)
COPYING = {"attention": "copy", "attention_notes": 24, "attention_chord": 4}
CASES = {
    "categorical": (CATEGORICAL, (0, 128), PLAIN),
    "mse": (MSE, (), PLAIN),
    "mixture": (MIXTURE, (), PLAIN),
    "deep, labels": (CATEGORICAL, (), DEEP, (COMPOSER, LIVE)),
    "context": (CATEGORICAL, (), CONTEXT),
    "copying": (CATEGORICAL, (0, 128), dataclasses.replace(PLAIN, **COPYING)),
    "context, copying, labels": (
        CATEGORICAL,
        (),
        dataclasses.replace(CONTEXT, **COPYING, attention_lags=(2, 12)),
        (COMPOSER, LIVE),
    ),
}
WITHOUT_OUR_CODE = """
import sys
sys.modules["trainer"] = sys.modules["midi_codec"] = sys.modules["generation_jobs"] = None  # importing them fails
"""
CALL_ALL = """
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
call = model.signatures

def say(notes, lengths):
    said = {"nll": call["likelihood"](notes=notes, length=lengths)["nll"].numpy()}
    start = call["start"](batch_size=tf.shape(notes)[0])
    before, state = start["note"], start["state"]
    for index in range(notes.shape[1] + 1):
        out = call["step"](note=before, state=state)
        state = out["state"]
        said[f"{index}/end"] = out["end_log_odds"].numpy()
        if index == notes.shape[1]:
            return said
        before = notes[:, index]
        for name in call:
            if name.startswith("head_"):
                for key, value in call[name](hidden=out["hidden"], note=before).items():
                    said[f"{index}/{name[5:]}/{key}"] = value.numpy()

for folder in sys.argv[2:]:
    given = np.load(f"{folder}/in.npz")
    np.savez(f"{folder}/out.npz", **say(tf.constant(given["notes"]), tf.constant(given["lengths"])))
"""


def make_bundle(
    timing_loss: str, programs: tuple[int, ...], config: ModelConfig, labels: tuple[Vocabulary, ...] = ()
) -> Bundle:
    pitches = {"pitches": ALL_PITCHES} if config.context_units else {}
    table = make_table(timing_loss=timing_loss, programs=programs, **pitches)
    table = dataclasses.replace(table, labels=labels)
    model = NoteModel(config, table)
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.05 if "context" in variable.path else 0.3, variable.shape))
    return Bundle(
        config=dataclasses.asdict(config),
        fields=table,
        dataset={"hash": "d" * 32, "time_base": "milliseconds"},
        metrics={"validation_nll": 1.5},
        deviations={"step": 3.0, "duration": 9.0} if timing_loss == MSE else {},
        weights=bundle_lib.get_weights(model),
    )


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def exported(request, tmp_path_factory) -> tuple[Bundle, str]:
    bundle, folder = make_bundle(*request.param), tmp_path_factory.mktemp("exported")
    bundle_lib.save(str(folder / "bundle"), bundle)
    assert export.main(["--bundle", str(folder / "bundle"), "--output", str(folder / "out")]) == OK
    return bundle, str(folder / "out")


def run_without_our_code(script: str, *argv: str) -> str:
    line = [sys.executable, "-I", "-c", WITHOUT_OUR_CODE + script, *argv]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_process_gets_the_models_numbers(exported, tmp_path):
    bundle, folder = exported
    table, model = bundle.fields, bundle.build_model()
    pieces = [table.raw(notes) for notes in make_many([7, 4])]
    lengths = np.array([7, 4], np.int32)
    notes = np.full((2, 7, len(table)), -7, np.int32)  # what lies behind a piece is not read
    notes[0], notes[1, :4] = pieces
    folders = {name: tmp_path / name for name in ("in", "whole")}
    for name, given in folders.items():
        if name == "whole":
            notes[1, 4:] = pieces[1][0]  # `step` and heads are asked there, too
        given.mkdir()
        np.savez(given / "in.npz", notes=notes, lengths=lengths)
    run_without_our_code(CALL_ALL, folder, *map(str, folders.values()))
    said = {name: dict(np.load(given / "out.npz")) for name, given in folders.items()}
    np.testing.assert_array_equal(said["in"]["nll"], said["whole"]["nll"])

    bins = table.encode(notes)
    previous = np.concatenate([np.tile(model.start_bins, (2, 1, 1)), bins[:, :-1]], axis=1)
    outputs, _ = model(previous, bins, model.zero_state(2), raw=tf.constant(notes), is_note=tf.ones([2, 7]))
    for place in range(7):
        np.testing.assert_allclose(said["whole"][f"{place}/end"], outputs.end_logit[:, place], rtol=1e-4, atol=1e-5)
        for field in table:
            got = {
                key.split("/")[2]: value
                for key, value in said["whole"].items()
                if key.startswith(f"{place}/{field.name}/")
            }
            for key, want in wanted_of(field, outputs.fields[field.name][:, place], bundle).items():
                np.testing.assert_allclose(got.pop(key), want, rtol=1e-4, atol=1e-4)
            assert got == {}


def wanted_of(field, output, bundle: Bundle) -> dict[str, np.ndarray]:
    if field.loss == MSE:
        return {"mean": output.numpy(), "deviation": np.full(2, bundle.deviations[field.name])}
    if field.loss == MIXTURE:
        return {key: value.numpy() for key, value in vars(Mixture.of(output)).items()}
    return {"log_probabilities": tf.nn.log_softmax(output[:, : field.num_bins]).numpy()}


def test_likelihood_is_what_the_heads_say_of_each_note(exported):
    bundle, folder = exported
    call = tf.saved_model.load(folder).signatures
    table = bundle.fields
    notes = table.raw(make_many([5])[0])
    nll = call["likelihood"](notes=tf.constant(notes[None]), length=tf.constant([5]))["nll"].numpy()[0]
    assert nll.shape == (6, len(table)) and nll.dtype == np.float64
    start = call["start"](batch_size=tf.constant(1))
    before, state = start["note"], start["state"]
    assert before.numpy().tolist() == [[-1] * len(table)]
    for place in range(6):
        out = call["step"](note=before, state=state)
        state = out["state"]
        odds = float(out["end_log_odds"][0])
        if place == 5:
            want = [0.0] * len(table)
            want[1] = np.logaddexp(0, -odds)
            np.testing.assert_allclose(nll[place], want, atol=1e-4)
            break
        before = tf.constant(notes[place : place + 1])
        for index, field in enumerate(table):
            said = call[f"head_{field.name}"](hidden=out["hidden"], note=before)
            if field.loss == MIXTURE:
                continue
            if field.loss == MSE:
                want = float(gaussian_tick_nll(notes[place, index], said["mean"][0], bundle.deviations[field.name]))
            else:
                bin_ = field.encode(notes[place, index])
                want = field.log_spans[bin_] - float(said["log_probabilities"][0, bin_])
            want += np.logaddexp(0, odds) if field.name == "pitch" else 0
            assert nll[place, index] == pytest.approx(want, rel=1e-4, abs=1e-4)


def test_labels_are_the_models(exported):
    bundle, folder = exported
    call = tf.saved_model.load(folder).signatures
    if not bundle.fields.labels:
        assert {"start_with_labels", "likelihood_with_labels"}.isdisjoint(call)
        return
    table, model = bundle.fields, bundle.build_model()
    notes = np.stack([table.raw(make_many([4])[0])] * 3)
    labels = tf.constant([[0, 0], [2, 1], [1, 0]])
    given = {"notes": tf.constant(notes), "length": tf.fill([3], 4)}
    nll = call["likelihood_with_labels"](**given, labels=labels)["nll"].numpy()
    np.testing.assert_array_equal(nll[0], call["likelihood"](**given)["nll"].numpy()[0])
    assert abs(nll[1] - nll[0]).max() > 0.01 and abs(nll[2] - nll[1]).max() > 0.01
    bins = table.encode(notes)
    previous = np.concatenate([np.tile(model.start_bins, (3, 1, 1)), bins[:, :-1]], axis=1)
    state = model.with_labels(model.zero_state(3), labels)
    outputs, _ = model(previous, bins, state, raw=tf.constant(notes), is_note=tf.ones([3, 4]))
    start = call["start_with_labels"](batch_size=tf.constant(3), labels=labels)
    before, state = start["note"], start["state"]
    for place in range(4):
        out = call["step"](note=before, state=state)
        before, state = tf.constant(notes[:, place]), out["state"]
        np.testing.assert_allclose(out["end_log_odds"], outputs.end_logit[:, place], rtol=1e-4, atol=1e-5)
        odds = outputs.end_logit[:, place].numpy().astype(np.float64)
        velocity = tf.nn.log_softmax(outputs.fields["velocity"][:, place, :2]).numpy()
        np.testing.assert_allclose(nll[:, place, 3], -velocity[range(3), bins[:, place, 3]], rtol=1e-4, atol=1e-4)
        assert (nll[:, place, 1] > np.logaddexp(0, odds) - 1e-4).all()


def test_draws_cost_what_likelihood_says(exported):
    bundle, folder = exported
    call = tf.saved_model.load(folder).signatures
    rng = np.random.default_rng(3)
    start = call["start"](batch_size=tf.constant(4))
    note, state = start["note"], start["state"]
    drawn, log_likelihood, odds = [], [], []
    for _ in range(6):
        out = call["step"](note=note, state=state)
        state = out["state"]
        uniform = tf.constant(rng.uniform(1e-6, 1 - 1e-6, (4, 2 * len(bundle.fields))), tf.float32)
        said = call["draw"](note=note, hidden=out["hidden"], uniform=uniform, temperature=tf.ones([4]))
        note = said["note"]
        drawn.append(note.numpy())
        log_likelihood.append(said["log_likelihood"].numpy())
        odds.append(out["end_log_odds"].numpy())
    notes = np.stack(drawn, axis=1)
    assert (notes[:, 0, 0] == 0).all() and len(np.unique(notes[:, 1:, 1])) > 1
    nll = call["likelihood"](notes=tf.constant(notes), length=tf.fill([4], 6))["nll"].numpy()
    want = np.logaddexp(0, np.stack(odds, axis=1)) - np.stack(log_likelihood, axis=1)
    np.testing.assert_allclose(nll[:, :6].sum(axis=2), want, rtol=1e-3, atol=1e-3)


def test_the_sampler_of_the_docs_runs(exported):
    bundle, folder = exported
    (script,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lines = run_without_our_code(script, folder).splitlines()
    assert len(lines) == 4
    for line in lines:
        count, _, values = line.partition(" notes: ")
        notes = np.array(json.loads(values))
        assert notes.shape == (int(count), len(bundle.fields)) and 1 <= int(count) <= 64
        assert set(notes[:, 1]) <= set(bundle.fields["pitch"].values) and notes[0, 0] == 0 and (notes[:, 0] <= 30).all()


def test_the_description_says_what_the_numbers_mean(exported):
    bundle, folder = exported
    described = json.loads(pathlib.Path(folder, "model.json").read_text(encoding="utf-8"))
    assert described["bundle"] == bundle.hash and described["validation_nll"] == 1.5
    assert described["fields"] == json.loads(json.dumps(bundle.fields.to_json()))


def test_a_folder_with_a_model_is_left_alone(exported):
    _, folder = exported
    before = pathlib.Path(folder, "saved_model.pb").read_bytes()
    with pytest.raises(UserError, match="holds a SavedModel already"):
        export.main(["--bundle", str(pathlib.Path(folder).parent / "bundle"), "--output", folder])
    assert pathlib.Path(folder, "saved_model.pb").read_bytes() == before


def test_the_model_comes_last(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(export.storage, "write_bytes", lambda path, data: written.append(path))
    export.export(make_bundle(*CASES["mse"]), str(tmp_path / "out"))
    assert written[-1].endswith("saved_model.pb") and len(written) >= 4


def test_no_bundle_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="is not a bundle"):
        export.main(["--bundle", str(tmp_path), "--output", str(tmp_path / "out")])
