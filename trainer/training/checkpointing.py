"""When a run is saved, and the check that all workers restore the same checkpoint."""

from __future__ import annotations

import time

from job_runtime import storage
from job_runtime.problem_report import UserError
from trainer.distribution.strategy import Agreement, all_alike
from trainer.run_output import checkpoint
from trainer.run_output.run_state import RunState
from trainer.training.train_step import TrainStep

CHECKPOINT_SECONDS = 300.0  # a lost node costs no more than this


class Checkpointing:
    """Saves and restores the variables of a `TrainStep` together with the run's state.

    Args:
      step: its variables are saved.
      folder: the run folder.
      is_chief: only this one of several workers saves.
      agree: see `trainer.distribution.strategy.make_agreement`.
    """

    def __init__(self, step: TrainStep, folder: str, agree: Agreement, *, is_chief: bool):
        self._step, self._folder, self._agree, self._is_chief = step, folder, agree, is_chief
        self._checkpoints = storage.join(folder, "checkpoints")
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is older than `CHECKPOINT_SECONDS`."""
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def save(self, state: RunState) -> None:
        self._saved = time.monotonic()
        if self._is_chief:
            checkpoint.save(self._checkpoints, state.step, self._step.variables, state.to_json())

    def restore(self) -> RunState | None:
        """The state of the newest checkpoint, whose variables are assigned; None if there is no checkpoint.

        Raises:
          UserError: the workers see different checkpoints; they would continue with different weights.
        """
        saved = checkpoint.restore_latest(self._checkpoints, self._step.variables)
        restored = None if saved is None else RunState.from_json(saved)
        step = -1 if restored is None else restored.step
        if not all_alike(self._agree, float(step)):
            seen = "none" if restored is None else f"that of step {step}"
            raise UserError(
                f"{self._folder}: the workers do not see the same newest checkpoint (this one: {seen});"
                " want an --output that all of them share"
            )
        return restored
