"""One validation of a run: measure the model, keep it if it is the best, record the figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.config import TrainConfig
from trainer.data.pieces import Pieces
from trainer.evaluation.validation import Evaluation, Evaluator
from trainer.run_output.monitor import Monitor
from trainer.run_output.run_files import RunFiles
from trainer.run_output.run_state import Diverged, RunState
from trainer.training import schedule
from trainer.training.hooks import Halted, Score
from trainer.training.train_step import TrainStep

VALIDATION_ROWS = 64  # at least this many pieces at once: a processor needs them, however small the training batch


class ValidationStep:
    """Validates the model of a run, with the weights to keep, and updates the run's state.

    Args:
      config: the settings.
      step: its model is measured.
      strategy: of the run.
      pieces: the validation split.
      origin: `dataset` and `baselines`, kept in the bundle.
      files, monitor: what the run writes.
      on_validation, score: of `trainer.training.hooks.Hooks`.
    """

    def __init__(
        self,
        config: TrainConfig,
        step: TrainStep,
        strategy: tf.distribute.Strategy,
        pieces: Pieces,
        *,
        origin: dict[str, Any],
        files: RunFiles,
        monitor: Monitor,
        on_validation: Callable[[dict[str, Any]], None] | None,
        score: Score | None = None,
    ):
        self._config, self._step, self._pieces, self._origin = config, step, pieces, origin
        self._files, self._monitor, self._on_validation = files, monitor, on_validation
        self._score = score
        replicas = strategy.num_replicas_in_sync
        rows = -(-max(config.batch_size, VALIDATION_ROWS) // replicas) * replicas
        self._evaluator = Evaluator(step.model, strategy, batch_size=rows)

    def __call__(self, state: RunState, speed: dict[str, float], *, between_chunks: Callable[[], None]) -> None:
        """Validates once.

        Args:
          state: where the run is; it is updated.
          speed: figures of the training since the last validation.
          between_chunks: called between compiled calls; what it raises ends the validation, which then remains due.

        Raises:
          Diverged: the likelihood is not a finite number.
        """
        with self._step.weights_to_keep():
            evaluation = self._evaluator.evaluate(self._pieces, between_chunks=between_chunks).with_end_shift()
            score, figures = evaluation.nll, dict[str, float]()
            if self._score is not None:
                score, figures = self._score(evaluation, state.metrics, between_chunks)
            self._keep_if_best(evaluation, score, state)
        state.validation_due = False
        state.deviations = evaluation.deviations
        patience = self._config.patience
        has_lost_patience = patience is not None and state.validations_since_best >= patience
        state.finished = schedule.share_done(self._config, state) >= 1 or has_lost_patience
        state.metrics.append(self._metrics_line(evaluation, state, speed) | figures)
        state.loss_sum, state.loss_events = 0.0, 0
        self._monitor.validation(state.metrics, self._step.model.trainable_variables)
        self._call_on_validation(state)

    def _keep_if_best(self, evaluation: Evaluation, score: float, state: RunState) -> None:
        if not math.isfinite(evaluation.nll):
            raise Diverged(f"the validation NLL is {evaluation.nll} after step {state.step}")
        if score < state.best_nll:
            state.best_nll, state.best_step, state.validations_since_best = score, state.step, 0
            self._files.save_bundle(self._step.model, evaluation, self._origin, step=state.step)
        else:
            state.validations_since_best += 1

    def _metrics_line(self, evaluation: Evaluation, state: RunState, speed: dict[str, float]) -> dict[str, Any]:
        return {
            "step": state.step,
            "epoch": round(state.position.epochs_done, 4),
            "seconds": round(state.seconds, 3),
            "train_loss": state.loss_sum / max(state.loss_events, 1),
            "validation_nll": evaluation.nll,
            "validation_nll_per_second": evaluation.nll_per_second,
            **{f"validation_nll_{name}": nll for name, nll in evaluation.nll_by_field.items()},
            "end_shift": evaluation.end_shift,
            "learning_rate": schedule.next_learning_rate(self._config, state),
            **{name: round(value, 4) for name, value in speed.items()},
        }

    def _call_on_validation(self, state: RunState) -> None:
        if self._on_validation is None:
            return
        try:
            self._on_validation(state.metrics[-1])
        except Halted as halted:
            state.finished, state.halted = True, str(halted)
