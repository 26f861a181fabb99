"""What a model must beat: unigram, bigram and 5-gram likelihoods of every field, over the same bins.

Unigram and bigram score each field separately. The unigram is add-one smoothed; the bigram backs off to it by Witten
and Bell's rule (1991): a context that was seen n times with d different followers gives the unigram d / (n + d) of its
mass. `pitch` has END as one more symbol. A time bin spreads its probability evenly over its ticks, as the model's does.
The 5-gram also sees a note's other fields; see `kneser_ney`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields
from trainer.data.pieces import Block, Pieces
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
    models = [_models(counts, field) for counts, field in zip(pair_counts(train, table), table, strict=True)]
    costs = {name: {field.name: np.zeros(held_out.num_pieces) for field in table} for name in (UNIGRAM, BIGRAM)}
    held_symbols = held_out.scratch(held_out.total_events * len(table), np.uint8).reshape(-1, len(table))
    first_piece = first_event = 0
    for block in held_out.blocks():
        symbols = symbols_of(block, table)
        last_event, last_piece = first_event + len(symbols), first_piece + len(block.first_event) - 1
        held_symbols[first_event:last_event] = symbols
        for column, (field, (unigram, bigram)) in enumerate(zip(table, models, strict=True)):
            targets = symbols[:, column]
            contexts = np.append(field.num_bins, targets[:-1])
            scored = slice(None) if field.name == "pitch" else ~block.is_end
            spans = np.append(field.log_spans.astype(np.float64), 0.0)[targets[scored]]
            probabilities = {UNIGRAM: unigram[targets[scored]], BIGRAM: bigram[contexts[scored], targets[scored]]}
            for name, probability in probabilities.items():
                events = np.zeros(len(symbols))
                events[scored] = spans - np.log(probability)
                costs[name][field.name][first_piece:last_piece] = np.add.reduceat(events, block.first_event[:-1])
        first_event, first_piece = last_event, last_piece
    learned = train.block(0, kneser_ney.num_learned(train.num_events))
    first = np.concatenate([[0], np.cumsum(held_out.num_events, dtype=np.int64)])
    by_field = kneser_ney.piece_costs((symbols_of(learned, table), learned.first_event), (held_symbols, first), table)
    return costs | {FIVE_GRAM: by_field}


def pair_counts(pieces: Pieces, table: fields.FieldTable) -> list[np.ndarray]:
    """For each field `[num_bins + 1, num_bins + 1]` int64: how often each symbol follows each, pieces apart.

    The last symbol is the END of a piece, and what comes before the next one.
    """
    counts = [np.zeros((field.num_bins + 1) ** 2, np.int64) for field in table]
    for block in pieces.blocks():
        for column, (field, count) in enumerate(zip(table, counts, strict=True)):
            symbols = _symbols(block, field, column)
            pairs = symbols.astype(np.int64)
            pairs[0] += field.num_bins * (field.num_bins + 1)
            pairs[1:] += symbols[:-1] * (field.num_bins + 1)
            count += np.bincount(pairs, minlength=len(count))
    return [count.reshape(field.num_bins + 1, -1) for field, count in zip(table, counts, strict=True)]


def symbols_of(block: Block, table: fields.FieldTable) -> np.ndarray:
    """`[num_events, num_fields]` int32 bins, with `num_bins` at the END of each piece."""
    return np.stack([_symbols(block, field, column) for column, field in enumerate(table)], axis=1)


def _symbols(block: Block, field: fields.FieldSpec, column: int) -> np.ndarray:
    symbols = field.encode(block.raw[:, column])
    symbols[block.first_event[1:] - 1] = field.num_bins
    return symbols


def _models(counts: np.ndarray, field: fields.FieldSpec) -> tuple[np.ndarray, np.ndarray]:
    """`[symbols]` probabilities of the unigram, add-one smoothed, and `[contexts, symbols]` of the bigram."""
    counts = counts.astype(np.float64)
    smoothed = counts.sum(axis=0) + 1
    if field.name != "pitch":  # the mark between pieces is not an outcome here
        counts[:, -1] = smoothed[-1] = 0
    unigram = smoothed / smoothed.sum()
    return unigram, backed_off(counts, unigram)


def backed_off(counts: np.ndarray, unigram: np.ndarray) -> np.ndarray:
    """`[contexts, symbols]` probabilities by Witten and Bell's rule; those of the unigram in a context never seen.

    Args:
      counts: `[contexts, symbols]` float64.
      unigram: `[symbols]`.
    """
    totals, followers = counts.sum(axis=1, keepdims=True), (counts > 0).sum(axis=1, keepdims=True)
    return np.where(totals > 0, (counts + followers * unigram) / np.maximum(totals + followers, 1), unigram)
