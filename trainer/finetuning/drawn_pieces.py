"""Pieces that the model draws while it is fine-tuned: their notes, what they are rewarded with, and their batches.

What is drawn depends on the weights, `rng_seed` and the step alone, so a run that continues draws the same again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from midi_codec.measures.music_measures import Part
from midi_codec.music.notes import DEFAULT_TEMPO, Notes
from midi_codec.music.sounding import end_at_restrikes
from trainer.bundle import Bundle
from trainer.data.batches import Batch, Windows, keyed_rng
from trainer.data.batches import Part as RowPart
from trainer.data.feed import Position
from trainer.data.pieces import stack_pieces
from trainer.finetuning.near_start import batch_of_whole
from trainer.finetuning.reward_step import RewardedBatch
from trainer.model.note_model import NoteModel
from trainer.run_output.run_files import RunFiles
from trainer.sampling.piece_sampler import Drawn, PieceSampler

STREAM = 0x44524157  # one of `rng_seed`'s streams
MOST_DEVIATIONS = 5.0  # of one reward, from the mean of the pieces drawn with it


@dataclasses.dataclass(frozen=True)
class DrawnPiece:
    """A piece from silence.

    Attributes:
      drawn: its notes as the model drew them.
      part: what is heard, and rewarded: a note ends where its key is struck again, if the corpus knows nothing else.
      ended: whether END was drawn.
    """

    drawn: Notes
    part: Part
    ended: bool


class Drawer:
    """Draws pieces from a model with its current weights.

    Args:
      model: the model.
      start: the bundle that the run starts from.
      rng_seed: of the run.
      how: see `PieceSampler`.
    """

    def __init__(self, model: NoteModel, start: Bundle, *, rng_seed: int, **how: Any):
        self._start, self._table, self._rng_seed = start, model.table, rng_seed
        self._sampler = PieceSampler(model, allow_duplicates=start.may_have_duplicate_notes, **how)

    def draw(self, number: int, *key: int) -> list[DrawnPiece]:
        """So many pieces, from the streams of a key."""
        keys = keyed_rng(self._rng_seed, STREAM, *key).integers(0, 2**32, (number, 2), np.uint32)
        return [self._piece(each) for each in self._sampler.draw(self._start.deviations, keys)]

    def _piece(self, piece: Drawn) -> DrawnPiece:
        drawn = self._table.to_notes(piece.values, tempo=DEFAULT_TEMPO)
        heard = drawn if self._start.may_restrike else end_at_restrikes(drawn, num_given=0)
        return DrawnPiece(drawn, Part(heard), piece.ended)


def mean_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Of those that are not NaN, the mean and the standard deviation; 0 of none."""
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)


def advantages(values: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """`[n]` float32, the weighted sum of the rewards, each in standard deviations from its mean; of unit variance if
    the rewards are independent.

    Args:
      values: `[n]` per reward; NaN counts as the mean.
      weights: of the rewards.
    """
    total: np.ndarray | float = 0.0
    for name, weight in weights.items():
        mean, spread = mean_and_spread(values[name])
        if spread > 1e-9:
            deviations = (values[name] - mean) / spread
            total = total + weight * np.nan_to_num(np.clip(deviations, -MOST_DEVIATIONS, MOST_DEVIATIONS))
    scale = float(np.linalg.norm(list(weights.values())))
    return np.broadcast_to(total / scale, (len(next(iter(values.values()))),)).astype(np.float32)


def improvement(found: Mapping[str, float], first: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """How much better than the first validation a validation is: the weighted sum of the rewards' gains.

    Args:
      found, first: of each reward `reward_NAME`, its mean, and `spread_NAME`; a gain is in the first one's spread.
      weights: of the rewards.
    """
    gains = (
        weight * (found[f"reward_{name}"] - first[f"reward_{name}"]) / (first[f"spread_{name}"] or 1.0)
        for name, weight in weights.items()
    )
    return float(sum(gains) / np.linalg.norm(list(weights.values())))


def batch_of(pieces: Sequence[DrawnPiece], advantage: np.ndarray, model: NoteModel, part: RowPart) -> RewardedBatch:
    """Whole pieces as rows.

    Args:
      pieces: of the global batch.
      advantage: `[pieces]`.
      part: which rows are made.
    """
    laid_out = stack_pieces([piece.drawn for piece in pieces], model.table)
    lengths = laid_out.num_events - np.array([not piece.ended for piece in pieces])
    windows = Windows(np.arange(len(pieces)), np.zeros(len(pieces), np.int64), lengths.astype(np.int64))
    batch = batch_of_whole(laid_out, windows, model, part)
    num_rows = part.count * len(batch.bins)
    own = np.pad(advantage, (0, num_rows - len(pieces)))[part.rows(num_rows)]
    return RewardedBatch(**vars(batch), advantage=own)


class DrawnSource:
    """Batches of pieces that are drawn when they are needed (`trainer.training.sources.Source`).

    Args:
      make: the batch of a step; each step is an epoch.
    """

    total_events: int | None = None

    def __init__(self, make: Callable[[int], Batch]):
        self._make = make

    def batches(self, position: Position) -> DrawnBatches:
        return DrawnBatches(self._make, position)

    def save(self, position: Position, files: RunFiles) -> str:
        return f"its pieces are those of step {position.epoch}"


class DrawnBatches:
    """The batches from a position on; `waited` is the seconds spent drawing."""

    def __init__(self, make: Callable[[int], Batch], position: Position):
        self.waited, self._make, self._step = 0.0, make, position.epoch

    def __next__(self) -> tuple[Batch, Position]:
        start = time.monotonic()
        batch = self._make(self._step)
        self._step += 1
        self.waited += time.monotonic() - start
        return batch, Position(self._step, 0, float(self._step))

    def close(self) -> None:
        """Nothing is left to end."""
