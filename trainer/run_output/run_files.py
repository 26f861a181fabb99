"""What a run writes for later: the best bundle, a bad batch. Of several workers only the chief writes."""

from __future__ import annotations

import dataclasses
from typing import Any

from job_runtime import storage
from job_runtime.storage import array_file
from trainer import bundle as bundle_lib
from trainer.data.batches import Windows
from trainer.data.pieces import Pieces
from trainer.evaluation import end_shift
from trainer.evaluation.validation import Evaluation
from trainer.model.note_model import NoteModel

BAD_BATCH = "bad_batch.npz"


class RunFiles:
    """The files of one run folder."""

    def __init__(self, folder: str, *, is_chief: bool):
        self._folder, self._is_chief = folder, is_chief

    def save_bad_batch(self, windows: Windows, pieces: Pieces) -> str:
        """Writes the windows of a batch with their pieces' ids; returns the path."""
        path = storage.join(self._folder, BAD_BATCH)
        if self._is_chief:
            array_file.write(path, dataclasses.asdict(windows) | {"piece_id": pieces.piece_id[windows.piece]})
        return path

    def save_bundle(self, model: NoteModel, evaluation: Evaluation, origin: dict[str, Any], *, step: int) -> None:
        """Writes the model with its current weights, its measurements and its origin (`dataset`, `baselines`).

        END's bias is shifted as the measurements say.
        """
        if not self._is_chief:
            return
        bundle = bundle_lib.Bundle(
            config=dataclasses.asdict(model.config),
            fields=model.table,
            dataset=origin["dataset"],
            metrics={**evaluation.metrics(), "step": step, "baselines": origin["baselines"]},
            deviations=evaluation.deviations,
            weights=bundle_lib.get_weights(model),
        )
        bundle_lib.save(storage.join(self._folder, "bundle"), end_shift.shifted(bundle, evaluation.end_shift))
