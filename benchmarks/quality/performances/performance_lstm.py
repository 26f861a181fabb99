"""Our model, trained for a given time: the model, feed, step, schedule and validation of `trainer.task`.

    python -m benchmarks.quality.performances.performance_lstm SETUP.json

Only the loop differs: its clock counts only steps (`benchmarks.peers.timed_training`).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import sys
from typing import Any

from benchmarks.peers.timed_training import Curve, cpu_clock
from midi_codec.dataset import dataset_info
from trainer.config import TrainConfig


class Trainer:
    """Training step, feed and position in the data; resumes from a checkpoint."""

    def __init__(self, config: TrainConfig, data: str, info: dataset_info.DatasetInfo):
        from trainer.data.split_cache import load_split
        from trainer.distribution import strategy
        from trainer.evaluation.validation import Evaluator
        from trainer.run_output.run_state import RunState
        from trainer.training import run_checks
        from trainer.training.prior import start_from_unigram
        from trainer.training.train_step import TrainStep
        from trainer.training.validation_step import VALIDATION_ROWS

        self.config, devices = config, strategy.make_strategy()
        table = run_checks.make_field_table(info, config, data)
        self.train, self.validation = (load_split(data, info, name, table) for name in ("train", "validation"))
        self.step, self.state = TrainStep(config, table, devices), RunState()
        self.evaluator = Evaluator(self.step.model, devices, batch_size=max(config.batch_size, VALIDATION_ROWS))
        start_from_unigram(self.step.model, self.train)

    @property
    def num_parameters(self) -> int:
        return sum(int(variable.value.shape.num_elements()) for variable in self.step.model.trainable_variables)

    def restore(self, folder: pathlib.Path) -> None:
        from trainer.run_output import checkpoint
        from trainer.run_output.run_state import RunState

        state = checkpoint.restore_latest(str(folder), self.step.variables)
        assert state is not None, f"{folder} holds no whole checkpoint"
        self.state = RunState.from_json(state)

    def save(self, folder: pathlib.Path) -> None:
        from trainer.run_output import checkpoint

        checkpoint.save(str(folder), self.state.step, self.step.variables, self.state.to_json())

    def make_feed(self) -> Any:
        """The batches from the run's position on."""
        from trainer.data.feed import Feed

        model, config = self.step.model, self.config
        return Feed(
            self.train,
            model.table,
            config,
            start_bins=model.start_bins,
            position=self.state.position,
            memory=config.context_notes if config.context_units else 0,
        )

    def compile(self) -> None:
        """Compiles the step, and leaves all variables unchanged."""
        values = [variable.numpy() for variable in self.step.variables]
        with contextlib.closing(self.make_feed()) as feed:
            self.step(next(feed)[0], 0.0)
        for variable, value in zip(self.step.variables, values, strict=True):
            variable.assign(value)

    def advance(self, feed: Any, share: float) -> int:
        """Makes one step at this share of the time; returns its number of events."""
        from trainer.training import schedule

        batch, self.state.position = next(feed)
        self.step(batch, schedule.learning_rate(self.config, step=self.state.step, share=share))
        self.state.step += 1
        return int(batch.num_events)


def run(setup: dict[str, Any]) -> None:
    """Trains until the curve is complete; `plan` in `__main__` makes the setup."""
    lists_as_tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in setup["config"].items()
    }
    config = TrainConfig(**lists_as_tuples)
    trainer = Trainer(config, setup["data"], dataset_info.load(setup["data"]))
    curve = Curve(pathlib.Path(setup["output"]), setup)
    if curve.points:
        trainer.restore(checkpoint_of(curve))
    trainer.compile()
    curve.about |= {"parameters": trainer.num_parameters, "config": setup["config"]}
    with contextlib.closing(trainer.make_feed()) as feed:
        while not curve.is_done:
            start = cpu_clock()
            events = trainer.advance(feed, curve.share)
            curve.advance(cpu_clock() - start, events)
            if curve.is_due:
                validate(trainer, curve)


def validate(trainer: Trainer, curve: Curve) -> None:
    """Adds a point to the curve, with the checkpoint that belongs to it."""
    with trainer.step.weights_to_keep():
        score = trainer.evaluator.evaluate(trainer.validation)
    previous = checkpoint_of(curve)
    trainer.save(checkpoint_of(curve, after=1))
    curve.add(score.nll_by_field, steps=trainer.state.step, nll_per_second=score.nll_per_second)
    shutil.rmtree(previous, ignore_errors=True)


def checkpoint_of(curve: Curve, after: int = 0) -> pathlib.Path:
    """The folder of the checkpoint that belongs to the curve's last point, or to one after it."""
    return curve.folder / f"checkpoint-{len(curve.points) + after}"


def main() -> None:
    setup = json.loads(pathlib.Path(sys.argv[1]).read_text())
    os.sched_setaffinity(0, setup["cores"])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if len(setup["cores"]) == 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    run(setup)


if __name__ == "__main__":
    main()
