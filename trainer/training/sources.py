"""Where the batches of a run come from."""

from __future__ import annotations

from typing import Protocol

from trainer.config import TrainConfig
from trainer.data.batches import Batch, Part
from trainer.data.feed import Feed, PlanEpoch, Position, plan_of
from trainer.data.pieces import Pieces
from trainer.model.note_model import NoteModel
from trainer.run_output.run_files import RunFiles


class Batches(Protocol):
    """Batches without end, each with the position after it; `waited` is the seconds that `next` has taken so far."""

    waited: float

    def __next__(self) -> tuple[Batch, Position]: ...

    def close(self) -> None: ...


class Source(Protocol):
    """The batches of a run, from any position on; the same position always gives the same.

    Attributes:
      total_events: of an epoch; None if it is not known before.
    """

    total_events: int | None

    def batches(self, position: Position) -> Batches: ...

    def save(self, position: Position, files: RunFiles) -> str:
        """Keeps what tells the batch at a position, which was bad; returns where and what it is, for people."""
        ...


class SplitSource:
    """Windows of the pieces of a split.

    Args:
      pieces: the split.
      model: of the run.
      config: its settings.
      part: the rows of every batch that are made here.
      plan_epoch: the batches' windows; by default every piece is cut into windows.
    """

    def __init__(
        self, pieces: Pieces, model: NoteModel, config: TrainConfig, part: Part, plan_epoch: PlanEpoch | None = None
    ):
        self.total_events: int | None = pieces.total_events
        self._pieces, self._model, self._config, self._part = pieces, model, config, part
        self._plan_epoch = plan_epoch or plan_of(pieces, config)

    def batches(self, position: Position) -> Batches:
        return Feed(
            self._pieces,
            self._model.table,
            self._config,
            start_bins=self._model.start_bins,
            position=position,
            part=self._part,
            memory=self._model.memory,
            plan_epoch=self._plan_epoch,
        )

    def save(self, position: Position, files: RunFiles) -> str:
        windows = self._plan_epoch(position.epoch)[position.batch]
        path = files.save_bad_batch(windows, self._pieces)
        return f"its windows are in {path}, the first of piece {self._pieces.piece_id[windows.piece[0]].decode()}"
