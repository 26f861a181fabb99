"""How generated music is spread beside the corpus: one histogram a measure, and how far the two overlap.

A measure counts one piece into bins; counts of pieces add up. Primer notes are given, not generated, so
the first notes of a piece can be left out. Overlap is the area under both histograms, each scaled to 1:
1 means alike, 0 means nothing in common. Two parts of the corpus do not reach 1 either, so the held-out part
is compared with the corpus too: that is the ceiling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from midi_codec.notes import DRUM_PROGRAM, MILLISECONDS, TICKS_PER_BEAT, Notes

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
VELOCITIES_PER_BIN = 4
MAX_POLYPHONY = 15  # the last bin holds more too

# Lower edges of time bins, in ticks. The first holds 0 alone: notes struck together. On the grid of 1 ms three
# bins double the time, from 10 ms to 10 s; on the grid of beats they are the note values music is written in.
_MILLISECOND_EDGES = (0, 1, *(round(10 * 2 ** (third / 3)) for third in range(31)))
_BEAT_EDGES = (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 36, 48, 64, 72, 96, 144, 192, 384)


class Part(NamedTuple):
    """A piece, of which the first `num_given` notes do not count."""

    notes: Notes
    num_given: int = 0


@dataclasses.dataclass(frozen=True)
class Measure:
    """One way to look at a piece. `count` gives `[num_bins]` float64; `ticks` are axis marks: (bin, text)."""

    name: str
    title: str
    bins: tuple[str, ...]
    ticks: tuple[tuple[int, str], ...]
    count: Callable[[Part], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Shares `[num_bins]` that add up to 1, or None where there was nothing to count; overlaps likewise."""

    measure: Measure
    generated: np.ndarray | None
    corpus: np.ndarray | None
    overlap: float | None
    ceiling: float | None


def compare(
    generated: Iterable[Part], corpus: Iterable[Part], held_out: Iterable[Part], *, time_base: str
) -> list[Comparison]:
    """One comparison a measure; all three on the grid `time_base`."""
    chosen = measures(time_base)
    sums = [count(parts, chosen) for parts in (generated, corpus, held_out)]
    comparisons = []
    for index, measure in enumerate(chosen):
        ours, theirs, others = (_shares(total[index]) for total in sums)
        comparisons.append(Comparison(measure, ours, theirs, overlap(ours, theirs), overlap(others, theirs)))
    return comparisons


def count(parts: Iterable[Part], chosen: Iterable[Measure]) -> list[np.ndarray]:
    """The counts of all parts, `[num_bins]` a measure."""
    chosen = list(chosen)
    totals = [np.zeros(len(measure.bins)) for measure in chosen]
    for part in parts:
        for total, measure in zip(totals, chosen, strict=True):
            total += measure.count(part)
    return totals


def overlap(first: np.ndarray | None, second: np.ndarray | None) -> float | None:
    """The area under both of two histograms that are scaled to 1; None where one of them is missing."""
    if first is None or second is None:
        return None
    return float(np.minimum(first, second).sum())


def _shares(counts: np.ndarray) -> np.ndarray | None:
    total = counts.sum()
    return counts / total if total > 0 else None


# ---------------------------------------------------------------------------------------------- measures


def measures(time_base: str) -> tuple[Measure, ...]:
    """The five measures; time is binned by the grid."""
    edges = np.array(_MILLISECOND_EDGES if time_base == MILLISECONDS else _BEAT_EDGES)
    bins, ticks = _time_bins(edges, time_base)
    num_velocities = 128 // VELOCITIES_PER_BIN
    velocities = tuple(
        f"velocity {index * VELOCITIES_PER_BIN} to {(index + 1) * VELOCITIES_PER_BIN - 1}"
        for index in range(num_velocities)
    )
    velocity_ticks = tuple((index, str(index * VELOCITIES_PER_BIN)) for index in range(0, num_velocities, 8))
    voices = (*(str(number) for number in range(MAX_POLYPHONY)), f"{MAX_POLYPHONY} or more")
    return (
        Measure("pitch_class", "Pitch class", PITCH_CLASSES, tuple(enumerate(PITCH_CLASSES)), _count_pitch_classes),
        Measure("step", "Step to the next note", bins, ticks, lambda part: _count_times(_steps(part), edges)),
        Measure("duration", "Duration", bins, ticks, lambda part: _count_times(_after(part).duration, edges)),
        Measure("velocity", "Velocity", velocities, velocity_ticks, _count_velocities),
        Measure(
            "polyphony",
            "Notes sounding at once",
            tuple(f"{text} sounding" for text in voices),
            tuple((number, str(number)) for number in range(0, MAX_POLYPHONY + 1, 3)),
            _count_polyphony,
        ),
    )


def _after(part: Part) -> Notes:
    return part.notes.take(slice(part.num_given, None)) if part.num_given else part.notes


def _steps(part: Part) -> np.ndarray:
    return part.notes.step[max(1, part.num_given) :]  # nothing comes before a piece's first note


def _count_pitch_classes(part: Part) -> np.ndarray:
    notes = _after(part)
    return np.bincount(notes.pitch[notes.program != DRUM_PROGRAM] % 12, minlength=12).astype(np.float64)


def _count_times(ticks: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(edges, ticks, side="right") - 1, minlength=len(edges)).astype(np.float64)


def _count_velocities(part: Part) -> np.ndarray:
    bins = _after(part).velocity // VELOCITIES_PER_BIN
    return np.bincount(bins, minlength=128 // VELOCITIES_PER_BIN).astype(np.float64)


def _count_polyphony(part: Part) -> np.ndarray:
    """Ticks during which so many notes sound, from the first onset that counts to the last end."""
    num_bins = MAX_POLYPHONY + 1
    if len(part.notes) <= part.num_given:
        return np.zeros(num_bins)
    begin = part.notes.start[part.num_given]
    times = np.maximum(np.concatenate([part.notes.start, part.notes.end]), begin)
    changes = np.repeat([1, -1], len(part.notes))
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(changes[order])[:-1]
    lengths = np.diff(times[order])  # moments between changes at one time have length 0 and count nothing
    kept = lengths > 0
    return np.bincount(np.minimum(sounding[kept], MAX_POLYPHONY), lengths[kept], num_bins)


# ------------------------------------------------------------------------------------------- words of bins


def _time_bins(edges: np.ndarray, time_base: str) -> tuple[tuple[str, ...], tuple[tuple[int, str], ...]]:
    if time_base == MILLISECONDS:
        say, unit = _say_milliseconds, ""
        marks = [(0, "0"), (20, "20 ms"), (102, "0.1 s"), (1016, "1 s"), (10240, "10 s")]
    else:
        say, unit = _say_beats, " of a beat"
        marks = [(0, "0"), (6, "¼"), (12, "½"), (24, "1"), (48, "2"), (96, "4"), (192, "8")]
    lasts = [int(edge) - 1 for edge in edges[1:]]
    bins = ["0"]
    for first, last in zip(edges[1:-1].tolist(), lasts[1:], strict=True):
        bins.append(f"{say(first)}{unit}" if first == last else f"{say(first)} to {say(last)}{unit}")
    bins.append(f"{say(int(edges[-1]))}{unit} or more")
    nearest = [(int(np.abs(edges - ticks).argmin()), text) for ticks, text in marks]
    return tuple(bins), tuple(nearest)


def _say_milliseconds(ticks: int) -> str:
    return f"{ticks} ms" if ticks < 1000 else f"{ticks / 1000:.2f} s"


def _say_beats(ticks: int) -> str:
    return f"{ticks}/{TICKS_PER_BEAT}"
