"""Where a model predicts no better than counting: sentences for the end of a run and for the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

UNIGRAM, BIGRAM, FIVE_GRAM = BASELINES = ("unigram", "bigram", "5-gram")  # of `trainer.evaluation.baselines`
NEEDS = {  # what would most likely help, by whether the best validation was the last one, if that is known
    True: "more time (--max-minutes, --epochs, and another --output)",
    False: "more pieces",
    None: "more time (--max-minutes) or more pieces",
}
OTHER_GRID = "the other grid (--time-base of the encode)"  # where times are the trouble
_TIMES = {"step", "duration"}  # fields
NOTICEABLE = 0.01  # nats per note; a field that is always the same costs both next to nothing


def doubts(metrics: Mapping[str, Any], *, is_still_improving: bool | None) -> Iterator[str]:
    """Sentences on a model that does not beat the baselines of its training split; none on one that does.

    Args:
      metrics: of the bundle.
      is_still_improving: whether the best validation was the last one; None if that is not known.
    """
    found = list(_worse_than_counting(metrics))
    if found and is_still_improving:
        found.append(f"The last validation was the best one: most likely it needs {NEEDS[True]}.")
    elif found and is_still_improving is not None:
        grid = f", or {OTHER_GRID}" if _TIMES.intersection(_worse_fields(metrics)) else ""
        found.append(f"It stopped improving: most likely it needs {NEEDS[False]}{grid}.")
    yield from found


def _worse_than_counting(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on a model that is no better than a baseline as a whole, or worse than the bigram in some fields."""
    bigram, five_gram = (_baseline(metrics, name) for name in (BIGRAM, FIVE_GRAM))
    nll, by_field = metrics["validation_nll"], metrics["validation_nll_by_field"]
    worse = _worse_fields(metrics)
    if nll >= bigram["nll"]:
        shown = f"{nll:.2f} nats per note, bigram {bigram['nll']:.2f}"
        yield f"The model is no better than a bigram ({shown}): its music will be noise."
        return
    if nll >= five_gram["nll"]:
        shown = f"{nll:.2f} nats per note, 5-gram {five_gram['nll']:.2f}"
        yield f"The model is no better than a 5-gram with Kneser-Ney smoothing ({shown})."
    if worse:
        shown = ", ".join(f"{name} ({by_field[name]:.2f}, bigram {bigram['by_field'][name]:.2f})" for name in worse)
        yield f"The model is worse than a bigram at {shown}."


def _worse_fields(metrics: Mapping[str, Any]) -> list[str]:
    bigram, by_field = _baseline(metrics, BIGRAM)["by_field"], metrics["validation_nll_by_field"]
    return [name for name, nats in by_field.items() if nats > bigram.get(name, math.inf) + NOTICEABLE]


def _baseline(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Bundles of earlier versions have no 5-gram."""
    return metrics["baselines"].get(name, {"nll": math.inf, "by_field": {}})
