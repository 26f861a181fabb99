"""A run: steps, validations, checkpoints, the best bundle, until epochs, minutes or patience end.

RUN/checkpoints/      to go on from: at the start, at every validation, every few minutes, at a signal
RUN/bundle/           the best model so far
RUN/bad_batch.npz     the batch whose loss was not finite or exploded
RUN/metrics.jsonl, tensorboard/, samples/      `trainer.run_output.monitor`, `trainer.run_output.samples`
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import tensorflow as tf

from job_runtime import command, storage
from job_runtime.logs.progress import Progress, progress
from trainer.config import RESTORE, TrainConfig
from trainer.data.batches import Batch
from trainer.data.feed import Feed, Position, batch_windows
from trainer.data.pieces import Pieces
from trainer.distribution.strategy import all_alike, make_agreement, part_of
from trainer.evaluation.validation import Evaluation, Evaluator
from trainer.run_output.monitor import Monitor, Speed
from trainer.run_output.run_files import RunFiles
from trainer.run_output.run_state import Diverged, RunState
from trainer.training import schedule
from trainer.training.prior import start_from_unigram
from trainer.training.train_step import TrainStep

CHECKPOINT_SECONDS = 300.0  # a lost node costs no more than this
EXPLODED = 10.0  # times the first step's loss, or a nat an event if that is more
VALIDATION_ROWS = 64  # pieces at once, at least: what a processor is good at, however small the training batch
MOST_SKIPPED = 20  # batches; a run that would skip more has another fault
PROFILED = range(5, 15)  # steps of a start: the first ones compile


_log = logging.getLogger(__name__)


class Halted(Exception):
    """Raised by `on_validation` to end the run there; its text is the reason."""


class _Stopping(Exception):
    """A signal came, to this worker or another, amid a validation."""


class _BadStep(Exception):
    """The loss of a batch was not finite, or exploded; the weights are spoilt."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run does beside training.

    Attributes:
      on_validation: called on the chief with each line of the metrics; may raise `Halted`.
      write_samples: called on the chief after a validation with the step and the MSE heads' deviations.
      profile: whether to write a trace of some steps for TensorBoard.
    """

    on_validation: Callable[[dict[str, Any]], None] | None = None
    write_samples: Callable[[int, dict[str, float], tf.summary.SummaryWriter], None] | None = None
    profile: bool = False


class Run:
    """One training run in one folder. Only the chief of several workers writes."""

    def __init__(
        self,
        config: TrainConfig,
        step: TrainStep,
        strategy: tf.distribute.Strategy,
        *,
        folder: str,
        is_chief: bool,
        hooks: Hooks = Hooks(),
    ):
        self.config, self._step, self._folder, self._is_chief, self._hooks = config, step, folder, is_chief, hooks
        self._strategy, self._agree = strategy, make_agreement(strategy)
        replicas = strategy.num_replicas_in_sync
        rows = -(-max(config.batch_size, VALIDATION_ROWS) // replicas) * replicas
        self._evaluator = Evaluator(step.model, strategy, batch_size=rows)
        self._monitor, self._speed = Monitor(folder, is_chief=is_chief), Speed()
        self._saved, self._is_profiling = time.monotonic(), False
        self._files = RunFiles(folder, is_chief=is_chief)
        self.state = self._restore() or RunState()

    def train(
        self, train: Pieces, validation: Pieces, *, stop: command.StopSignal, origin: dict[str, Any], fresh: bool
    ) -> None:
        """Goes on from where the run stands until it is finished.

        Args:
          train, validation: the splits.
          stop: polled between steps.
          origin: `dataset` and `baselines`, kept in the bundle.
          fresh: whether a run that begins takes its output biases from the training split.

        Raises:
          command.Interrupted: a signal came, to this worker or another; a checkpoint is saved.
          RuntimeError: a loss is not a finite number or explodes.
        """
        if self.state.is_over:
            return
        if self.state.step == 0:
            if fresh:
                start_from_unigram(self._step.model, train)
            self._save_checkpoint()
        self._started = time.monotonic() - self.state.seconds
        self._validate = lambda: self._validation(validation, origin, stop)
        by_time = self.config.max_minutes is not None  # then nobody knows how many notes there will be
        total = None if by_time else round(self.config.epochs * len(train.raw))
        with contextlib.closing(self._monitor), progress(total=total, unit="notes", label="training") as bar:
            bar.update(round(self.state.position.epochs_done * len(train.raw)))
            while not self.state.is_over:
                try:
                    self._steps(train, stop, bar)
                except _BadStep as bad:
                    self._go_back(bad, train)
                finally:
                    self._profile(PROFILED.stop)
        self._agree(False, 0.0)  # nobody leaves before the chief has written all: it could not go on alone

    def _steps(self, train: Pieces, stop: command.StopSignal, bar: Progress) -> None:
        """Steps and validations from where the run stands to its end."""
        model = self._step.model
        feed = Feed(
            train,
            model.table,
            self.config,
            start_bins=model.start_bins,
            position=self.state.position,
            part=part_of(self._strategy),
            memory=model.memory,
        )
        with contextlib.closing(feed):
            for done in self._until_finished(stop):
                waited_before = feed.waited
                batch, after = next(feed)
                if [self.state.position.epoch, self.state.position.batch] in self.state.skipped:
                    self._advance(after)
                    continue
                self._profile(done)
                loss = self._apply(batch, after)
                self._speed.add(batch.num_events, feed.waited - waited_before)
                stopping, self.state.seconds = self._agree(stop.requested, time.monotonic() - self._started)
                self.state.validation_due |= self._share_done() >= 1
                if stopping:
                    self._interrupt()
                bar.note(self._note(loss / batch.num_events))
                bar.update(batch.num_events)
                if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                    self._save_checkpoint()

    def _note(self, loss: float) -> str:
        """What stands beside the count of notes."""
        best = f", best validation {self.state.best_nll:.3f}" if math.isfinite(self.state.best_nll) else ""
        text = f"loss {loss:.3f}{best} nats a note"
        if self.config.max_minutes is None:
            return text
        left = max(60 * self.config.max_minutes - self.state.seconds, 0)
        return f"{text}, {left:,.0f} s left at most"

    def _until_finished(self, stop: command.StopSignal) -> Iterator[int]:
        """0, 1, ...: the steps of this start; a validation that is due comes before the next, then its samples."""
        for done in range(2**62):
            if self.state.validation_due:
                self._validate()
            if self.state.samples_due:
                # What draws them takes seconds to compile, in which the chief hears no signal and the others wait.
                if self._agree(stop.requested, 0.0)[0]:
                    self._interrupt()  # with `samples_due`, so that the run goes on with them
                self._write_samples()
            if self.state.finished:
                return
            self._speed.start()
            yield done

    def _apply(self, batch: Batch, after: Position) -> float:
        """One step; the sum of its losses."""
        state = self.state
        rate = self.learning_rate()
        loss, norm = self._step(batch, rate)
        a_note = loss / batch.num_events
        limit = EXPLODED * max(1.0, a_note if state.first_loss is None else state.first_loss)
        if not (math.isfinite(norm) and a_note <= limit):  # written so that NaN is bad too
            raise _BadStep(
                f"the loss is {a_note} an event and the gradients' norm {norm} at step {state.step}"
                f" (batch {state.position.batch} of epoch {state.position.epoch}), want at most {limit:.3g}"
            )
        state.first_loss = a_note if state.first_loss is None else state.first_loss
        self._advance(after)
        state.step += 1
        state.loss_sum += loss
        state.loss_events += batch.num_events
        self._monitor.step(state.step, loss=a_note, gradient_norm=norm, learning_rate=rate)
        return loss

    def _advance(self, after: Position) -> None:
        state = self.state
        passed = self._validations_by(after) > self._validations_by(state.position)
        state.position = after
        state.validation_due = passed or self._share_done() >= 1

    def _go_back(self, bad: _BadStep, train: Pieces) -> None:
        """To the last checkpoint, from where the batch is left out; or to the end of the run.

        Every worker comes here with the same batch, since losses and norms are sums over all of them.
        """
        state = self.state
        windows = batch_windows(train, self.config, state.position)
        path = self._files.save_bad_batch(windows, train)
        where = f"{bad}; its windows are in {path}, the first of piece {train.piece_id[windows.piece[0]].decode()}"
        if self.config.on_nan != RESTORE:
            raise Diverged(f"{where}; a lower --learning-rate may help, or --on-nan restore")
        if len(state.skipped) >= MOST_SKIPPED:
            raise Diverged(f"{where}; {MOST_SKIPPED} batches are left out already: a lower --learning-rate may help")
        restored = self._restore()
        assert restored is not None, "there is a checkpoint from the start on"
        skipped = [*state.skipped, [state.position.epoch, state.position.batch]]
        self.state = dataclasses.replace(restored, seconds=state.seconds, skipped=skipped)
        _log.warning("%s; going on from step %d without it", where, self.state.step)
        self._save_checkpoint()

    def _interrupt(self) -> NoReturn:
        self._save_checkpoint()
        raise command.Interrupted(f"step {self.state.step} is saved; the same command goes on from there")

    def learning_rate(self) -> float:
        """Of the next step."""
        return schedule.learning_rate(self.config, step=self.state.step, share=self._share_done())

    def _share_done(self) -> float:
        state = self.state
        return schedule.share_done(self.config, epochs_done=state.position.epochs_done, seconds=state.seconds)

    def _validations_by(self, position: Position) -> int:
        return math.floor(position.epochs_done / self.config.evaluate_every)

    def _validation(self, validation: Pieces, origin: dict[str, Any], stop: command.StopSignal) -> None:
        state, speed = self.state, self._speed.pause()
        try:
            with self._step.weights_to_keep():
                evaluation = self._judge(validation, origin, stop)
        except _Stopping:  # a checkpoint holds the weights that training goes on with
            self._interrupt()  # with `validation_due`, so that the run goes on with this validation
        state.validation_due, state.samples_due = False, self._hooks.write_samples is not None
        state.deviations = evaluation.deviations
        patience = self.config.patience
        state.finished = self._share_done() >= 1 or (patience is not None and state.validations_since_best >= patience)
        state.metrics.append(self._metrics_line(evaluation, speed))
        state.loss_sum, state.loss_events = 0.0, 0
        self._monitor.validation(state.metrics, self._step.model.trainable_variables)
        self._call_on_validation(state.metrics[-1])
        self._save_checkpoint()

    def _judge(self, validation: Pieces, origin: dict[str, Any], stop: command.StopSignal) -> Evaluation:
        """Measures the model, and keeps it if it is the best so far."""
        state = self.state

        def between_chunks() -> None:
            if self._agree(stop.requested, 0.0)[0]:
                raise _Stopping

        evaluation = self._evaluator.evaluate(validation, between_chunks=between_chunks)
        if not math.isfinite(evaluation.nll):
            raise Diverged(f"the validation NLL is {evaluation.nll} after step {state.step}")
        if evaluation.nll < state.best_nll:
            state.best_nll, state.best_step, state.validations_since_best = evaluation.nll, state.step, 0
            self._files.save_bundle(self._step.model, evaluation, origin, step=state.step)
        else:
            state.validations_since_best += 1
        return evaluation

    def _metrics_line(self, evaluation: Evaluation, speed: dict[str, float]) -> dict[str, Any]:
        state = self.state
        return {
            "step": state.step,
            "epoch": round(state.position.epochs_done, 4),
            "seconds": round(state.seconds, 3),
            "train_loss": state.loss_sum / max(state.loss_events, 1),
            "validation_nll": evaluation.nll,
            "validation_nll_per_second": evaluation.nll_per_second,
            **{f"validation_nll_{name}": nll for name, nll in evaluation.nll_by_field.items()},
            "learning_rate": self.learning_rate(),
            **{name: round(value, 4) for name, value in speed.items()},
        }

    def _call_on_validation(self, line: dict[str, Any]) -> None:
        if self._hooks.on_validation is None or not self._is_chief:
            return
        try:
            self._hooks.on_validation(line)
        except Halted as halted:
            self.state.finished, self.state.halted = True, str(halted)

    def _write_samples(self) -> None:
        if self._hooks.write_samples is not None and self._is_chief:
            with self._step.weights_to_keep():
                self._hooks.write_samples(self.state.step, self.state.deviations, self._monitor.summary)
        self.state.samples_due = False
        if self.state.finished:
            self._save_checkpoint()  # nothing is left to do, and a start after this one shall know

    def _profile(self, done: int) -> None:
        """Traces the steps of `PROFILED`; any number beyond ends a trace."""
        if not (self._hooks.profile and self._is_chief):
            return
        if done == PROFILED.start:
            tf.profiler.experimental.start(storage.join(self._folder, "tensorboard"))
            self._is_profiling = True
        elif done >= PROFILED.stop and self._is_profiling:
            tf.profiler.experimental.stop()
            self._is_profiling = False

    def _restore(self) -> RunState | None:
        """Where the last checkpoint stands, the same on all workers.

        Raises:
          UserError: the workers see different checkpoints; they would train on with weights that differ.
        """
        restored = self._files.restore(self._step.variables)
        step = -1 if restored is None else restored.step
        if not all_alike(self._agree, float(step)):
            seen = "none" if restored is None else f"that of step {step}"
            raise command.UserError(
                f"{self._folder}: the workers do not see the same newest checkpoint (this one: {seen});"
                " want an --output that all of them share"
            )
        return restored

    def _save_checkpoint(self) -> None:
        self._saved = time.monotonic()
        self._files.save_checkpoint(self._step.variables, self.state)
