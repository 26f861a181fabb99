"""A run: steps, validations, checkpoints, the best bundle, until epochs, minutes or patience end.

RUN/run.json                 settings and dataset hash; written first
RUN/checkpoints/             to go on from
RUN/metrics.jsonl            a line a validation
RUN/tensorboard/             the same for TensorBoard
RUN/bundle/                  the best model so far
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from typing import Any, NoReturn

import tensorflow as tf

from midi_codec import command, storage
from midi_codec.progress import progress
from trainer import bundle as bundle_lib
from trainer import checkpoint
from trainer.batches import Batch
from trainer.config import TrainConfig
from trainer.evaluation import Evaluation, Evaluator
from trainer.feed import Feed, Position
from trainer.pieces import Pieces
from trainer.prior import start_from_unigram
from trainer.strategy import make_agreement, part_of
from trainer.train_step import TrainStep


@dataclasses.dataclass
class RunState:
    """Where a run stands, saved with every checkpoint: what the variables do not hold."""

    step: int = 0
    position: Position = Position()
    seconds: float = 0.0
    loss_sum: float = 0.0  # since the last validation
    loss_events: int = 0
    validation_due: bool = False  # the steps before it are done, and it is not
    best_nll: float = math.inf
    best_step: int = 0
    validations_since_best: int = 0
    finished: bool = False
    metrics: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunState:
        return cls(**{**value, "position": Position(**value["position"])})


def _open_summary(folder: str) -> tf.summary.SummaryWriter:
    """TensorBoard's event file; the one thing of a run that TensorFlow itself writes."""
    if folder.startswith("s3://"):
        import tensorflow_io  # noqa: F401  # gives TensorFlow its s3://

    return tf.summary.create_file_writer(folder)


class Run:
    """One training run in one folder. Only the chief of several workers writes."""

    def __init__(
        self, config: TrainConfig, step: TrainStep, strategy: tf.distribute.Strategy, *, folder: str, is_chief: bool
    ):
        self.config, self._step, self._folder, self._is_chief = config, step, folder, is_chief
        self._agree, self._part = make_agreement(strategy), part_of(strategy)
        self._evaluator = Evaluator(step.model, strategy, batch_size=config.batch_size)
        restored = checkpoint.restore_latest(storage.join(folder, "checkpoints"), step.variables)
        self.state = RunState() if restored is None else RunState.from_json(restored)
        self._summary = _open_summary(storage.join(folder, "tensorboard")) if is_chief else None

    def train(self, train: Pieces, validation: Pieces, *, stop: command.StopSignal, origin: dict[str, Any]) -> None:
        """Goes on from where the run stands until it is finished.

        Args:
          train, validation: the splits.
          stop: polled between steps.
          origin: `dataset` and `baselines`, kept in the bundle.

        Raises:
          command.Interrupted: a signal came, to this worker or another; a checkpoint is saved.
          RuntimeError: a loss is not a finite number.
        """
        state, model = self.state, self._step.model
        if state.finished:
            return
        if state.step == 0:
            start_from_unigram(model, train)
        started = time.monotonic() - state.seconds
        batches = Feed(
            train,
            model.table,
            self.config,
            start_bins=model.start_bins,
            position=state.position,
            part=self._part,
        )
        total = round(self.config.epochs * len(train.raw))
        with contextlib.closing(batches), progress(total=total, unit="notes", label="training") as bar:
            bar.update(round(state.position.epochs_done * len(train.raw)))
            while True:
                if state.validation_due:
                    self._validate(validation, origin, stop)
                if state.finished:
                    return
                batch, after = next(batches)
                loss = self._apply(batch, after)
                best = f", best validation {state.best_nll:.3f} nats a note" if math.isfinite(state.best_nll) else ""
                bar.note(f"loss {loss / batch.num_events:.3f}{best}")
                bar.update(batch.num_events)
                stopping, state.seconds = self._agree(stop.requested, time.monotonic() - started)
                state.validation_due |= self._share_done() >= 1
                if stopping:
                    self._interrupt()

    def _apply(self, batch: Batch, after: Position) -> float:
        """One step; the sum of its losses."""
        state = self.state
        loss, norm = self._step(batch, self.learning_rate())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RuntimeError(
                f"the loss is {loss} and the gradients' norm {norm} at step {state.step} (before {after});"
                " a lower --learning-rate or --clip-norm may help"
            )
        state.validation_due = self._validations_by(after) > self._validations_by(state.position)
        state.position = after
        state.step += 1
        state.loss_sum += loss
        state.loss_events += batch.num_events
        return loss

    def _interrupt(self) -> NoReturn:
        self._save_checkpoint()
        raise command.Interrupted(f"step {self.state.step} is saved; the same command goes on from there")

    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, then a cosine down to `final_rate` of the highest."""
        config = self.config
        warm = min(1.0, (self.state.step + 1) / max(config.warmup_steps, 1))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self._share_done())))
        return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)

    def _share_done(self) -> float:
        share = self.state.position.epochs_done / self.config.epochs
        if self.config.max_minutes is not None:
            share = max(share, self.state.seconds / (60 * self.config.max_minutes))
        return share

    def _validations_by(self, position: Position) -> int:
        return math.floor(position.epochs_done / self.config.evaluate_every)

    def _validate(self, validation: Pieces, origin: dict[str, Any], stop: command.StopSignal) -> None:
        state = self.state

        def between_chunks() -> None:
            if self._agree(stop.requested, 0.0)[0]:
                self._interrupt()  # with `validation_due`, so that the run goes on with this validation

        evaluation = self._evaluator.evaluate(validation, between_chunks=between_chunks)
        if not math.isfinite(evaluation.nll):
            raise RuntimeError(f"the validation NLL is {evaluation.nll} after step {state.step}")
        state.validation_due = False
        if evaluation.nll < state.best_nll:
            state.best_nll, state.best_step, state.validations_since_best = evaluation.nll, state.step, 0
            self._save_bundle(evaluation, origin)
        else:
            state.validations_since_best += 1
        patience = self.config.patience
        state.finished = self._share_done() >= 1 or (patience is not None and state.validations_since_best >= patience)
        entry = {
            "step": state.step,
            "epoch": round(state.position.epochs_done, 4),
            "seconds": round(state.seconds, 3),
            "train_loss": state.loss_sum / state.loss_events,
            "validation_nll": evaluation.nll,
            **{f"validation_nll_{name}": nll for name, nll in evaluation.nll_by_field.items()},
            "learning_rate": self.learning_rate(),
        }
        state.metrics.append(entry)
        state.loss_sum, state.loss_events = 0.0, 0
        self._write_metrics(entry)
        self._save_checkpoint()

    def _write_metrics(self, entry: dict[str, Any]) -> None:
        if self._summary is None:
            return
        lines = "".join(json.dumps(line) + "\n" for line in self.state.metrics)
        storage.write_bytes(storage.join(self._folder, "metrics.jsonl"), lines.encode())
        with self._summary.as_default(step=entry["step"]):
            for name, value in entry.items():
                if name != "step":
                    tf.summary.scalar(name, value)
        self._summary.flush()

    def _save_checkpoint(self) -> None:
        if self._is_chief:
            folder = storage.join(self._folder, "checkpoints")
            checkpoint.save(folder, self.state.step, self._step.variables, self.state.to_json())

    def _save_bundle(self, evaluation: Evaluation, origin: dict[str, Any]) -> None:
        if not self._is_chief:
            return
        measured = evaluation.to_json()
        metrics = {
            "validation_nll": measured["nll"],
            "validation_nll_by_field": measured["nll_by_field"],
            **{name: measured[name] for name in ("accuracy", "error_milliseconds", "num_notes")},
            "step": self.state.step,
            "baselines": origin["baselines"],
        }
        model = self._step.model
        bundle_lib.save(
            storage.join(self._folder, "bundle"),
            bundle_lib.Bundle(
                config=dataclasses.asdict(model.config),
                fields=model.table,
                dataset=origin["dataset"],
                metrics=metrics,
                deviations=evaluation.deviations,
                weights=bundle_lib.get_weights(model),
            ),
        )
