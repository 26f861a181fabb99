"""The exact counts of a dataset in readable bins, coarse for a terminal or fine for a plot."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo, Histogram
from midi_codec.music.instrument_names import name_of
from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, TICKS_PER_BEAT

RARE_SHARE = 0.0005  # the longest times with this share of the notes go into one bin
NUM_PROGRAMS = 12  # with a line of their own
_BEAT_EDGES = (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 36, 48, 72, 96, 144, 192, 288, 384, 768, 1536, 3072)
_COARSE_BEAT_EDGES = (0, 1, 3, 6, 12, 24, 48, 96, 192, 384, 768, 1536, 3072)
_BEAT_TICKS = (0, 3, 6, 12, 24, 48, 96, 384, 1536)
_NAMES_OF_PITCHES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


@dataclasses.dataclass(frozen=True)
class Bars:
    """A histogram in bins. `counts[split][bin]`; `labels` name each bin, `ticks` are (bin, text) for an axis."""

    name: str
    title: str
    labels: Sequence[str]
    counts: Mapping[str, Sequence[int]]
    ticks: Sequence[tuple[int, str]]

    @property
    def totals(self) -> list[int]:
        """Of all splits, by bin."""
        return [sum(column) for column in zip(*self.counts.values(), strict=True)]


def of_dataset(info: DatasetInfo, *, coarse: bool) -> list[Bars]:
    """Pitch, velocity, step and duration, without empty bins at both ends; a bin of times excludes its end."""
    return [_of_column(info, name, coarse) for name in ("pitch", "velocity", "step", "duration") if _has(info, name)]


def of_programs(info: DatasetInfo, num: int = NUM_PROGRAMS) -> Bars:
    """Notes by program, the commonest first; programs beyond `num` share a bin."""

    total: dict[int, int] = dict.fromkeys(info.programs, 0)
    for split in SPLITS:
        histogram = info.histograms[split]["program"]
        for program, count in zip(histogram.values, histogram.counts, strict=True):
            total[program] = total.get(program, 0) + count
    ranked = sorted(total, key=lambda program: (-total[program], program))
    shown, others = ranked[:num], set(ranked[num:])
    labels = [name_of(p) if p == DRUM_PROGRAM else f"{p} {name_of(p)}" for p in shown]
    counts = {}
    for split in SPLITS:
        histogram = info.histograms[split]["program"]
        of = dict(zip(histogram.values, histogram.counts, strict=True))
        counts[split] = [of.get(program, 0) for program in shown]
        if others:
            counts[split].append(sum(of.get(program, 0) for program in others))
    if others:
        labels.append(f"{len(others)} more programs")
    return Bars("program", "Program", labels, counts, ())


def of_lengths(num_notes: Mapping[str, Sequence[int]]) -> Bars:
    """Pieces by their number of notes.

    Args:
      num_notes: by split, of each piece.
    """
    highest = max([1, *(max(lengths) for lengths in num_notes.values() if lengths)])
    edges = _decimal_edges(highest, coarse=False)[1:]
    histograms = {}
    for split in SPLITS:
        values, counts = np.unique(np.asarray(num_notes.get(split, ()), np.int64), return_counts=True)
        histograms[split] = Histogram(values=tuple(values.tolist()), counts=tuple(counts.tolist()))
    labels = [_span(low, high - 1) for low, high in itertools.pairwise(edges)]
    ticks = [(index, f"{low:,}") for index, low in enumerate(edges[:-1]) if _is_round(low)]
    starts = [f"{low:,}" for low in edges]
    return _with_one_tail(
        _trimmed(_put("num_notes", "Notes per piece", histograms, edges, labels, ticks)), labels, starts
    )


def _has(info: DatasetInfo, name: str) -> bool:
    return any(info.histograms[split][name].values for split in SPLITS)


def _of_column(info: DatasetInfo, name: str, coarse: bool) -> Bars:
    histograms = {split: info.histograms[split][name] for split in SPLITS}
    if name == "pitch":
        edges = list(range(0, 133, 12 if coarse else 1))
        labels = [
            f"{pitch_name(low)} to {pitch_name(min(high - 1, 127))}" if coarse else pitch_name(low)
            for low, high in itertools.pairwise(edges)
        ]
        ticks = [(index, pitch_name(low)) for index, low in enumerate(edges[:-1]) if low % 12 == 0]
        return _trimmed(_put(name, "Pitch", histograms, edges, labels, ticks))
    if name == "velocity":
        edges = list(range(0, 129, 16 if coarse else 4))
        labels = [_span(max(low, 1), high - 1) for low, high in itertools.pairwise(edges)]
        ticks = [(index, str(low)) for index, low in enumerate(edges[:-1]) if low % 32 == 0]
        return _put(name, "Velocity", histograms, edges, labels, ticks)
    return _of_times(info, name, histograms, coarse)


def _of_times(info: DatasetInfo, name: str, histograms: Mapping[str, Histogram], coarse: bool) -> Bars:
    highest = max(histogram.values[-1] for histogram in histograms.values() if histogram.values)
    text: Callable[[int], str]
    is_tick: Callable[[int], bool]
    if info.time_base == MILLISECONDS:
        edges = _decimal_edges(highest, coarse=coarse)
        text, is_tick = _milliseconds, _is_round
    else:
        edges = list(_COARSE_BEAT_EDGES if coarse else _BEAT_EDGES)
        edges.append(max(highest + 1, 2 * edges[-1]))
        text, is_tick = _beats, _BEAT_TICKS.__contains__
    labels = [
        text(low) if high == low + 1 else f"{text(low)} – {text(high)}" for low, high in itertools.pairwise(edges)
    ]
    ticks = [(index, text(low)) for index, low in enumerate(edges[:-1]) if is_tick(low)]
    title = {"step": "Time between onsets", "duration": "Duration"}[name]
    starts = [text(low) for low in edges]
    return _with_one_tail(_trimmed(_put(name, title, histograms, edges, labels, ticks)), labels, starts)


def _put(
    name: str,
    title: str,
    histograms: Mapping[str, Histogram],
    edges: Sequence[int],
    labels: Sequence[str],
    ticks: Sequence[tuple[int, str]],
) -> Bars:
    counts = {}
    for split, histogram in histograms.items():
        bin_index = np.searchsorted(edges, np.asarray(histogram.values, np.int64), side="right") - 1
        binned = np.zeros(len(labels), np.int64)
        np.add.at(binned, bin_index, np.asarray(histogram.counts, np.int64))
        counts[split] = binned.tolist()
    return Bars(name, title, labels, counts, ticks)


def _trimmed(bars: Bars) -> Bars:
    """Without the empty bins at both ends."""
    used = np.flatnonzero(bars.totals)
    if not used.size:
        return bars
    first, last = int(used[0]), int(used[-1]) + 1
    return dataclasses.replace(
        bars,
        labels=bars.labels[first:last],
        counts={split: counts[first:last] for split, counts in bars.counts.items()},
        ticks=[(index - first, text) for index, text in bars.ticks if first <= index < last],
    )


def _with_one_tail(bars: Bars, labels: Sequence[str], starts: Sequence[str]) -> Bars:
    """Merges the last bins that together hold at most RARE_SHARE; `starts` are the low ends of `labels`."""
    totals = np.asarray(bars.totals, np.int64)
    beyond = totals[::-1].cumsum()[::-1]  # in a bin and all later ones
    rare = np.flatnonzero(beyond <= RARE_SHARE * totals.sum())
    if rare.size < 2:
        return bars
    first = int(rare[0])
    start = starts[list(labels).index(bars.labels[first])]
    return dataclasses.replace(
        bars,
        labels=[*bars.labels[:first], f"{start} or more"],
        counts={split: [*counts[:first], sum(counts[first:])] for split, counts in bars.counts.items()},
        ticks=[(index, text) for index, text in bars.ticks if index <= first],
    )


def _decimal_edges(highest: int, *, coarse: bool) -> list[int]:
    """0, 1, 2, 5, 10 and so on (finer: 1, 2, 3, 4, 5, 7, 10, 15, 20), the last above `highest`."""
    edges, power = [0, 1, 2] if coarse else [0, 1, 2, 3, 4], 1
    while edges[-1] <= highest:
        steps = (5, 10, 20) if coarse else (5, 7, 10, 15, 20, 30, 40)
        for step in steps:
            edges.append(step * power)
            if edges[-1] > highest:
                break
        power *= 10
    return edges


def _is_round(value: int) -> bool:
    return value == 0 or str(value).strip("0") == "1"


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _milliseconds(ticks: int) -> str:
    return f"{ticks} ms" if ticks < 1000 else f"{ticks / 1000:g} s"


def _beats(ticks: int) -> str:
    beats = Fraction(ticks, TICKS_PER_BEAT)
    return f"{beats} beat{'s' if beats > 1 else ''}"


def pitch_name(pitch: int) -> str:
    """`C4` for 60."""
    return f"{_NAMES_OF_PITCHES[pitch % 12]}{pitch // 12 - 1}"
