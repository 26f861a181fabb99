"""Where a model predicts no better than counting: sentences for the end of a run and for the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

NOTICEABLE = 0.01  # nats per note; a field that is always the same costs both next to nothing


def doubts(metrics: Mapping[str, Any], *, is_still_improving: bool | None) -> Iterator[str]:
    """Sentences on a model that does not beat the bigram of its training split; none on one that does.

    Args:
      metrics: of the bundle.
      is_still_improving: whether the best validation was the last one; None if that is not known.
    """
    bigram = metrics["baselines"].get("bigram")
    if not bigram:
        return
    nll, by_field = metrics["validation_nll"], metrics["validation_nll_by_field"]
    worse = [name for name, nats in by_field.items() if nats > bigram["by_field"].get(name, math.inf) + NOTICEABLE]
    if nll >= bigram["nll"]:
        shown = f"{nll:.2f} nats per note, bigram {bigram['nll']:.2f}"
        yield f"The model is no better than a bigram ({shown}): its music will be noise."
    elif worse:
        shown = ", ".join(f"{name} ({by_field[name]:.2f}, bigram {bigram['by_field'][name]:.2f})" for name in worse)
        yield f"The model is worse than a bigram at {shown}."
    else:
        return
    if is_still_improving:
        yield "The last validation was the best one: most likely it needs more time (--max-minutes, --epochs)."
    elif is_still_improving is not None:
        yield "It stopped improving: most likely it needs more pieces, or the other grid (--time-base of the encode)."
