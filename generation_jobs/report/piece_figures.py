"""The figures of each piece for the report's list, and the distribution of the same figures in the corpus."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from generation_jobs.measures.music_measures import Part, measures
from generation_jobs.output.generated_music import GeneratedPiece

DECIMALS = 4
MAX_CORPUS_PARTS = 400  # for three quantiles; shards are ordered by hash, so the first ones are a fair sample
_QUANTILES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(frozen=True)
class Figures:
    """The results of `generation_jobs.measures.music_measures` for the page.

    Attributes:
      measures: name, title, and `corpus`: its 5 %, 50 % and 95 % quantile, or None.
      pieces: a row per piece, a figure per measure; None where a piece has nothing to measure.
    """

    measures: list[dict[str, Any]]
    pieces: list[list[float | None]]


def figures_of(pieces: Sequence[GeneratedPiece], time_base: str, corpus: Iterable[Part] = ()) -> Figures:
    """Leaves out measures that no piece has."""
    chosen = measures(time_base)
    mine = [[measure.piece_figure(piece.part) for measure in chosen] for piece in pieces]
    parts = itertools.islice(corpus, MAX_CORPUS_PARTS)
    theirs = [[measure.piece_figure(part) for measure in chosen] for part in parts]
    used = [index for index in range(len(chosen)) if any(row[index] is not None for row in mine)]
    described = [
        {
            "name": chosen[index].name,
            "title": chosen[index].title,
            "corpus": _quantiles([row[index] for row in theirs if row[index] is not None]),
        }
        for index in used
    ]
    return Figures(described, [[_rounded(row[index]) for index in used] for row in mine])


def _quantiles(values: Sequence[float | None]) -> list[float] | None:
    return [round(float(value), DECIMALS) for value in np.quantile(values, _QUANTILES)] if values else None  # type: ignore[arg-type]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
