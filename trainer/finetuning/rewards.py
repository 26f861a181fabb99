"""Rewards: what each of some drawn pieces is worth.

A reward is called with pieces drawn by one model together, and returns a number for each: more is better, and NaN says
nothing. `parse` knows these names; others are `MODULE:NAME`, a function of that kind in a module of one's own:

    screening    1 for a piece that passes the screen, 0 for one that does not
    MEASURE      of `midi_codec.measures.music_measures`, such as `key_share` or `recurrence`: how much more often
                 pieces of the corpus have a figure like this one's than drawn pieces do, log c(x) - log g(x)

A model that is moved by a measure comes nearer to the distribution of the corpus, not to its mean: the gradient of the
expected reward is that of -KL(g || c). Both densities are sums of Gaussians of one width, Silverman's for the corpus's
figures, with a small uniform share, so that no piece costs without limit.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from job_runtime.problem_report import UserError
from midi_codec.measures.music_measures import Measure, Part, measures
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import BEATS, MILLISECONDS

SCREENING = "screening"
TAIL_SHARE = 0.05  # of each density, uniform over all figures
MOST_FIGURES = 4096  # of the corpus, evenly spread over its pieces

Reward = Callable[[Sequence[Part]], np.ndarray]


def measure_names() -> list[str]:
    """Of all measures, on either grid."""
    return list(dict.fromkeys(measure.name for grid in (BEATS, MILLISECONDS) for measure in measures(grid)))


class Passes:
    """The reward `screening`."""

    def __init__(self, screen: Screen):
        self._screen = screen

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        judged = (self._screen.judge_notes(part.notes, part.num_given, ended=False) for part in parts)
        return np.array([float(not judgement.reasons) for judgement in judged])


class LikeCorpus:
    """The reward of a measure.

    Args:
      measure: its figures are compared.
      corpus: pieces of the corpus, cut like the drawn ones.
    """

    def __init__(self, measure: Measure, corpus: Iterable[Part]):
        self._measure = measure
        figures = self._figures(corpus)
        self._corpus = figures[~np.isnan(figures)]
        spread = np.subtract(*np.quantile(self._corpus, (0.75, 0.25))) / 1.34 if len(self._corpus) else 0.0
        spread = min(spread or np.inf, float(self._corpus.std()) if len(self._corpus) else np.inf)
        self._width = 0.9 * spread * max(len(self._corpus), 1) ** -0.2 if np.isfinite(spread) else 0.0

    @property
    def is_defined(self) -> bool:
        """Whether the corpus has at least two different figures."""
        return self._width > 0

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        figures = self._figures(parts)
        known = ~np.isnan(figures)
        found = np.full(len(parts), np.nan)
        if known.sum() > 1 and self.is_defined:
            drawn = figures[known]
            low, high = (pick((pick(drawn), pick(self._corpus))) for pick in (np.min, np.max))
            floor = TAIL_SHARE / max(high - low, self._width)
            of_corpus, of_drawn = (
                (1 - TAIL_SHARE) * _density(drawn, own, self._width) + floor for own in (self._corpus, drawn)
            )
            found[known] = np.log(of_corpus) - np.log(of_drawn)
        return found

    def _figures(self, parts: Iterable[Part]) -> np.ndarray:
        figures = [self._measure.piece_figure(part) for part in parts]
        return np.array([np.nan if figure is None else figure for figure in figures], np.float64)


def _density(at: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """`[n]` a sum of Gaussians around `centres`, scaled to 1."""
    scaled = (at[:, None] - centres) / width
    return np.exp(-0.5 * scaled**2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def names_problems(names: Iterable[str]) -> list[str]:
    """Sentences on names that are no reward."""
    known = [SCREENING, *measure_names()]
    return [
        f"{name!r} is no reward, want {', '.join(known)}, or MODULE:NAME of a function"
        for name in names
        if name not in known and (problem := _plug_in(name)) is not None and isinstance(problem, str)
    ]


def make(names: Iterable[str], *, screen: Screen, corpus: Sequence[Part], time_base: str) -> Mapping[str, Reward]:
    """The rewards of these names, which have no problems.

    Args:
      screen: for `screening`.
      corpus: pieces of the corpus, cut like those that will be drawn.
      time_base: of both.

    Raises:
      UserError: the corpus has no two different figures of a measure.
    """
    by_name = {measure.name: measure for measure in measures(time_base)}
    made: dict[str, Reward] = {}
    for name in names:
        if name == SCREENING:
            made[name] = Passes(screen)
        elif name in by_name:
            made[name] = LikeCorpus(by_name[name], corpus)
        else:
            plug_in = _plug_in(name)
            assert callable(plug_in), plug_in
            made[name] = plug_in
    undefined = [name for name, reward in made.items() if isinstance(reward, LikeCorpus) and not reward.is_defined]
    if undefined:
        raise UserError(
            f"--rewards: all pieces of the training split are alike in {name}, want a measure that tells them apart"
            for name in undefined
        )
    return made


def _plug_in(name: str) -> Reward | str:
    """The function that `MODULE:NAME` names, or why there is none."""
    module, _, attribute = name.partition(":")
    if not attribute:
        return "want MODULE:NAME"
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        return str(error)
    return found if callable(found) else f"{name} is not callable"
