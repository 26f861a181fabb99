"""Counts of note values by split and column: taken batch by batch, exact, and added up in any order.

The split of a piece is final only once near-duplicates and groups are known. So a part counts each piece in the split
that the piece alone would get, and the shards' writer subtracts what was dropped or moved (`sign=-1`). All counts are
whole numbers, so the order of addition does not matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from midi_codec.dataset.dataset_info import COLUMNS, SPLITS, Histogram
from midi_codec.music.note_batch import NoteBatch

Counts = tuple[np.ndarray, np.ndarray]  # values ascending, and how many notes have each; both [n] int64
_SIZES = {"step": 1 << 16, "duration": 1 << 16, "pitch": 128, "velocity": 128, "program": 129}  # larger times are rare


class ValueCounts:
    """How often each value occurs, by split and column."""

    def __init__(self) -> None:
        self._dense = {split: {name: np.zeros(_SIZES[name], np.int64) for name in COLUMNS} for split in SPLITS}
        self._rare: dict[tuple[str, str], dict[int, int]] = {key: {} for key in itertools.product(SPLITS, COLUMNS)}
        self._tops = dict.fromkeys(self._rare, 0)  # where the used part of each dense column ends

    def add(self, batch: NoteBatch, splits: np.ndarray, *, sign: int = 1) -> None:
        """Counts the notes of a batch.

        Args:
          splits: `[pieces]`, the index into SPLITS of each piece's split.
          sign: -1 subtracts them again.
        """
        if not len(batch):
            return
        lengths = np.diff(batch.offsets)
        largest, *others = np.argsort(-np.bincount(splits, weights=lengths, minlength=len(SPLITS))).tolist()
        others = [split_index for split_index in others if (splits == split_index).any()]
        of_note = np.repeat(splits, lengths) if others else np.zeros(0, np.uint8)
        rows = {split_index: np.flatnonzero(of_note == split_index) for split_index in others}
        for name in COLUMNS:
            values = steps(batch) if name == "step" else getattr(batch, name)
            # One pass counts all notes for the largest split; those of the other splits are subtracted again.
            self._add(largest, name, values, sign)
            for split_index in others:
                part = values.take(rows[split_index])
                self._add(split_index, name, part, sign)
                self._add(largest, name, part, -sign)

    def _add(self, split_index: int, name: str, values: np.ndarray, sign: int) -> None:
        if not values.size:
            return
        dense = self._dense[SPLITS[split_index]][name]
        if values[0] == values[-1] and (values == values[0]).all() and values[0] < len(dense):  # a program, as a rule
            self._note_top(SPLITS[split_index], name, int(values[0]))
            dense[values[0]] += sign * len(values)
            return
        if values.dtype != np.uint8 and values.max() >= len(dense):
            is_rare = values >= len(dense)
            distinct, counts = np.unique(values[is_rare], return_counts=True)
            self._add_rare(SPLITS[split_index], name, distinct, sign * counts)
            values = values[~is_rare]
        counts = np.bincount(values)
        self._note_top(SPLITS[split_index], name, len(counts) - 1)
        dense[: len(counts)] += sign * counts

    def _note_top(self, split: str, name: str, highest: int) -> None:
        self._tops[split, name] = max(self._tops[split, name], min(highest + 1, _SIZES[name]))

    def _add_rare(self, split: str, name: str, values: np.ndarray, counts: np.ndarray) -> None:
        rare = self._rare[split, name]
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            rare[value] = rare.get(value, 0) + count

    def add_counts(self, counts: Mapping[str, Mapping[str, Counts]]) -> None:
        """Adds the `counts` of another object of this class."""
        for split, columns in counts.items():
            for name, (values, numbers) in columns.items():
                dense = self._dense[split][name]
                if not len(values):
                    continue
                self._note_top(split, name, int(values[-1]))
                num_small = int(values.searchsorted(len(dense)))
                dense[values[:num_small]] += numbers[:num_small]
                self._add_rare(split, name, values[num_small:], numbers[num_small:])

    def counts(self) -> dict[str, dict[str, Counts]]:
        """All counts that are not 0, by split and column; those of a difference may be negative."""
        return {split: {name: self._counts_of(split, name) for name in COLUMNS} for split in SPLITS}

    def _counts_of(self, split: str, name: str) -> Counts:
        dense, rare = self._dense[split][name][: self._tops[split, name]], self._rare[split, name]
        small = np.flatnonzero(dense)
        large = sorted(value for value, count in rare.items() if count)
        numbers = np.array([rare[value] for value in large], np.int64)
        return np.concatenate([small, np.array(large, np.int64)]), np.concatenate([dense[small], numbers])

    def histograms(self) -> dict[str, dict[str, Histogram]]:
        """As in `dataset_info.json`."""
        return {
            split: {
                name: Histogram(values=tuple(values.tolist()), counts=tuple(numbers.tolist()))
                for name, (values, numbers) in columns.items()
            }
            for split, columns in self.counts().items()
        }


def steps(batch: NoteBatch) -> np.ndarray:
    """`[total]` int32, ticks since the previous onset; 0 where a piece begins."""
    step = np.zeros_like(batch.start)
    np.subtract(batch.start[1:], batch.start[:-1], out=step[1:])
    step[batch.offsets[:-1]] = 0
    return step
