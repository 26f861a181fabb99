"""A run: steps, validations, checkpoints and the best bundle, until epochs, minutes or patience run out.

RUN/checkpoints/      to continue from: written at the start, at every validation, every few minutes, at a signal
RUN/bundle/           the best model so far
RUN/bad_batch.npz     the batch whose loss was not finite or exploded
RUN/metrics.jsonl, tensorboard/, samples/      `trainer.run_output.monitor`, `trainer.run_output.samples`
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import tensorflow as tf

from job_runtime import command
from job_runtime.logs.progress import Progress, progress
from trainer.config import RESTORE, TrainConfig
from trainer.data.batches import Batch
from trainer.data.feed import Position
from trainer.data.pieces import Pieces
from trainer.distribution.strategy import make_agreement
from trainer.run_output.monitor import Monitor, Speed
from trainer.run_output.run_files import RunFiles
from trainer.run_output.run_state import Diverged, RunState
from trainer.training import schedule
from trainer.training.checkpointing import Checkpointing
from trainer.training.clock import Clock
from trainer.training.hooks import Hooks
from trainer.training.prior import start_from_unigram
from trainer.training.sources import Source
from trainer.training.step_profiler import StepProfiler
from trainer.training.train_step import TrainStep
from trainer.training.validation_step import ValidationStep

EXPLODED = 10.0  # times the first step's loss, or times one nat per event if that is more
MOST_SKIPPED = 20  # batches; a run that would skip more has another fault


_log = logging.getLogger(__name__)


class _StopRequested(Exception):
    """A signal reached this worker or another during a validation."""


class _BadStep(Exception):
    """The loss of a batch was not finite, or exploded; the weights are spoilt."""


class Run:
    """One training run in one folder. Of several workers only the chief writes.

    Attributes:
      state: where the run is.
    """

    def __init__(
        self,
        config: TrainConfig,
        step: TrainStep,
        strategy: tf.distribute.Strategy,
        *,
        folder: str,
        is_chief: bool,
        hooks: Hooks,
    ):
        self.config, self._step, self._is_chief, self._hooks = config, step, is_chief, hooks
        self._strategy, self._agree = strategy, make_agreement(strategy)
        self._monitor, self._speed = Monitor(folder, is_chief=is_chief), Speed()
        self._profiler = StepProfiler(folder, is_enabled=hooks.profile and is_chief)
        self._files = RunFiles(folder, is_chief=is_chief)
        self._checkpoints = Checkpointing(step, folder, self._agree, is_chief=is_chief)
        self.state = self._checkpoints.restore() or RunState()

    def fit(
        self,
        source: Source,
        validation: Pieces,
        *,
        stop: command.StopSignal,
        origin: dict[str, Any],
        unigram_of: Pieces | None = None,
    ) -> None:
        """Continues from the current state until the run is finished.

        Args:
          source: of the batches.
          validation: the split that is measured.
          stop: polled between steps.
          origin: `dataset` and `baselines`, kept in the bundle.
          unigram_of: pieces whose unigram a run at step 0 starts from; None: from the weights that it has.

        Raises:
          command.Interrupted: a signal reached this worker or another; a checkpoint is saved.
          RuntimeError: a loss is not a finite number or explodes.
        """
        if self.state.is_over:
            return
        if self.state.step == 0:
            if unigram_of is not None:
                start_from_unigram(self._step.model, unigram_of)
            elif not self.state.metrics:  # so that the run keeps nothing worse than what it starts from
                self.state.validation_due = True
            self._checkpoints.save(self.state)
        self._stop, self._clock = stop, Clock(self.state.seconds)
        self._source = source
        self._validation_step = ValidationStep(
            self.config,
            self._step,
            self._strategy,
            validation,
            origin=origin,
            files=self._files,
            monitor=self._monitor,
            on_validation=self._hooks.on_validation if self._is_chief else None,
            score=self._hooks.score,
        )

        events = source.total_events if self.config.max_minutes is None else None  # by time the number is unknown
        total = None if events is None else round(self.config.epochs * events)
        done = round(self.state.position.epochs_done * (source.total_events or 0))
        self._first: tuple[float, float] | None = None  # share and seconds after the first step of this start
        bar = progress(total=total, unit="notes", label="training", done=done)
        with contextlib.closing(self._monitor), bar:
            while not self.state.is_over:
                try:
                    self._train_to_end(bar)
                except _BadStep as bad:
                    self._recover(bad)
                finally:
                    self._profiler.stop()
        self._agree(False, 0.0)  # no worker leaves before the chief has written everything: it could not continue alone

    def _train_to_end(self, bar: Progress) -> None:
        """Steps and validations from the current state until nothing is left to do."""
        feed = self._source.batches(self.state.position)
        with contextlib.closing(feed):
            for number in self._steps_to_do():
                waited_before = feed.waited
                batch, after = next(feed)
                if [self.state.position.epoch, self.state.position.batch] in self.state.skipped:
                    self._advance(after)
                    continue
                self._profiler.before_step(number)
                loss = self._apply(batch, after)
                self._speed.add(batch.num_events, feed.waited - waited_before)
                self._agree_on_time_and_stop()
                bar.note(self._progress_note(loss / batch.num_events))
                self._expect(bar)
                bar.update(batch.num_events)
                if self._checkpoints.is_due:
                    self._checkpoints.save(self.state)

    def _steps_to_do(self) -> Iterator[int]:
        """0, 1, ...: the steps of this start. A validation that is due, and its samples, come before the next step."""
        for number in range(2**62):
            if self.state.validation_due:
                self._validate()
            if self.state.samples_due:
                # Drawing them compiles for seconds, in which the chief notices no signal and the other workers wait.
                if self._agree(self._stop.requested, 0.0)[0]:
                    self._interrupt()  # with `samples_due` set, so that the run resumes with the samples
                self._write_samples()
            if self.state.finished:
                return
            self._speed.start()
            yield number

    def _apply(self, batch: Batch, after: Position) -> float:
        """Applies one step.

        Args:
          batch: the global batch.
          after: the position after it.

        Returns:
          the sum of the batch's losses.
        """
        state = self.state
        rate = schedule.next_learning_rate(self.config, state)
        with self._clock.work("step"):
            loss, norm = self._step(batch, rate)

        per_event = loss / batch.num_events
        limit = EXPLODED * max(1.0, per_event if state.first_loss is None else state.first_loss)
        if not (math.isfinite(norm) and per_event <= limit):  # written so that NaN is bad too
            raise _BadStep(
                f"the loss is {per_event} per event and the gradient norm {norm} at step {state.step}"
                f" (batch {state.position.batch} of epoch {state.position.epoch}), want at most {limit:.3g}"
            )
        state.first_loss = per_event if state.first_loss is None else state.first_loss

        self._advance(after)
        state.step += 1
        state.loss_sum += loss
        state.loss_events += batch.num_events
        self._monitor.step(state.step, loss=per_event, gradient_norm=norm, learning_rate=rate)
        return loss

    def _advance(self, after: Position) -> None:
        """Moves the state to the position after a batch; a validation is due where one was passed, and at the end."""
        state = self.state
        passed = self._validations_by(after) > self._validations_by(state.position)
        state.position = after
        state.validation_due = passed or schedule.share_done(self.config, state) >= 1

    def _validations_by(self, position: Position) -> int:
        return math.floor(position.epochs_done / self.config.evaluate_every)

    def _agree_on_time_and_stop(self) -> None:
        """Takes over the workers' common clock, and stops if a signal reached any of them."""
        stopping, self.state.seconds = self._agree(self._stop.requested, self._clock.seconds)
        self.state.validation_due |= schedule.share_done(self.config, self.state) >= 1
        if stopping:
            self._interrupt()

    def _interrupt(self) -> NoReturn:
        self._checkpoints.save(self.state)
        raise command.Interrupted(f"step {self.state.step} is saved; run the same command again to continue")

    def _progress_note(self, loss: float) -> str:
        """The text beside the count of notes."""
        text = self._step.progress(loss, self.state.best_nll)
        if self._source.total_events is None:
            text = f"step {self.state.step} of {self.config.epochs:g}, {text}"
        if self.config.max_minutes is None:
            return text
        left = max(60 * self.config.max_minutes - self.state.seconds, 0)
        return f"{text}, {left:,.0f} s left at most"

    def _expect(self, bar: Progress) -> None:
        """Tells the bar the time left, by what came after the first step; what compiles once does not count."""
        now = schedule.share_done(self.config, self.state), self.state.seconds
        first_share, first_seconds = self._first = self._first or now
        if now[0] > first_share:
            bar.expect((1 - now[0]) * (now[1] - first_seconds) / (now[0] - first_share))

    def _recover(self, bad: _BadStep) -> None:
        """Returns to the last checkpoint and leaves the bad batch out from there on, or ends the run.

        Every worker gets here with the same batch, since losses and norms are sums over all of them.
        """
        state = self.state
        where = f"{bad}; {self._source.save(state.position, self._files)}"
        if self.config.on_nan != RESTORE:
            raise Diverged(f"{where}; a lower --learning-rate may help, or --on-nan restore")
        if len(state.skipped) >= MOST_SKIPPED:
            raise Diverged(f"{where}; {MOST_SKIPPED} batches are left out already: a lower --learning-rate may help")
        restored = self._checkpoints.restore()
        assert restored is not None, "a run saves a checkpoint at its start"
        skipped = [*state.skipped, [state.position.epoch, state.position.batch]]
        self.state = dataclasses.replace(restored, seconds=state.seconds, skipped=skipped)
        _log.warning("%s; continuing from step %d without it", where, self.state.step)
        self._checkpoints.save(self.state)

    def _validate(self) -> None:
        speed = self._speed.pause()
        try:
            with self._clock.work("validation"):
                self._validation_step(self.state, speed, between_chunks=self._check_stop)
        except _StopRequested:  # the weights are by now those that training continues with, as a checkpoint wants
            self._interrupt()  # with `validation_due` set, so that the run resumes with this validation
        self.state.samples_due = self._hooks.write_samples is not None
        self._checkpoints.save(self.state)

    def _check_stop(self) -> None:
        if self._agree(self._stop.requested, 0.0)[0]:
            raise _StopRequested

    def _write_samples(self) -> None:
        if self._hooks.write_samples is not None and self._is_chief:
            with self._clock.work("samples"), self._step.weights_to_keep():
                self._hooks.write_samples(self.state.step, self.state.deviations, self._monitor.summary)
        self.state.samples_due = False
        if self.state.finished:
            self._checkpoints.save(self.state)  # so that a later start knows that nothing is left to do
