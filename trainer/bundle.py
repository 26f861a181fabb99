"""The bundle: what the trainer hands on. A folder that can be read with NumPy alone.

    bundle.json              written last: format version, model config, field table, dataset, metrics, weights' name
    weights-<hash>.npz       one array per weight, by its path in the model: float32, or float16 to save space

The hash of a bundle covers the model config, the field table and every weight: the same hash means the same model.
A bundle is replaced as a whole: new weights get a new name, and the old ones are deleted once `bundle.json` names the
new.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import numpy as np

from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.fields import FieldTable
from trainer import box_model, piece_lengths
from trainer.model.model_config import ModelConfig
from trainer.model.precision import FLOAT32

if TYPE_CHECKING:
    from trainer.model.note_model import NoteModel

FEW_RESTRIKES = 0.001  # of the notes: with no more of them, a key that is struck again ends its note
FORMAT_VERSION = 2
FILE_NAME = "bundle.json"
_WEIGHTS = re.compile(r"[0-9A-Za-z_-]+\.npz")


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A trained model and where it comes from.

    Attributes:
      config: the fields of `trainer.model.model_config.ModelConfig`.
      fields: the field table.
      dataset: of the dataset it was trained on: `hash`, `time_base`, of its training split `num_notes`,
        `duplicate_notes` (they repeat the onset, pitch and program of another note), `restrike_share` (of its notes,
        how many begin while their pitch and program sounds) and `notes_per_piece` (`trainer.piece_lengths`), and the
        `limits` and `cleaning` it was encoded with. Bundles of earlier versions have fewer of these.
      metrics: validation likelihoods, baselines, accuracy, error; see `trainer.evaluation.validation`.
      deviations: of an MSE head, the standard deviation of its validation residual in ticks, by field.
      weights: arrays by path.
    """

    config: dict[str, Any]
    fields: FieldTable
    dataset: dict[str, Any]
    metrics: dict[str, Any]
    deviations: dict[str, float]
    weights: dict[str, np.ndarray]

    @property
    def hash(self) -> str:
        """32 hex digits."""
        return content_hash(self.config, self.fields, self.weights)

    @property
    def may_have_duplicate_notes(self) -> bool:
        """Whether the training split has duplicate notes; True if the bundle does not say."""
        return self.dataset.get("duplicate_notes") != 0

    @property
    def may_restrike(self) -> bool:
        """Whether notes of the training split begin while their key sounds; True if the bundle does not say."""
        return self.dataset.get("restrike_share", 1.0) > FEW_RESTRIKES

    @property
    def copies(self) -> bool:
        """Whether the model copies from the piece so far."""
        return ModelConfig(**self.config).sources is not None

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Settings to generate with, by name: what `generation_jobs.calibrate` found."""
        older = {"copying": self.metrics["copying"]} if "copying" in self.metrics else {}
        return self.metrics.get("sampling", older)

    def build_model(self, precision: str = FLOAT32) -> NoteModel:
        """The Keras model with these weights; imports TensorFlow.

        Raises:
          UserError: no model has these sizes, or the weights are not those of such a model.
        """
        from trainer.model.note_model import NoteModel

        config = ModelConfig(**self.config)
        problems = [f"config.{problem}" for problem in config.problems()]
        kernel = (config.units, 4 * config.units)
        if not any(
            array.shape == kernel for array in self.weights.values()
        ):  # checked before much larger ones are made
            problems.append(f"no weight is a recurrent kernel of {config.units} units")
        if problems:
            raise UserError(f"bundle {self.hash}: {problem}" for problem in problems)
        model = NoteModel(config, self.fields, precision=precision)
        try:
            set_weights(model, self.weights)
        except ValueError as error:
            raise UserError(f"bundle {self.hash}: {error}") from error
        return model


def content_hash(config: Mapping[str, Any], fields: FieldTable, weights: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps([dict(config), fields.to_json()], sort_keys=True).encode())
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], np.dtype("<f4"))
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def get_weights(model: NoteModel) -> dict[str, np.ndarray]:
    """The model's weights as arrays by path."""
    return {_path(weight): np.asarray(weight.value) for weight in model.trainable_variables}


def set_weights(model: NoteModel, weights: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into the model.

    Raises:
      ValueError: a weight is missing, or there are too many.
    """
    variables = {_path(weight): weight for weight in model.trainable_variables}
    if variables.keys() != weights.keys():
        raise ValueError(f"weights differ from the model's: {sorted(variables.keys() ^ weights.keys())}")
    for path, variable in variables.items():
        variable.assign(weights[path])


def _path(variable: Any) -> str:
    """A weight's path without the model's own name, which Keras numbers per instance."""
    return variable.path.split("/", 1)[1] if variable.path.startswith("note_model") else variable.path


def save(folder: str, bundle: Bundle) -> None:
    """Writes the bundle, whole or not at all, with the weights in their dtype.

    The hash is that of the same weights as float32, which is what `load` returns.
    """
    name = f"weights-{bundle.hash}.npz"
    arrays = {path.replace("/", "."): array for path, array in bundle.weights.items()}
    array_file.write(storage.join(folder, name), arrays)
    described = {
        "format_version": FORMAT_VERSION,
        "hash": bundle.hash,
        "weights": name,
        "config": bundle.config,
        "fields": bundle.fields.to_json(),
        "dataset": bundle.dataset,
        "metrics": bundle.metrics,
        "deviations": bundle.deviations,
    }
    storage.write_bytes(storage.join(folder, FILE_NAME), _to_json(described))
    for entry in list(storage.list_files(folder)):
        other = entry.path.rsplit("/", 1)[-1]
        if other.startswith("weights-") and other.endswith(".npz") and other != name:
            storage.delete(entry.path)


def add_metrics(folder: str, metrics: Mapping[str, Any]) -> None:
    """Adds to the metrics of a bundle's description, whose weights and hash stay.

    Raises:
      UserError: as `load_description`.
    """
    described = load_description(folder)
    described["metrics"] = {**described["metrics"], **metrics}
    storage.write_bytes(storage.join(folder, FILE_NAME), _to_json(described))


def _to_json(described: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(described, indent=1)}\n".encode()


def as_float16(bundle: Bundle, *, max_bytes: int) -> Bundle:
    """The bundle with float16 weights, which take half the space.

    Raises:
      UserError: a weight does not fit float16, or all of them take more than `max_bytes`.
    """
    with np.errstate(over="ignore"):  # checked below
        weights = {path: array.astype(np.float16) for path, array in bundle.weights.items()}
    problems = [
        f"{path} has values that float16 does not hold"
        for path, array in weights.items()
        if not np.isfinite(array).all()
    ]
    size = sum(array.nbytes for array in weights.values())
    if size > max_bytes:
        problems.append(f"the weights take {size} bytes as float16, want at most {max_bytes}")
    if problems:
        raise UserError(problems)
    return dataclasses.replace(bundle, weights=weights)


def load(folder: str) -> Bundle:
    """Reads a bundle; `box_model.BOX` is the model in the box on the grid of beats.

    Raises:
      UserError: there is none, its format is unknown, or its weights do not match its description.
    """
    folder = box_model.folder() if folder == box_model.BOX else folder
    described = load_description(folder)
    try:
        table = FieldTable.from_json(described["fields"])
    except json_text.JsonError as error:
        description = storage.join(folder, FILE_NAME)
        raise UserError(f"{description}: fields: {problem}" for problem in error.problems) from error
    path = storage.join(folder, described["weights"])
    try:
        arrays = array_file.read(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as the bundle's weights: {error}") from error
    if problems := [
        f"{path}: {name} holds {array.dtype}, want float32 or float16"
        for name, array in arrays.items()
        if array.dtype not in (np.float16, np.float32)
    ]:
        raise UserError(problems)
    weights = {name.replace(".", "/"): array.astype(np.float32, copy=False) for name, array in arrays.items()}
    bundle = Bundle(
        config=described["config"],
        fields=table,
        dataset=described["dataset"],
        metrics=described["metrics"],
        deviations=described["deviations"],
        weights=weights,
    )
    if bundle.hash != described["hash"]:
        raise UserError(f"{folder}: the weights' hash is {bundle.hash}, but {FILE_NAME} names {described['hash']}")
    return bundle


def load_description(folder: str) -> dict[str, Any]:
    """Reads and checks `bundle.json` alone: fields and metrics without the weights.

    Raises:
      UserError: there is none, or everything that is wrong with it.
    """
    path = storage.join(folder, FILE_NAME)
    try:
        json_text.load(path, _Versioned)
        return json_text.load(path, _Description)
    except FileNotFoundError as error:
        below = storage.join(folder, "bundle")  # where a run folder has its bundle
        hint = f"; did you mean {below}?" if storage.exists(storage.join(below, FILE_NAME)) else ""
        raise UserError(f"{folder} is not a bundle: no {FILE_NAME}{hint}") from error


class _Versioned(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]


class _DatasetName(TypedDict):
    hash: str
    time_base: str


class _Dataset(_DatasetName, total=False):
    """What some reader uses, besides its name."""

    notes_per_piece: Annotated[
        Mapping[str, float], json_text.Constraint(piece_lengths.is_valid, "ascending numbers of notes by percentage")
    ]


_Figures = Mapping[str, float]


class _Baseline(TypedDict):
    nll: float
    by_field: _Figures


class _Metrics(TypedDict, total=False):
    """The metrics that some reader uses; each reader checks that it has those it needs."""

    step: int
    num_notes: int
    validation_nll: float
    validation_nll_by_field: _Figures
    nll_per_second: float
    accuracy: _Figures
    error_milliseconds: _Figures
    baselines: Mapping[str, _Baseline]
    end_shift: float
    copying: float
    sampling: dict[str, Any]


class _Description(_Versioned):
    hash: str
    weights: Annotated[str, json_text.Constraint(_WEIGHTS.fullmatch, "the name of a file beside it")]
    config: ModelConfig
    fields: dict[str, Any]
    dataset: _Dataset
    metrics: _Metrics
    deviations: Mapping[str, Annotated[float, json_text.Constraint(lambda value: value > 0, "a number above 0")]]
