"""Rewards: what each of some pieces is worth that one model has drawn together.

A reward is called with pieces and returns a number for each: more is better, and NaN says nothing. These names are
known; others are `MODULE:NAME`, a function of that kind in a module of one's own:

    screening    1 for a piece that passes the screen, 0 for one that does not
    MEASURE      of `midi_codec.measures.music_measures`, such as `key_share` or `recurrence`: how much more often
                 pieces of the corpus have a figure like this one's than drawn pieces do, log c(x) - log g(x)

A model that is moved by a measure comes nearer to the distribution of the corpus, not to its mean: the gradient of the
expected reward is that of -KL(g || c). Both densities are sums of Gaussians of one width, Silverman's for the corpus's
figures, with a small uniform share, so that no piece costs without limit. To have no figure is one more value of x.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from job_runtime.problem_report import UserError
from midi_codec.measures.music_measures import Measure, Part, measures
from midi_codec.measures.thresholds import Screen

SCREENING = "screening"
TAIL_SHARE = 0.05  # of each density, uniform over all figures
NUM_TRIED = 4  # pieces that every reward is tried with before a run begins
_FUNCTION = re.compile(r"(\w+(?:\.\w+)*):(\w+)")

Reward = Callable[[Sequence[Part]], np.ndarray]


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
        self._corpus, self._none = figures[~np.isnan(figures)], _share_of_none(figures)
        spread = float(self._corpus.std()) if len(self._corpus) else 0.0
        if spread:
            quartiles = float(np.subtract(*np.quantile(self._corpus, (0.75, 0.25)))) / 1.34
            spread = min(spread, quartiles or spread)
        self._width = 0.9 * spread * max(len(self._corpus), 1) ** -0.2

    @property
    def problem(self) -> str | None:
        """Why the measure says nothing of this corpus."""
        if not len(self._corpus):
            return f"no piece of the training split has a {self._measure.name}"
        return None if self._width else f"all pieces of the training split have the same {self._measure.name}"

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        figures = self._figures(parts)
        none, is_known = _share_of_none(figures), ~np.isnan(figures)
        found = np.full(len(parts), np.log(self._none) - np.log(none))
        drawn = figures[is_known]
        if len(drawn):
            low, high = (pick((pick(drawn), pick(self._corpus))) for pick in (np.min, np.max))
            floor = TAIL_SHARE / max(high - low, self._width)
            of_corpus, of_drawn = (
                (1 - TAIL_SHARE) * _density(drawn, own, self._width) + floor for own in (self._corpus, drawn)
            )
            found[is_known] = np.log((1 - self._none) * of_corpus) - np.log((1 - none) * of_drawn)
        return found

    def _figures(self, parts: Iterable[Part]) -> np.ndarray:
        figures = [self._measure.piece_figure(part) for part in parts]
        return np.array([np.nan if figure is None else figure for figure in figures], np.float64)


def _share_of_none(figures: np.ndarray) -> float:
    """Of pieces without a figure; half a piece more on both sides, so that neither share is 0."""
    return float(np.isnan(figures).sum() + 0.5) / (len(figures) + 1)


def _density(at: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """`[n]` a sum of Gaussians around `centres`, scaled to 1."""
    scaled = (at[:, None] - centres) / width
    return np.exp(-0.5 * scaled**2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def names_problems(names: Iterable[str], time_base: str) -> Iterator[str]:
    """Sentences on names that are no reward on this grid."""
    known = [SCREENING, *(measure.name for measure in measures(time_base))]
    for name in names:
        if name in known:
            continue
        if ":" in name:
            if isinstance(reason := _plug_in(name), str):
                yield f"{name!r} is no reward: {reason}"
            continue
        near = difflib.get_close_matches(name, known, 1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        yield f"{name!r} is no reward{guess}, want some of {', '.join(known)}, or MODULE:NAME of a function"


def make(names: Iterable[str], *, screen: Screen, corpus: Sequence[Part], time_base: str) -> Mapping[str, Reward]:
    """The rewards of these names, which have no problems, tried with some pieces of the corpus.

    Args:
      screen: for `screening`.
      corpus: pieces of the corpus, cut like those that will be drawn.
      time_base: of both.

    Raises:
      UserError: a measure says nothing of this corpus, or a function fails.
    """
    by_name = {measure.name: measure for measure in measures(time_base)}
    made: dict[str, Reward] = {}
    problems = []
    for name in names:
        if name == SCREENING:
            made[name] = Passes(screen)
        elif name in by_name:
            reward = made[name] = LikeCorpus(by_name[name], corpus)
            problems += [f"--rewards: {reward.problem}; leave it out"] if reward.problem else []
        else:
            plug_in = _plug_in(name)
            assert callable(plug_in), plug_in
            made[name] = plug_in
            try:
                values_of(corpus[:NUM_TRIED], {name: plug_in})
            except UserError as error:
                problems += error.problems
    if problems:
        raise UserError(problems)
    return made


def values_of(parts: Sequence[Part], rewards: Mapping[str, Reward]) -> dict[str, np.ndarray]:
    """`[n]` float64 per reward.

    Raises:
      UserError: a function of one's own fails, or gives something else.
    """
    found = {}
    for name, reward in rewards.items():
        try:
            given = reward(parts)
            found[name] = np.asarray(given, np.float64)
        except Exception as error:
            raise UserError(f"--rewards: {name} fails with {type(error).__name__}: {error}") from error
        if found[name].shape != (len(parts),) or np.isinf(found[name]).any():
            raise UserError(
                f"--rewards: {name} gives {given!r}, want {len(parts)} numbers, or NaN where it says nothing"
            )
    return found


def _plug_in(name: str) -> Reward | str:
    """The function that `MODULE:NAME` names, or why there is none."""
    match = _FUNCTION.fullmatch(name)
    if match is None:
        return "want MODULE:NAME"
    try:
        found = getattr(importlib.import_module(match[1]), match[2])
    except Exception as error:  # whatever the module does when it is imported
        return f"{type(error).__name__}: {error}"
    return found if callable(found) else f"{match[2]} is no function"
