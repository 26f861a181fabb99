"""The same steps under any strategy: what test_train_step compares, and what a worker of its own process runs.

python -m tests.trainer.training.step_case DEVICES RESULT.npz     one of the workers that TF_CONFIG names, with so many
devices
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from tests.trainer.on_devices import split_cpu
from tests.trainer.strategies import worker
from tests.trainer.tiny import COMPOSER, LIVE, make_labels, make_many, make_table
from trainer.config import TrainConfig
from trainer.data.batches import WHOLE, Batch, Part
from trainer.data.feed import Feed, Position
from trainer.data.pieces import stack_pieces
from trainer.distribution.strategy import part_of
from trainer.evaluation.validation import Evaluator
from trainer.training.prior import start_from_unigram
from trainer.training.train_step import TrainStep

TABLE = dataclasses.replace(make_table(), labels=(COMPOSER, LIVE))
CONFIG = TrainConfig(
    units=16,
    layers=1,
    head_units=16,
    dropout=0.3,
    recurrent_dropout=0.2,
    batch_size=8,
    window=16,
    clip_norm=0.1,
    weight_decay=0.3,
    weight_average=0.8,
    transpose=0,
    velocity=0,
    tempo=0.1,
    label_dropout=0.3,
)
PIECES = stack_pieces(make_many([30, 9, 12, 40, 5, 21]), TABLE, labels=list(map(make_labels, range(6))))
HELD_OUT = stack_pieces(make_many([17, 40, 3]), TABLE, labels=list(map(make_labels, range(3))))  # several chunks
STEPS = 24
RATE = 1e-3


def batches(part: Part = WHOLE) -> list[Batch]:
    with contextlib.closing(
        Feed(PIECES, TABLE, CONFIG, start_bins=TABLE.start_bins, position=Position(), part=part)
    ) as endless:
        return [batch for batch, _ in itertools.islice(endless, STEPS)]


def run_steps(strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """What a new model that starts from the unigram trains, and how it does on held-out pieces."""
    step = TrainStep(CONFIG, TABLE, strategy)
    start_from_unigram(step.model, PIECES)
    return take_steps(step, strategy) | evaluate(step, strategy)


def take_steps(step: TrainStep, strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Per step `losses`, `norms` before clipping and `own_events`; all variables by number."""
    made = batches(part_of(strategy))
    losses, norms = np.array([step(batch, RATE) for batch in made]).T
    return {
        "losses": losses,
        "norms": norms,
        "own_events": np.array([batch.is_note.sum() + batch.is_end.sum() for batch in made], np.int64),
        **{f"variable {number}": np.asarray(variable.value) for number, variable in enumerate(step.variables)},
    }


def evaluate(step: TrainStep, strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    with step.weights_to_keep():
        evaluation = Evaluator(step.model, strategy, batch_size=4, chunk=16).evaluate(HELD_OUT)
    nll = np.array([evaluation.nll_by_field[name] for name in TABLE.names])
    return {"nll": nll, "num_notes": np.array(evaluation.num_notes)}


def variables_of(results: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: array for name, array in results.items() if name.startswith("variable ")}


if __name__ == "__main__":
    split_cpu(int(sys.argv[1]))
    np.savez(sys.argv[2], **run_steps(worker(int(sys.argv[1]))))
