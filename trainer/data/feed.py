"""The endless sequence of training batches from any position, made ahead of the steps that consume them."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from midi_codec.fields import FieldTable
from trainer.config import TrainConfig
from trainer.data.augmentation import Augmentation
from trainer.data.batches import WHOLE, Batch, Part, Windows, keyed_rng, make_batch
from trainer.data.epoch_plan import EpochPlan
from trainer.data.pieces import Pieces

BATCH_STREAM = 1  # for draws within a batch; the plan of an epoch uses the stream (rng_seed, epoch)
PREFETCHED = 4
NUM_THREADS = 2

PlanEpoch = Callable[[int], Sequence[Windows]]  # the windows of each batch of an epoch


@dataclasses.dataclass(frozen=True)
class Position:
    """A position between two batches: `batch` of `epoch` comes next, after `epochs_done` epochs."""

    epoch: int = 0
    batch: int = 0
    epochs_done: float = 0.0


class Feed:
    """Yields batches without end, each with the position after it; the same position always gives the same batches.

    A global batch does not depend on the number of workers and replicas; `part` says which of its rows are made here,
    `memory` how many notes before each window are included, `plan_epoch` which windows there are, by default those of
    `plan_of`.

    Attributes:
      waited: seconds that `next` has spent so far waiting for batches.
    """

    def __init__(
        self,
        pieces: Pieces,
        table: FieldTable,
        config: TrainConfig,
        *,
        start_bins: np.ndarray,
        position: Position,
        memory: int = 0,
        part: Part = WHOLE,
        plan_epoch: PlanEpoch | None = None,
    ):
        self.waited = 0.0
        self._pieces, self._table, self._config, self._start_bins, self._part = pieces, table, config, start_bins, part
        self._memory = memory
        self._amounts = Augmentation(transpose=config.transpose, tempo=config.tempo, velocity=config.velocity)
        self._plans = _plans(plan_epoch or plan_of(pieces, config), position)
        self._ahead: collections.deque[tuple[Future[Batch], Position]] = collections.deque()
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="feed")

    def __iter__(self) -> Iterator[tuple[Batch, Position]]:
        return self

    def __next__(self) -> tuple[Batch, Position]:
        start = time.monotonic()
        while len(self._ahead) <= PREFETCHED:
            epoch, index, windows, after = next(self._plans)
            self._fetch(windows)
            self._ahead.append((self._pool.submit(self._make, epoch, index, windows), after))
        future, after = self._ahead.popleft()
        batch = future.result()
        self.waited += time.monotonic() - start
        return batch, after

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _fetch(self, windows: Windows) -> None:
        own = windows.take(self._part.rows(self._num_rows(windows)))
        self._pieces.fetch(own.piece, own.begin - max(self._memory, 1) - 1, own.begin + own.length)

    def _num_rows(self, windows: Windows) -> int:
        """The last batches of an epoch have only as many rows as fill the replicas."""
        replicas = self._part.replicas
        return -(-len(windows) // replicas) * replicas

    def _make(self, epoch: int, index: int, windows: Windows) -> Batch:
        return make_batch(
            self._pieces,
            windows,
            table=self._table,
            batch_size=self._num_rows(windows),
            start_bins=self._start_bins,
            amounts=self._amounts,
            rng=keyed_rng(self._config.rng_seed, BATCH_STREAM, epoch, index),
            label_dropout=self._config.label_dropout,
            memory=self._memory,
            part=self._part,
        )


def plan_of(pieces: Pieces, config: TrainConfig) -> PlanEpoch:
    """Every piece cut into windows."""
    return lambda epoch: EpochPlan(
        pieces, window=config.window, batch_size=config.batch_size, rng_seed=config.rng_seed, epoch=epoch
    )


def _plans(plan_epoch: PlanEpoch, position: Position) -> Iterator[tuple[int, int, Windows, Position]]:
    epoch, first = position.epoch, position.batch
    while True:
        plan = plan_epoch(epoch)
        for index in range(first, len(plan)):
            is_last = index + 1 == len(plan)
            after = (
                Position(epoch + 1, 0, epoch + 1.0)
                if is_last
                else Position(epoch, index + 1, epoch + (index + 1) / len(plan))
            )
            yield epoch, index, plan[index], after
        epoch, first = epoch + 1, 0
