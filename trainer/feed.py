"""The endless run of training batches from any position, made ahead of the step that consumes them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from midi_codec.fields import FieldTable
from trainer.augmentation import Augmentation
from trainer.batches import Batch, Windows, keyed_rng, make_batch, plan_epoch
from trainer.config import TrainConfig
from trainer.pieces import Pieces

BATCH_STREAM = 1  # of `rng_seed`: draws within a batch; plans of epochs use (rng_seed, epoch) alone
PREFETCHED = 2


@dataclasses.dataclass(frozen=True)
class Position:
    """A place between two batches: `batch` of `epoch` comes next; `epochs_done` is its place as a number."""

    epoch: int = 0
    batch: int = 0
    epochs_done: float = 0.0


def feed(
    pieces: Pieces, table: FieldTable, config: TrainConfig, *, start_bins: np.ndarray, position: Position
) -> Generator[tuple[Batch, Position], None, None]:
    """Yields batches without end, each with the position after it; the same from the same position, always."""
    amounts = Augmentation(transpose=config.transpose, tempo=config.tempo, velocity=config.velocity)

    def make(epoch: int, index: int, windows: Windows) -> Batch:
        return make_batch(
            pieces,
            windows,
            table=table,
            batch_size=config.batch_size,
            start_bins=start_bins,
            amounts=amounts,
            rng=keyed_rng(config.rng_seed, BATCH_STREAM, epoch, index),
        )

    plans = _plans(pieces, config, position)
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as pool:
        ahead: collections.deque = collections.deque()
        while True:
            while len(ahead) < PREFETCHED:
                epoch, index, windows, after = next(plans)
                ahead.append((pool.submit(make, epoch, index, windows), after))
            future, after = ahead.popleft()
            yield future.result(), after


def _plans(pieces: Pieces, config: TrainConfig, position: Position) -> Iterator[tuple[int, int, Windows, Position]]:
    epoch, first = position.epoch, position.batch
    while True:
        plan = plan_epoch(
            pieces.num_events,
            window=config.window,
            batch_size=config.batch_size,
            rng_seed=config.rng_seed,
            epoch=epoch,
        )
        for index in range(first, len(plan)):
            is_last = index + 1 == len(plan)
            after = (
                Position(epoch + 1, 0, epoch + 1.0)
                if is_last
                else Position(epoch, index + 1, epoch + (index + 1) / len(plan))
            )
            yield epoch, index, plan[index], after
        epoch, first = epoch + 1, 0
