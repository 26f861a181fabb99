import dataclasses
import json

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

CELL_WEIGHTS = ("kernel", "recurrent_kernel", "bias")
CONFIG = {"units": 16, "layers": 2, "head_units": 16, "dropout": 0.1}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    model = NoteModel(ModelConfig(**CONFIG), make_table())
    return Bundle(
        config=CONFIG,
        fields=model.table,
        dataset={"hash": "d" * 32, "time_base": "milliseconds", "num_notes": 3},
        metrics={"validation_nll": 1.5},
        deviations={"step": 2.5},
        weights=bundle_lib.get_weights(model),
    )


def problem_of(folder) -> str:
    with pytest.raises(UserError) as error:
        bundle_lib.load(str(folder))
    return str(error.value)


def test_load_gives_back_what_save_wrote(bundle, tmp_path):
    bundle_lib.save(str(tmp_path), bundle)
    loaded = bundle_lib.load(str(tmp_path))
    for name in ("config", "fields", "dataset", "metrics", "deviations", "hash"):
        assert getattr(loaded, name) == getattr(bundle, name)
    assert loaded.weights.keys() == bundle.weights.keys()
    for name, array in bundle.weights.items():
        assert loaded.weights[name].dtype == np.float32 and (loaded.weights[name] == array).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", f"weights-{bundle.hash}.npz"]


def test_names_of_weights_are_the_same_in_every_instance(bundle):
    again = bundle_lib.get_weights(NoteModel(ModelConfig(**CONFIG), make_table()))
    assert again.keys() == bundle.weights.keys()
    assert {"head_kernel", "embedding_pitch", "condition_velocity_step"} <= again.keys()
    assert {f"lstm_{layer}/lstm_cell/{name}" for layer in (0, 1) for name in CELL_WEIGHTS} <= (again.keys())


def test_the_model_of_a_bundle_has_its_weights(bundle):
    rebuilt = bundle_lib.get_weights(bundle.build_model())
    assert all((rebuilt[name] == array).all() for name, array in bundle.weights.items())


def test_the_hash_covers_model_fields_and_weights_and_nothing_else(bundle):
    name = next(iter(bundle.weights))
    nudged = {**bundle.weights, name: np.nextafter(bundle.weights[name], np.float32(9))}
    renamed = {("x" if key == name else key): array for key, array in bundle.weights.items()}
    others = [
        dataclasses.replace(bundle, weights=nudged),
        dataclasses.replace(bundle, weights=renamed),
        dataclasses.replace(bundle, config={**CONFIG, "layers": 3}),
        dataclasses.replace(bundle, fields=make_table(programs=(0, 1))),
    ]
    assert len({bundle.hash, *(other.hash for other in others)}) == 5
    assert dataclasses.replace(bundle, metrics={}, dataset={}).hash == bundle.hash
    assert len(bundle.hash) == 32 and int(bundle.hash, 16) >= 0


def test_metrics_are_added_to_the_description_alone(bundle, tmp_path):
    bundle_lib.save(str(tmp_path), bundle_lib.as_float16(bundle, max_bytes=10**6))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "bundle.json"}
    assert bundle_lib.load(str(tmp_path)).sampling == {}
    bundle_lib.add_metrics(str(tmp_path), {"copying": 1.3})
    loaded = bundle_lib.load(str(tmp_path))
    assert (loaded.metrics, loaded.sampling) == ({"validation_nll": 1.5, "copying": 1.3}, {"copying": 1.3})
    bundle_lib.add_metrics(str(tmp_path), {"sampling": {"copying": 1.5, "min_p": 0.03}})
    assert bundle_lib.load(str(tmp_path)).sampling == {"copying": 1.5, "min_p": 0.03}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "bundle.json"} == before


def test_new_weights_replace_the_old_ones(bundle, tmp_path):
    bundle_lib.save(str(tmp_path), bundle)
    better = dataclasses.replace(bundle, weights={name: 2 * array for name, array in bundle.weights.items()})
    bundle_lib.save(str(tmp_path), better)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", f"weights-{better.hash}.npz"]
    assert bundle_lib.load(str(tmp_path)).hash == better.hash


def test_weights_of_float16_are_kept_so_and_come_back_as_float32(bundle, tmp_path):
    halves = {name: array.astype(np.float16) for name, array in bundle.weights.items()}
    half = dataclasses.replace(bundle, weights=halves)
    bundle_lib.save(str(tmp_path), half)
    stored = np.load(tmp_path / f"weights-{half.hash}.npz")
    assert {stored[name].dtype for name in stored.files} == {np.dtype(np.float16)}
    loaded = bundle_lib.load(str(tmp_path))
    assert loaded.hash == half.hash != bundle.hash
    for name, array in halves.items():
        assert loaded.weights[name].dtype == np.float32 and (loaded.weights[name] == array).all()


def test_a_folder_without_a_bundle(tmp_path):
    assert problem_of(tmp_path) == f"{tmp_path} is not a bundle: no bundle.json"


def test_a_run_folder_in_place_of_its_bundle(bundle, tmp_path):
    bundle_lib.save(str(tmp_path / "bundle"), bundle)
    found = problem_of(tmp_path)
    assert found == f"{tmp_path} is not a bundle: no bundle.json; did you mean {tmp_path}/bundle?"


def test_a_description_that_is_not_json(tmp_path):
    (tmp_path / "bundle.json").write_text("{")
    assert problem_of(tmp_path).startswith(f"{tmp_path}/bundle.json: not JSON: ")


def test_another_version(bundle, tmp_path):
    (tmp_path / "bundle.json").write_text('{"format_version": 3}')
    assert problem_of(tmp_path) == f"{tmp_path}/bundle.json: format_version is 3, want 2"


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_weights_that_are_cut_off(bundle, tmp_path, keep):
    bundle_lib.save(str(tmp_path), bundle)
    path = tmp_path / f"weights-{bundle.hash}.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert problem_of(tmp_path).startswith(f"{path}: not readable as the bundle's weights: ")


def test_weights_that_are_gone(bundle, tmp_path):
    bundle_lib.save(str(tmp_path), bundle)
    path = tmp_path / f"weights-{bundle.hash}.npz"
    path.unlink()
    assert problem_of(tmp_path).startswith(f"{path}: not readable as the bundle's weights: ")


def test_weights_of_another_model(bundle, tmp_path):
    bundle_lib.save(str(tmp_path), bundle)
    described = json.loads((tmp_path / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps({**described, "hash": "0" * 32}))
    assert problem_of(tmp_path) == f"{tmp_path}: the weights' hash is {bundle.hash}, but bundle.json names {'0' * 32}"


def test_a_missing_weight_is_named(bundle):
    model = bundle.build_model()
    with pytest.raises(ValueError, match=r"weights differ from the model's: \['head_bias'\]"):
        bundle_lib.set_weights(model, {name: a for name, a in bundle.weights.items() if name != "head_bias"})
