"""A 5-gram over the fields of notes with modified Kneser-Ney smoothing: the strongest model that only counts.

Interpolated, with three discounts per order from counts of counts (Chen and Goodman 1999, section 3). A gram's count is
discounted, and the freed probability goes to the next shorter context, where a gram counts once per different
preceding symbol. The unigram backs off to the uniform distribution, so nothing has probability 0.

For notes with four fields there are several choices of "the last four symbols". Each field uses the one of four context
orders that is best on the scored notes themselves, which favours this baseline.

    stream      the fields in reading order
    same        the same field of the last four notes
    own         this note's earlier fields, then the same field of the last notes
    same_own    the same field of the last note, this note's earlier fields, the same field of the notes before

END is decided before `step`, from the last note or notes; its cost counts towards `pitch`. The likelihood is over the
same events and bins as a model's, and a time bin spreads its probability evenly over its ticks. Counting takes some
five seconds per million notes, so it learns from the first `MAX_LEARNED` notes of a larger split. Our own code, because
existing libraries count in Python objects (nltk), or train in an external program on text with one fixed order of
symbols (KenLM).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from midi_codec import fields
from trainer.data.pieces import BLOCK_EVENTS

ORDER = 5
MAX_LEARNED = 2_000_000  # events
FALLBACK_DISCOUNT = 0.75  # if the counts of counts do not determine one
SMALLEST_DISCOUNT = 0.01
Layout = list[tuple[int, int]]  # (how many notes back, which field), the most important symbol first


@dataclasses.dataclass(frozen=True)
class Level:
    """The grams of one length, for queries.

    Attributes:
      grams: `[n]` int64, ascending codes: context times number of symbols plus symbol.
      kept: `[n]`, their counts minus discounts.
      contexts: `[m]` int64, ascending codes.
      totals, freed: `[m]`, the sum of a context's counts, and of its discounts.
    """

    grams: np.ndarray
    kept: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    freed: np.ndarray


class KneserNey:
    """Probabilities of a symbol in a context of up to `len(sizes)` symbols.

    Args:
      symbols: `[n]` int, the observed symbols, each from 0 to `num_symbols` - 1.
      contexts: `[n, length]` int; the symbol that is dropped last comes first.
      num_symbols: the number of symbols.
      sizes: `[length]`, the number of symbols at each position of a context.
    """

    def __init__(self, symbols: np.ndarray, contexts: np.ndarray, *, num_symbols: int, sizes: list[int]):
        self._num_symbols, self._sizes = num_symbols, sizes
        grams, counts = np.unique(_codes(contexts, sizes) * num_symbols + symbols, return_counts=True)
        self._levels = [_level(grams, counts, num_symbols)]
        for size in reversed(sizes):
            shorter = grams // num_symbols // size * num_symbols + grams % num_symbols
            grams, counts = np.unique(shorter, return_counts=True)
            self._levels.append(_level(grams, counts, num_symbols))

    def probability(self, symbols: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """`[n]` float64; arguments as for the class."""
        order = np.argsort(_codes(contexts, self._sizes) * self._num_symbols + symbols)  # ascending: found faster
        symbols, contexts = symbols[order], contexts[order]
        probability = np.full(len(symbols), 1 / self._num_symbols)
        for length, level in enumerate(reversed(self._levels)):
            context = _codes(contexts[:, :length], self._sizes[:length])
            index, is_seen = _find(level.contexts, context)
            gram, has_gram = _find(level.grams, context * self._num_symbols + symbols)
            kept = np.where(has_gram, level.kept[gram], 0.0)
            interpolated = (kept + level.freed[index] * probability) / level.totals[index]
            probability = np.where(is_seen, interpolated, probability)
        found = np.empty_like(probability)
        found[order] = probability
        return found


def _codes(contexts: np.ndarray, sizes: list[int]) -> np.ndarray:
    """`[n]` int64, one number per context; the last position is the least significant, so a division drops it."""
    codes = np.zeros(len(contexts), np.int64)
    for column, size in zip(contexts.T, sizes, strict=True):
        codes = codes * size + column
    return codes


def _find(ascending: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of each value, and whether it is present."""
    index = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return index, ascending[index] == wanted


def _level(grams: np.ndarray, counts: np.ndarray, num_symbols: int) -> Level:
    discounts = discounts_of(counts)[np.minimum(counts, 3)]
    contexts, index = np.unique(grams // num_symbols, return_inverse=True)
    totals = np.bincount(index, weights=counts)
    return Level(grams, counts - discounts, contexts, totals, np.bincount(index, weights=discounts))


def discounts_of(counts: np.ndarray) -> np.ndarray:
    """`[4]`: 0, and the discounts of grams seen once, twice, and more often."""
    ones, twos, threes, fours = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    found = [0.0]
    share = ones / (ones + 2 * twos) if ones else 0.0
    for count, here, above in ((1, ones, twos), (2, twos, threes), (3, threes, fours)):
        discount = count - (count + 1) * share * above / here if share and here else FALLBACK_DISCOUNT
        found.append(min(max(discount, SMALLEST_DISCOUNT), count))
    return np.array(found)


def layouts(index: int, num_fields: int) -> dict[str, Layout]:
    """The orders of context of the field at `index`; see the module's docstring."""
    own: Layout = [(0, field) for field in reversed(range(index))]
    before: Layout = [(lag, field) for lag in range(1, ORDER) for field in reversed(range(num_fields))]
    same: Layout = [(lag, index) for lag in range(1, ORDER)]
    found = {"stream": own + before, "same": same, "own": own + same, "same_own": same[:1] + own + same[1:]}
    return {name: layout[: ORDER - 1] for name, layout in found.items()}


def end_layouts(num_fields: int) -> dict[str, Layout]:
    """The orders of context of the end of a piece: what the last note was, and the last steps, pitches, and so on."""
    last: Layout = [(1, field) for field in range(num_fields)]
    found = {f"same_{field}": [(lag, field) for lag in range(1, ORDER)] for field in range(num_fields)}
    return {"stream": last[::-1][: ORDER - 1], "forward": last[: ORDER - 1], **found}


def symbols_at(bins: np.ndarray, first_event: np.ndarray, layout: Layout, sizes: list[int]) -> np.ndarray:
    """`[num_events, len(layout)]` int64: bins of the layout, or the number of bins before the start of the piece."""
    begin = np.repeat(first_event[:-1], np.diff(first_event))
    columns = []
    for lag, field in layout:
        event = np.arange(len(bins)) - lag
        columns.append(np.where(event >= begin, bins[np.maximum(event, 0), field], sizes[field]))
    return np.stack(columns, axis=1).astype(np.int64)


def piece_costs(
    learned: tuple[np.ndarray, np.ndarray], scored: tuple[np.ndarray, np.ndarray], table: fields.FieldTable
) -> dict[str, np.ndarray]:
    """What each held-out piece costs by field, `[num_pieces]` float64 in nats; END's cost counts towards `pitch`.

    Args:
      learned, scored: of the training and the held-out pieces, `[num_events, num_fields]` bins, those of END being
        ignored, and `[num_pieces + 1]`, the first event of each piece; END is its last.
      table: the fields.
    """
    sizes = [field.num_bins for field in table]
    learned = _first_pieces(*learned)
    bins, first_event = scored
    is_end = _is_end(*learned)

    def cost(layout: Layout, size: int, index: int | None) -> np.ndarray:
        """`[num_pieces]` of the held-out pieces: what their ends cost, or one field of their notes."""
        context_sizes = [sizes[field] + 1 for _, field in layout]
        contexts = symbols_at(*learned, layout, sizes)
        which = slice(None) if index is None else ~is_end
        targets = is_end.astype(np.int64) if index is None else learned[0][:, index].astype(np.int64)
        model = KneserNey(targets[which], contexts[which], num_symbols=size, sizes=context_sizes)
        found = np.zeros(len(first_event) - 1)
        for first, last in _blocks(first_event):
            begins = first_event[first : last + 1]
            block = bins[begins[0] : begins[-1]], begins - begins[0]
            ends = _is_end(*block)
            where = slice(None) if index is None else ~ends
            targets = ends.astype(np.int64) if index is None else block[0][:, index].astype(np.int64)
            costs = np.zeros(len(ends))
            costs[where] = -np.log(model.probability(targets[where], symbols_at(*block, layout, sizes)[where]))
            if index is not None:
                costs[where] += np.log(table.fields[index].spans)[targets[where]]
            found[first:last] = np.add.reduceat(costs, block[1][:-1])
        return found

    end_cost = min((cost(layout, 2, None) for layout in end_layouts(len(sizes)).values()), key=np.sum)
    found = {}
    for index, field in enumerate(table):
        choices = layouts(index, len(sizes)).values()
        found[field.name] = min((cost(layout, sizes[index], index) for layout in choices), key=np.sum)
    found["pitch"] += end_cost
    return found


def num_learned(num_events: np.ndarray) -> int:
    """As many whole pieces as have `MAX_LEARNED` events together, and at least one."""
    total = np.cumsum(num_events[:MAX_LEARNED], dtype=np.int64)
    return max(int(np.searchsorted(total, MAX_LEARNED, side="right")), 1)


def _first_pieces(bins: np.ndarray, first_event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    last = num_learned(np.diff(first_event))
    return bins[: first_event[last]], first_event[: last + 1]


def _blocks(first_event: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pieces of about `BLOCK_EVENTS` together, from the first to before the last."""
    first = 0
    while first < len(first_event) - 1:
        last = int(np.searchsorted(first_event, first_event[first] + BLOCK_EVENTS, side="right")) - 1
        yield first, max(last, first + 1)
        first = max(last, first + 1)


def _is_end(bins: np.ndarray, first_event: np.ndarray) -> np.ndarray:
    """`[num_events]` bool."""
    found = np.zeros(len(bins), bool)
    found[first_event[1:] - 1] = True
    return found
