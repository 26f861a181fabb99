"""What a run writes for later: checkpoints, the best bundle, a bad batch. Of several workers only the chief writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from job_runtime import storage
from job_runtime.storage import array_file
from trainer import bundle as bundle_lib
from trainer.data.batches import Windows
from trainer.data.pieces import Pieces
from trainer.evaluation.validation import Evaluation
from trainer.model.note_model import NoteModel
from trainer.run_output import checkpoint
from trainer.run_output.run_state import RunState

BAD_BATCH = "bad_batch.npz"


class RunFiles:
    """The files of one run folder.

    Attributes:
      folder: the run folder.
    """

    def __init__(self, folder: str, *, is_chief: bool):
        self.folder, self._is_chief = folder, is_chief
        self._checkpoints = storage.join(folder, "checkpoints")

    def restore(self, variables: Sequence[Any]) -> RunState | None:
        """Assigns the newest whole checkpoint to the variables and returns its state; None without a checkpoint."""
        restored = checkpoint.restore_latest(self._checkpoints, variables)
        return None if restored is None else RunState.from_json(restored)

    def save_checkpoint(self, variables: Sequence[Any], state: RunState) -> None:
        if self._is_chief:
            checkpoint.save(self._checkpoints, state.step, variables, state.to_json())

    def save_bad_batch(self, windows: Windows, pieces: Pieces) -> str:
        """Writes the windows of a batch with their pieces' ids; returns the path."""
        path = storage.join(self.folder, BAD_BATCH)
        if self._is_chief:
            array_file.write(path, dataclasses.asdict(windows) | {"piece_id": pieces.piece_id[windows.piece]})
        return path

    def save_bundle(self, model: NoteModel, evaluation: Evaluation, origin: dict[str, Any], *, step: int) -> None:
        """Writes the model with its current weights, its measurements and its origin (`dataset`, `baselines`)."""
        if not self._is_chief:
            return
        measured = evaluation.to_json()
        metrics = {
            "validation_nll": measured["nll"],
            "validation_nll_by_field": measured["nll_by_field"],
            **{name: measured[name] for name in ("nll_per_second", "accuracy", "error_milliseconds", "num_notes")},
            "step": step,
            "baselines": origin["baselines"],
        }
        bundle = bundle_lib.Bundle(
            config=dataclasses.asdict(model.config),
            fields=model.table,
            dataset=origin["dataset"],
            metrics=metrics,
            deviations=evaluation.deviations,
            weights=bundle_lib.get_weights(model),
        )
        bundle_lib.save(storage.join(self.folder, "bundle"), bundle)
