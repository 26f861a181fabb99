"""The figures of each piece for the report's list, the distribution of the same figures in the corpus, and which pieces
are most like it.

For each measure, a piece has the share of the corpus's pieces, itself counted with them, that are at least as far from
the corpus's median as it is; a piece without a figure has the share without one. The mean of the negative logarithms of
these shares is its distance (Fisher's way of combining tests): 0 if every figure is the median. One strange figure
weighs more than several slightly unusual ones.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from generation_jobs.output.generated_music import GeneratedPiece
from midi_codec.measures.music_measures import Measure, Part, measures

DECIMALS = 4
MAX_CORPUS_PARTS = 400  # for three quantiles; shards are ordered by hash, so the first ones are a fair sample
NUM_HIGHLIGHTS = 20
_QUANTILES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True)
class Figures:
    """The results of `midi_codec.measures.music_measures` for the page.

    Attributes:
      measures: name, title, unit, and `corpus`: its 5 %, 50 % and 95 % quantile, or None.
      pieces: a row per piece, a figure per measure; None where a piece has nothing to measure.
      distances: of each piece from the corpus, or from all pieces if there is no corpus; None if nothing is measured.
      has_corpus: whether there is one.
    """

    measures: list[dict[str, Any]]
    pieces: list[list[float | None]]
    distances: list[float | None]
    has_corpus: bool


def figures_of(pieces: Sequence[GeneratedPiece], time_base: str, corpus: Iterable[Part] = ()) -> Figures:
    """Leaves out measures that no piece has."""
    chosen = measures(time_base)
    parts = itertools.islice(corpus, MAX_CORPUS_PARTS)
    mine, theirs = _table((piece.part for piece in pieces), chosen), _table(parts, chosen)
    used = np.flatnonzero(~np.isnan(mine).all(axis=0))
    described = [
        {
            "name": chosen[index].name,
            "title": chosen[index].title,
            "unit": chosen[index].unit,
            "corpus": _quantiles(theirs[:, index]),
        }
        for index in used
    ]
    has_corpus = len(theirs) > 0
    is_empty = np.isnan(mine).all(axis=1)
    distances = [
        None if empty else round(distance, DECIMALS)
        for empty, distance in zip(is_empty, _distances(mine, theirs if has_corpus else mine).tolist(), strict=True)
    ]
    rows = [[None if np.isnan(value) else round(value, DECIMALS) for value in row] for row in mine[:, used].tolist()]
    return Figures(described, rows, distances, has_corpus)


def choose_highlights(distances: Sequence[float | None], num: int = NUM_HIGHLIGHTS) -> list[int]:
    """Indices of `num` pieces (all, if there are fewer), spread evenly over the ranking by distance.

    The pieces most and least like the corpus are among them; a piece without a distance never is. Ascending.
    """
    ranked = sorted((distance, index) for index, distance in enumerate(distances) if distance is not None)
    if not ranked:
        return []
    ranks = np.rint(np.linspace(0, len(ranked) - 1, min(num, len(ranked)))).astype(int)
    return sorted(ranked[rank][1] for rank in ranks)


def _table(parts: Iterable[Part], chosen: Sequence[Measure]) -> np.ndarray:
    """`[parts, measures]` float64; NaN where a part has nothing to measure."""
    rows = [[measure.piece_figure(part) for measure in chosen] for part in parts]
    return np.array(rows, np.float64).reshape(-1, len(chosen))


def _distances(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """`[pieces]`; both arguments are `[pieces, measures]`."""
    total = np.zeros(len(mine))
    for figures, others in zip(mine.T, theirs.T, strict=True):
        known = others[~np.isnan(others)]
        middle = np.median(known) if len(known) else 0.0
        far = np.sort(np.abs(known - middle))
        at_least_as_far = len(far) - np.searchsorted(far, np.abs(figures - middle))
        as_unusual = np.where(np.isnan(figures), len(others) - len(known), at_least_as_far)
        total -= np.log((as_unusual + 1) / (len(others) + 1))
    return total / max(mine.shape[1], 1)


def _quantiles(values: np.ndarray) -> list[float] | None:
    values = values[~np.isnan(values)]
    return [round(value, DECIMALS) for value in np.quantile(values, _QUANTILES).tolist()] if len(values) else None
