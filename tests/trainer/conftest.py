"""Four CPU devices in the test process, so that strategies of several replicas run here, and cheap runs.

Devices are fixed when TensorFlow first computes something; this file is loaded before any test runs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import FieldTable
from tests.trainer.tiny import PIECES_BY_SPLIT, write_dataset
from trainer.config import TrainConfig
from trainer.evaluation.validation import Evaluator
from trainer.model.note_model import NoteModel
from trainer.model.recurrent import batch_halves
from trainer.training.train_step import TrainStep

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration() for _ in range(4)]
)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> str:
    """A dataset of five pieces to train with and two to validate with."""
    root = str(tmp_path_factory.mktemp("data"))
    write_dataset(root, PIECES_BY_SPLIT)
    return root


@pytest.fixture(scope="module")
def eagerly() -> Iterator[None]:
    """A module's models run op by op: tracing one takes as long as running it a dozen times."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def compiled_once() -> Iterator[None]:
    """Runs of a module on one device share the compiled steps and evaluators; each begins with the initial weights.

    Batches stay whole, which halves what is traced, and TensorBoard gets no histograms. Steps that are compiled anew,
    in two parts and under every strategy, are in `training/test_train_step.py` and `evaluation/test_validation.py`.
    """
    steps: dict[Any, tuple[TrainStep, list[np.ndarray]]] = {}
    evaluators: dict[Any, Evaluator] = {}
    make_step, make_evaluator = TrainStep.__init__, Evaluator.__init__

    def init_step(self: TrainStep, config: TrainConfig, table: FieldTable, strategy: tf.distribute.Strategy) -> None:
        if not isinstance(strategy, tf.distribute.OneDeviceStrategy):
            make_step(self, config, table, strategy)
            return
        key = table, config.model, config.weight_average, config.weight_decay, config.clip_norm, config.rng_seed
        if key not in steps:
            make_step(self, config, table, strategy)
            steps[key] = self, [np.array(variable.value) for variable in self.variables]
        first, initial = steps[key]
        self.__dict__ = first.__dict__
        for variable, value in zip(self.variables, initial, strict=True):
            variable.assign(value)

    def init_evaluator(self: Evaluator, model: NoteModel, strategy: tf.distribute.Strategy, **sizes: int) -> None:
        if not isinstance(strategy, tf.distribute.OneDeviceStrategy):
            make_evaluator(self, model, strategy, **sizes)
            return
        key = id(model), *sizes.items()  # the evaluator keeps its model
        if key not in evaluators:
            make_evaluator(self, model, strategy, **sizes)
        self.__dict__ = evaluators.setdefault(key, self).__dict__

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainStep, "__init__", init_step)
        patch.setattr(Evaluator, "__init__", init_evaluator)
        patch.setattr(batch_halves, "num_cores", lambda: 1)
        patch.setattr(tf.summary, "histogram", lambda *_, **__: None)
        yield
