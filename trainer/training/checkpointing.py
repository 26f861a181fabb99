"""When a run is saved, and the check that all workers restore the same checkpoint."""

from __future__ import annotations

import time

from job_runtime.problem_report import UserError
from trainer.distribution.strategy import Agreement, all_alike
from trainer.run_output.run_files import RunFiles
from trainer.run_output.run_state import RunState
from trainer.training.train_step import TrainStep

CHECKPOINT_SECONDS = 300.0  # a lost node costs no more than this


class Checkpointing:
    """Saves and restores the variables of a `TrainStep` together with the run's state.

    Args:
      step: its variables are saved.
      files: of the run folder.
      agree: see `trainer.distribution.strategy.make_agreement`.
    """

    def __init__(self, step: TrainStep, files: RunFiles, agree: Agreement):
        self._step, self._files, self._agree = step, files, agree
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is older than `CHECKPOINT_SECONDS`."""
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def save(self, state: RunState) -> None:
        self._saved = time.monotonic()
        self._files.save_checkpoint(self._step.variables, state)

    def restore(self) -> RunState | None:
        """The state of the newest checkpoint, whose variables are assigned; None if there is no checkpoint.

        Raises:
          UserError: the workers see different checkpoints; they would continue with different weights.
        """
        restored = self._files.restore(self._step.variables)
        step = -1 if restored is None else restored.step
        if not all_alike(self._agree, float(step)):
            seen = "none" if restored is None else f"that of step {step}"
            raise UserError(
                f"{self._files.folder}: the workers do not see the same newest checkpoint (this one: {seen});"
                " want an --output that all of them share"
            )
        return restored
