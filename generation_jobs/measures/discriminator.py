"""A small LSTM learns to tell windows of generated notes from windows of corpus notes: how often is it right?

With perfect music it is right half of the time, always with music that never passes for the corpus's. Every piece is
judged by a network that has not seen it: the pieces are dealt into five folds by a hash of their names, three train a
network, one says when to stop, one is judged, and so on in turn. Both kinds count alike, however many windows each has.
The interval is from pieces drawn with replacement.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from generation_jobs.measures.corpus_comparison import cut_alike
from job_runtime.logs.progress import progress
from midi_codec.dataset.records import Piece
from midi_codec.measures.music_measures import Part

if TYPE_CHECKING:
    from generation_jobs.measures.discriminator_network import Network

NOTES = 64  # of a window
MOST_WINDOWS = 2048  # of each kind
MOST_OF_A_PIECE = 8
NUM_FOLDS = 5
FEWEST_PIECES = 2 * NUM_FOLDS  # of each kind
FEW_TICKS = 48
NUM_VALUES = (512, 512, 128, 128, 129)  # of the columns: at most that many
LARGE_BATCH = 512  # to judge
MOST_OF_A_BATCH, STEPS_PER_EPOCH = 64, 16  # few windows make small batches
MOST_EPOCHS, PATIENCE = 20, 3
NUM_RESAMPLES, LEVEL = 2000, 0.95


class Windows:
    """Windows of the pieces of one kind, as bins.

    Attributes:
      names: of the pieces that have a window, each that of the unit that is in one fold as a whole.
      index: the number of each such piece among all that were added.
      bins: `[windows, NOTES, 5]` of each such piece.
      num_added: pieces, those without a window included.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.index: list[int] = []
        self.bins: list[np.ndarray] = []
        self.num_added = 0

    def add(self, name: str, part: Part) -> None:
        """The windows of a piece's notes after the primer, without overlap; at most `MOST_OF_A_PIECE` of them."""
        starts = _spread(np.arange(part.num_given, len(part.notes) - NOTES + 1, NOTES), MOST_OF_A_PIECE)
        if len(starts):
            self.names.append(name)
            self.index.append(self.num_added)
            notes = part.notes
            columns = (time_bins(notes.step), time_bins(notes.duration), notes.pitch, notes.velocity, notes.program)
            self.bins.append(np.stack(columns, axis=1).astype(np.int16)[starts[:, None] + np.arange(NOTES)])
        self.num_added += 1

    def chosen(self) -> tuple[np.ndarray, np.ndarray]:
        """At most `MOST_WINDOWS` windows `[n, NOTES, 5]`, equally many of each piece, and the piece of each `[n]`."""
        most = max(1, MOST_WINDOWS // max(len(self.bins), 1))
        kept = [_spread(bins, most) for bins in self.bins]
        piece = np.repeat(np.arange(len(kept)), [len(bins) for bins in kept])
        return np.concatenate(kept), piece


@dataclasses.dataclass(frozen=True)
class Told:
    """What the networks told apart.

    Attributes:
      accuracy: mean of `real` and `generated`.
      interval: 95 % of the accuracy's resamples.
      real, generated: the shares of each kind's windows that were taken for what they are.
      held_out: of the held-out split, the share taken for real; None without a window of it.
      num_pieces, num_windows: of both kinds.
      scores: `[generated pieces]` mean log odds that a piece is real, NaN without a window.
    """

    accuracy: float
    interval: tuple[float, float]
    real: float
    generated: float
    held_out: float | None
    num_pieces: tuple[int, int]
    num_windows: tuple[int, int]
    scores: np.ndarray

    def to_json(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        del fields["scores"]
        return fields


def compare(
    generated: Windows,
    shapes: Sequence[tuple[int, int]],
    train: Sequence[Piece],
    held_out: Sequence[Piece],
) -> Told | str:
    """What the networks tell apart, with the corpus cut like the generated pieces; or why there are none."""
    corpora = []
    for pieces in (train, held_out):
        corpora.append(Windows())
        for piece, shape in zip(pieces, itertools.cycle(shapes), strict=False):
            for part in cut_alike([piece.notes], [shape]):
                corpora[-1].add(piece.group_id, part)
    real, others = corpora
    return problem(real, generated) or tell_apart(real, generated, others)


def problem(real: Windows, generated: Windows) -> str | None:
    """Why there are too few pieces; None if there are enough."""
    for kind, windows in (("real", real), ("generated", generated)):
        if len(set(windows.names)) < FEWEST_PIECES:
            found = len(set(windows.names))
            return f"{found} {kind} pieces have {NOTES} notes after the primer, want at least {FEWEST_PIECES}"
    return None


def tell_apart(real: Windows, generated: Windows, held_out: Windows) -> Told:
    """Trains the networks; `problem` must have found none."""
    kinds = [real, generated]
    bins, pieces = zip(*(kind.chosen() for kind in kinds), strict=True)
    folds = [folds_of(kind.names)[piece] for kind, piece in zip(kinds, pieces, strict=True)]
    others = held_out.chosen()[0] if held_out.bins else bins[0][:0]
    x = np.concatenate(bins)
    is_real = np.repeat([1.0, 0.0], [len(each) for each in bins])
    scores, of_others = _cross_fit(x, is_real, np.concatenate(folds), others)
    split = np.split(scores, [len(bins[0])])
    right = [split[0] > 0, split[1] <= 0]
    sums = [
        np.stack([np.bincount(piece, hits), np.bincount(piece)], axis=1)
        for piece, hits in zip(pieces, right, strict=True)
    ]
    all_scores = np.full(generated.num_added, np.nan)
    all_scores[generated.index] = np.bincount(pieces[1], split[1]) / np.bincount(pieces[1])
    return Told(
        accuracy=float(np.mean([hits.mean() for hits in right])),
        interval=interval(sums),
        real=float(right[0].mean()),
        generated=float(right[1].mean()),
        held_out=float((of_others > 0).mean()) if len(others) else None,
        num_pieces=(len(real.bins), len(generated.bins)),
        num_windows=(len(bins[0]), len(bins[1])),
        scores=all_scores,
    )


def time_bins(ticks: np.ndarray) -> np.ndarray:
    """`[n]`: each of the first `FEW_TICKS` has a bin of its own, then there are twelve for each doubling."""
    octaves = np.log2(np.maximum(ticks, FEW_TICKS) / FEW_TICKS)
    return np.where(ticks < FEW_TICKS, ticks, FEW_TICKS + np.floor(12 * octaves).astype(np.int64))


def folds_of(names: Sequence[str]) -> np.ndarray:
    """`[n]` the fold of each piece: equal names are in one fold, and all folds have about as many names."""
    order = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    fold = {name: rank % NUM_FOLDS for rank, name in enumerate(order)}
    return np.array([fold[name] for name in names])


def interval(sums: Sequence[np.ndarray]) -> tuple[float, float]:
    """The middle 95 % of the mean accuracy of both kinds, over pieces drawn with replacement.

    Args:
      sums: of each kind, `[pieces, 2]` windows that were told right, and all windows.
    """
    rng = np.random.default_rng(0)
    draws = []
    for each in sums:
        times = rng.multinomial(len(each), np.full(len(each), 1 / len(each)), NUM_RESAMPLES)
        right, total = (times @ each).T
        draws.append(right / total)
    low, high = np.quantile(np.mean(draws, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def lines(told: Told, split: str) -> Iterator[str]:
    """Text for people."""
    (real, generated), (real_windows, generated_windows) = told.num_pieces, told.num_windows
    low, high = (100 * end for end in told.interval)
    yield ""
    yield (
        f"discriminator: {100 * told.accuracy:.1f} % of windows told apart (95 %: {low:.1f}-{high:.1f}; 50 % is"
        f" perfect), {100 * told.real:.1f} % of train's, {100 * told.generated:.1f} % of the generated ones"
    )
    if told.held_out is not None:
        yield f"of {split}'s windows, {100 * told.held_out:.1f} % were taken for the corpus's"
    yield (
        f"windows of {NOTES} notes: {real_windows} of {real} pieces of train, {generated_windows} of {generated}"
        " generated ones; each judged by a network that has not seen its piece"
    )


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def _cross_fit(
    x: np.ndarray, is_real: np.ndarray, fold: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log odds that windows are real: of `x` by the network that has not seen their fold, of `others` the mean."""
    from generation_jobs.measures.discriminator_network import Network

    network = Network(NUM_VALUES)
    scores, of_others = np.zeros(len(x)), np.zeros(len(others))
    for judged in progress(range(NUM_FOLDS), total=NUM_FOLDS, unit="folds", label="telling apart"):
        network.reset()
        stops, tests = fold == (judged + 1) % NUM_FOLDS, fold == judged
        _train(network, *((x[rows], is_real[rows]) for rows in (~stops & ~tests, stops)))
        scores[tests] = _log_odds(network, x[tests])
        of_others += _log_odds(network, others) / NUM_FOLDS
    return scores, of_others


def _train(network: Network, used: tuple[np.ndarray, np.ndarray], stops: tuple[np.ndarray, np.ndarray]) -> None:
    """Trains until the loss on `stops` has not fallen for `PATIENCE` epochs; the best weights stay."""
    rng = np.random.default_rng(0)
    x, is_real = used
    size = min(MOST_OF_A_BATCH, -(-len(x) // STEPS_PER_EPOCH))
    weights, stop_weights = _weights(is_real), _weights(stops[1])
    lowest, best, since = np.inf, network.get_weights(), 0
    for _ in range(MOST_EPOCHS):
        order = rng.permutation(len(x))
        for begin in range(0, len(x), size):
            rows = order[begin : begin + size]
            network.train(x[rows], is_real[rows], weights[rows])
        log_odds = _log_odds(network, stops[0])
        loss = (stop_weights * np.logaddexp(0, np.where(stops[1] > 0, -log_odds, log_odds))).mean()
        since += 1
        if loss < lowest:
            lowest, best, since = loss, network.get_weights(), 0
        if since == PATIENCE:
            break
    network.set_weights(best)


def _log_odds(network: Network, x: np.ndarray) -> np.ndarray:
    """`[n]`, of being real."""
    parts = [x[begin : begin + LARGE_BATCH] for begin in range(0, len(x), LARGE_BATCH)]
    return np.concatenate([np.zeros(0), *map(network.log_odds, parts)])


def _weights(is_real: np.ndarray) -> np.ndarray:
    """`[n]`, with which both kinds weigh half."""
    share = is_real.mean()
    return np.where(is_real > 0, 0.5 / share, 0.5 / (1 - share))
