"""What a model must beat: unigram and bigram likelihoods of every field, over the same bins.

Each field is scored by itself. The unigram is add-one smoothed; the bigram goes back to it by Witten and Bell's rule
(1991): a context that was seen n times with d different followers gives the unigram d / (n + d) of its mass. `pitch`
has END as one more symbol. A time bin spreads its probability evenly over its ticks, as the model's does.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields
from trainer.pieces import Pieces


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Nats a note, END included, in all and by field."""

    nll: float
    by_field: dict[str, float]


def score_baselines(train: Pieces, held_out: Pieces, table: fields.FieldTable) -> dict[str, Baseline]:
    """`unigram` and `bigram` likelihoods of the held-out pieces, learned from the training pieces."""
    costs: dict[str, dict[str, float]] = {"unigram": {}, "bigram": {}}
    for field in table:
        train_symbols, held_out_symbols = _symbols(train, table, field), _symbols(held_out, table, field)
        num_symbols = field.num_bins + 1  # the last is END in `pitch`, else the mark between pieces
        unigram = _unigram(train_symbols, num_symbols, scored=_scored(train_symbols, field))
        scored = _scored(held_out_symbols, field)
        targets = held_out_symbols[scored]
        contexts = np.append(field.num_bins, held_out_symbols[:-1])[scored]
        spans = np.append(field.log_spans.astype(np.float64), 0.0)[targets].sum()
        bigram = _bigram(train_symbols, num_symbols, unigram, scored=_scored(train_symbols, field))
        costs["unigram"][field.name] = (spans - np.log(unigram[targets]).sum()) / held_out.num_notes
        costs["bigram"][field.name] = (spans - np.log(bigram(contexts, targets)).sum()) / held_out.num_notes
    return {
        name: Baseline(float(sum(by_field.values())), {field: float(cost) for field, cost in by_field.items()})
        for name, by_field in costs.items()
    }


def _symbols(pieces: Pieces, table: fields.FieldTable, field: fields.FieldSpec) -> np.ndarray:
    """`[num_events]` int32 bins, with `num_bins` at the END of each piece."""
    ends = pieces.first_event[1:] - 1
    values = pieces.raw[:, table.names.index(field.name)].copy()
    values[ends] = field.lows[0]  # any known value: overwritten below
    symbols = field.encode(values)
    symbols[ends] = field.num_bins
    return symbols


def _scored(symbols: np.ndarray, field: fields.FieldSpec) -> np.ndarray:
    """Which events cost something: all in `pitch`, the notes elsewhere."""
    return np.ones(len(symbols), bool) if field.name == "pitch" else symbols < field.num_bins


def _unigram(symbols: np.ndarray, num_symbols: int, *, scored: np.ndarray) -> np.ndarray:
    """`[num_symbols]` probabilities, add-one smoothed over the symbols that are scored."""
    counts = np.bincount(symbols[scored], minlength=num_symbols).astype(np.float64)
    smoothed = counts + 1
    if not scored.all():
        smoothed[-1] = 0  # the mark between pieces is no outcome here
    return smoothed / smoothed.sum()


def _bigram(symbols: np.ndarray, num_symbols: int, unigram: np.ndarray, *, scored: np.ndarray):
    """A function of (contexts, targets), `[n]` int each, giving `[n]` probabilities."""
    contexts = np.append(num_symbols - 1, symbols[:-1])
    pairs = np.bincount(contexts[scored].astype(np.int64) * num_symbols + symbols[scored], minlength=num_symbols**2)
    counts = pairs.reshape(num_symbols, num_symbols).astype(np.float64)
    totals, followers = counts.sum(axis=1), (counts > 0).sum(axis=1)

    def probability(context: np.ndarray, target: np.ndarray) -> np.ndarray:
        backed_off = counts[context, target] + followers[context] * unigram[target]
        seen = totals[context] > 0
        return np.where(seen, backed_off / np.maximum(totals[context] + followers[context], 1), unigram[target])

    return probability
