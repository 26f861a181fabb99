"""Compares generated music with the corpus: one histogram per measure, and how well the two agree.

    overlap      the area under both histograms, each scaled to 1: 1 means equal, 0 means nothing in common
    wasserstein  how far, on average, mass must move to turn one into the other; the unit is one bin. Pitch classes are
                 on a circle
    kl           Kullback-Leibler divergence of the generated from the corpus, in nats; each bin of both gets half a
                 count more, so that it is finite

Two parts of the corpus do not reach 1 either, so a held-out part is also compared with the corpus: that is the ceiling.
Sizes are matched, since a small sample never looks quite like a large one: held-out pieces are drawn with replacement
until they have as many counts as the generated set (or as the held-out set, if that has fewer), and the median over the
draws is the ceiling; its interval leaves out 2.5 % of the draws on either side.

Besides, the means of the pieces' own figures (`music_measures` defines them) show rates plainly.
"""

from __future__ import annotations

import array
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from midi_codec.measures.music_measures import Measure, Part
from midi_codec.music.notes import Notes

NUM_DRAWS = 200
QUANTILES = (0.5, 0.025, 0.975)
_PSEUDO_COUNT = 0.5  # per bin, for kl (Krichevsky and Trofimov)


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """The corpus compared with itself: medians over the draws, and the interval of 95 % of the overlaps."""

    overlap: float
    wasserstein: float
    kl: float
    interval: tuple[float, float]


class Looks:
    """What each measure says of several pieces: 8 bytes per piece and measure, and with `keep_counts` 8 per bin."""

    def __init__(self, chosen: Sequence[Measure], parts: Iterable[Part] = (), *, keep_counts: bool = False) -> None:
        self.chosen = chosen
        self.totals = [np.zeros(len(measure.bins)) for measure in chosen]
        self.num_counted = [0] * len(chosen)  # pieces in which there was something to count
        self._counts: list[list[np.ndarray]] | None = [[] for _ in chosen] if keep_counts else None
        self._figures = [array.array("d") for _ in chosen]
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> list[float | None]:
        """The piece's own figures; None where there is nothing to measure."""
        figures = []
        for index, measure in enumerate(self.chosen):
            counts, figure = measure.look(part)
            self.totals[index] += counts
            self.num_counted[index] += counts.sum() > 0
            self._figures[index].append(math.nan if figure is None else figure)
            if self._counts is not None:
                self._counts[index].append(counts)
            figures.append(figure)
        return figures

    def counts(self, index: int) -> np.ndarray:
        """`[pieces, num_bins]` of a measure."""
        assert self._counts is not None
        return np.array(self._counts[index]).reshape(-1, len(self.totals[index]))

    def mean(self, index: int) -> float | None:
        """Of the figures of the pieces; None without one."""
        figures = np.frombuffer(self._figures[index])
        known = figures[~np.isnan(figures)]
        return float(known.mean()) if len(known) else None


class Means(NamedTuple):
    """The means of the pieces' own figures; None without one."""

    generated: float | None
    corpus: float | None
    held_out: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Shares `[num_bins]` that add up to 1; anything is None where there was nothing to count."""

    measure: Measure
    generated: np.ndarray | None
    corpus: np.ndarray | None
    overlap: float | None
    wasserstein: float | None
    kl: float | None
    ceiling: Ceiling | None
    means: Means
    num_pieces: int = 0  # generated ones in which there was something to count

    @property
    def of_ceiling(self) -> float | None:
        """The overlap as a share of the ceiling's; None without a ceiling, or of one that is 0."""
        if self.overlap is None or self.ceiling is None or self.ceiling.overlap < 1e-9:
            return None
        return self.overlap / self.ceiling.overlap


def compare(generated: Looks, corpus: Iterable[Part], held_out: Iterable[Part]) -> list[Comparison]:
    """One comparison per measure; all three sets are on one grid."""
    chosen = generated.chosen
    theirs, others = Looks(chosen, corpus), Looks(chosen, held_out, keep_counts=True)
    return [_compare(index, generated, theirs, others) for index in range(len(chosen))]


def cut_alike(notes: Iterable[Notes], shapes: Sequence[tuple[int, int]]) -> Iterator[Part]:
    """Corpus pieces cut like generated ones, so that openings are compared with openings and ends with ends.

    `shapes` are (primer notes, all notes) of the generated pieces, used in turn; a piece that has no note beyond the
    primer's is left out.
    """
    for piece, (num_given, num_notes) in zip(notes, itertools.cycle(shapes), strict=False):
        if len(piece) > num_given:
            yield Part(piece.take(slice(max(num_notes, num_given + 1))), num_given)


def overlap(first: np.ndarray | None, second: np.ndarray | None) -> float | None:
    """The area under both histograms, which are scaled to 1; None if one of them is missing."""
    if first is None or second is None:
        return None
    return float(np.minimum(first, second).sum())


def wasserstein(first: np.ndarray, second: np.ndarray, *, is_circular: bool = False) -> float:
    """Of two histograms scaled to 1, in bins: the area between their cumulative sums (Vallender 1974).

    On a circle the cumulative sums may start at any bin; subtracting the median of their difference minimises the area
    (Werman et al. 1986).
    """
    difference = np.cumsum(first - second)
    return float(np.abs(difference - (np.median(difference) if is_circular else 0)).sum())


def kl_divergence(first: np.ndarray, second: np.ndarray) -> float:
    """The divergence of counts `first` from counts `second`, in nats, with half a count more in each bin."""
    p, q = first + _PSEUDO_COUNT, second + _PSEUDO_COUNT
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def _compare(index: int, generated: Looks, corpus: Looks, held_out: Looks) -> Comparison:
    measure = generated.chosen[index]
    means = Means(*(looks.mean(index) for looks in (generated, corpus, held_out)))
    ours, theirs, others = generated.totals[index], corpus.totals[index], held_out.counts(index)
    mine, shares = _shares(ours), _shares(theirs)
    ceiling, moved, divergence = None, None, None
    if shares is not None and mine is not None:
        moved, divergence = wasserstein(mine, shares, is_circular=measure.is_circular), kl_divergence(ours, theirs)
    if shares is not None and others.sum() > 0:
        ceiling = _ceiling(measure, others, theirs, float(ours.sum()) or float(others.sum()))
    num_pieces = int(generated.num_counted[index])
    return Comparison(measure, mine, shares, overlap(mine, shares), moved, divergence, ceiling, means, num_pieces)


def _ceiling(measure: Measure, others: np.ndarray, theirs: np.ndarray, size: float) -> Ceiling:
    corpus = theirs / theirs.sum()
    rows = [(counts / counts.sum(), counts) for counts in _draws(others, min(size, others.sum()))]
    figures = np.array(
        [
            (
                np.minimum(shares, corpus).sum(),
                wasserstein(shares, corpus, is_circular=measure.is_circular),
                kl_divergence(counts, theirs),
            )
            for shares, counts in rows
        ]
    )
    middle, low, high = np.quantile(figures, QUANTILES, axis=0)
    overlapping, moved, divergence = middle.tolist()
    return Ceiling(overlapping, moved, divergence, (float(low[0]), float(high[0])))


def _draws(counts: np.ndarray, size: float) -> np.ndarray:
    """`[draws, num_bins]`: pieces drawn with replacement until they have `size` counts; the same draws every time."""
    counts = counts[counts.sum(axis=1) > 0]
    rng = np.random.default_rng(0)
    sizes = counts.sum(axis=1)
    totals = np.zeros((NUM_DRAWS, counts.shape[1]))
    for total in totals:
        drawn = np.zeros(len(counts))
        missing = size
        while missing > 0:
            pieces = rng.integers(len(counts), size=int(missing // sizes.mean()) + 1)
            before = np.cumsum(sizes[pieces]) - sizes[pieces]
            kept = pieces[before < missing]
            drawn += np.bincount(kept, minlength=len(counts))
            missing -= sizes[kept].sum()
        total += drawn @ counts
    return totals


def _shares(counts: np.ndarray) -> np.ndarray | None:
    total = counts.sum()
    return counts / total if total > 0 else None
