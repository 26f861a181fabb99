"""What a model must beat: unigram, bigram and 5-gram likelihoods of every field, over the same bins.

Unigram and bigram score each field separately. The unigram is add-one smoothed; the bigram backs off to it by Witten
and Bell's rule (1991): a context that was seen n times with d different followers gives the unigram d / (n + d) of its
mass. `pitch` has END as one more symbol. A time bin spreads its probability evenly over its ticks, as the model's does.
The 5-gram also sees a note's other fields; see `kneser_ney`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from midi_codec import fields
from trainer.data.pieces import Pieces
from trainer.doubts import BIGRAM, FIVE_GRAM, UNIGRAM
from trainer.evaluation import kneser_ney


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Nats per note, END included, in total and by field."""

    nll: float
    by_field: dict[str, float]


def score_baselines(train: Pieces, held_out: Pieces, table: fields.FieldTable) -> dict[str, Baseline]:
    """The likelihoods of the held-out pieces under each baseline, learned from the training pieces."""
    scores = {}
    for name, by_field in piece_costs(train, held_out, table).items():
        per_note = {field: float(costs.sum() / held_out.num_notes) for field, costs in by_field.items()}
        scores[name] = Baseline(sum(per_note.values()), per_note)
    return scores


def piece_costs(train: Pieces, held_out: Pieces, table: fields.FieldTable) -> dict[str, dict[str, np.ndarray]]:
    """What each held-out piece costs under each baseline: `[num_pieces]` float64 by field, in nats."""
    costs: dict[str, dict[str, np.ndarray]] = {UNIGRAM: {}, BIGRAM: {}}
    columns: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for field in table:
        num_symbols = field.num_bins + 1  # the last is END in `pitch`, elsewhere the mark between pieces
        learned = _symbols(train, table, field)
        counted = _scored(learned, field)
        unigram = _unigram(learned, num_symbols, scored=counted)
        bigram = _bigram(learned, num_symbols, unigram, scored=counted)
        symbols = _symbols(held_out, table, field)
        scored = _scored(symbols, field)
        targets, contexts = symbols[scored], np.append(field.num_bins, symbols[:-1])[scored]
        spans = np.append(field.log_spans.astype(np.float64), 0.0)[targets]
        for name, probability in ((UNIGRAM, unigram[targets]), (BIGRAM, bigram(contexts, targets))):
            events = np.zeros(len(symbols))
            events[scored] = spans - np.log(probability)
            costs[name][field.name] = np.add.reduceat(events, held_out.first_event[:-1])
        columns[0].append(learned)
        columns[1].append(symbols)
    bins = [np.stack(column, axis=1) for column in columns]
    by_field = kneser_ney.piece_costs((bins[0], train.first_event), (bins[1], held_out.first_event), table)
    return costs | {FIVE_GRAM: by_field}


def _symbols(pieces: Pieces, table: fields.FieldTable, field: fields.FieldSpec) -> np.ndarray:
    """`[num_events]` int32 bins, with `num_bins` at the END of each piece."""
    ends = pieces.first_event[1:] - 1
    values = pieces.raw[:, table.names.index(field.name)].copy()
    values[ends] = field.lows[0]  # any known value: overwritten below
    symbols = field.encode(values)
    symbols[ends] = field.num_bins
    return symbols


def _scored(symbols: np.ndarray, field: fields.FieldSpec) -> np.ndarray:
    """Which events are scored: all of them in `pitch`, elsewhere only the notes."""
    return np.ones(len(symbols), bool) if field.name == "pitch" else symbols < field.num_bins


def _unigram(symbols: np.ndarray, num_symbols: int, *, scored: np.ndarray) -> np.ndarray:
    """`[num_symbols]` probabilities, add-one smoothed over the symbols that are scored."""
    counts = np.bincount(symbols[scored], minlength=num_symbols).astype(np.float64)
    smoothed = counts + 1
    if not scored.all():
        smoothed[-1] = 0  # the mark between pieces is not an outcome here
    return smoothed / smoothed.sum()


def _bigram(
    symbols: np.ndarray, num_symbols: int, unigram: np.ndarray, *, scored: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of (contexts, targets), `[n]` int each, giving `[n]` probabilities."""
    contexts = np.append(num_symbols - 1, symbols[:-1])
    pairs = np.bincount(contexts[scored].astype(np.int64) * num_symbols + symbols[scored], minlength=num_symbols**2)
    counts = pairs.reshape(num_symbols, num_symbols).astype(np.float64)
    probabilities = backed_off(counts, unigram)
    return lambda context, target: probabilities[context, target]


def backed_off(counts: np.ndarray, unigram: np.ndarray) -> np.ndarray:
    """`[contexts, symbols]` probabilities by Witten and Bell's rule; those of the unigram in a context never seen.

    Args:
      counts: `[contexts, symbols]` float64.
      unigram: `[symbols]`.
    """
    totals, followers = counts.sum(axis=1, keepdims=True), (counts > 0).sum(axis=1, keepdims=True)
    return np.where(totals > 0, (counts + followers * unigram) / np.maximum(totals + followers, 1), unigram)
