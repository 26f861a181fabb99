"""The geometry of the page's drawings, which the template puts into SVG, in percent of each drawing's box."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from beam_pipelines.inspect import note_histograms
from beam_pipelines.inspect.note_histograms import Bars
from midi_codec.dataset.dataset_info import DUPLICATE_KINDS, DatasetInfo
from midi_codec.music.instrument_names import name_of
from midi_codec.music.notes import Notes

MAX_ROLL_NOTES = 20_000
MIN_ROLL_PITCHES = 24
NUM_VOICES = 8  # colours for programs
ROLL_WIDTH = 10_000  # units of a roll's view box
NUM_FATES = 5  # reasons with a colour of their own
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
_HELD_OUT = ("validation", "test")


@dataclasses.dataclass(frozen=True)
class Chart:
    """A histogram: one bar per bin for train, an outline for the held-out splits; heights in percent."""

    title: str
    summary: str
    bins: Sequence[tuple[float, float, float, str]]  # left, width, height, words
    outline: str  # a path in a box of 100 by 100, or nothing
    ticks: Sequence[tuple[float, str]]


def chart(bars: Bars, unit: str) -> Chart:
    """Puts the bins of train and of the held-out splits on one scale of shares."""
    train = _shares(np.asarray(bars.counts["train"], np.float64))
    held_out = _shares(np.sum([bars.counts[name] for name in _HELD_OUT], axis=0, dtype=np.float64))
    main, outline = (train, held_out) if train.any() else (held_out, train)
    highest = max(main.max(initial=0), outline.max(initial=0)) or 1.0
    width = 100 / max(len(bars.labels), 1)
    bins = []
    for index, label in enumerate(bars.labels):
        words = f"{label}: {_percent(main[index])} of {unit}"
        words += f", {_percent(outline[index])} of those held out" if outline.any() else ""
        bins.append((round(index * width, 3), round(width, 3), round(100 * main[index] / highest, 2), words))
    return Chart(
        title=bars.title,
        summary=f"most often {bars.labels[int(main.argmax())]}" if len(bars.labels) else "",
        bins=bins,
        outline=_steps(100 * outline / highest, width) if outline.any() else "",
        ticks=[
            (round((index + 0.5) * width, 2) if index else 0.0, text)
            for index, text in _spaced(bars.ticks, len(bars.labels))
        ],
    )


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else "below 0.1 %"


def _steps(heights: np.ndarray, width: float) -> str:
    parts = [f"V{100 - height:.2f}H{(index + 1) * width:.2f}" for index, height in enumerate(heights.tolist())]
    return "M0 100" + "".join(parts) + "V100"


def _spaced(ticks: Sequence[tuple[int, str]], num_bins: int) -> list[tuple[int, str]]:
    """Ticks far enough from each other for their words, on a box as narrow as a phone."""
    shown: list[tuple[int, str]] = []
    for index, text in ticks:
        room = (len(text) + len(shown[-1][1])) * 1.2 + 2 if shown else 0  # percent of the box, for both halves
        if not shown or (index - shown[-1][0]) * 100 / num_bins >= room:
            shown.append((index, text))
    return shown


def rows(bars: Bars) -> list[tuple[str, float, str]]:
    """Label, length of its bar in percent, and words: for few bins with long names."""
    totals = bars.totals
    whole, highest = sum(totals) or 1, max(totals, default=0) or 1
    return [
        (label, round(100 * count / highest, 2), f"{_percent(count / whole)}")
        for label, count in zip(bars.labels, totals, strict=True)
    ]


def fates(info: DatasetInfo) -> list[dict[str, object]]:
    """The outcomes of all inputs, as one bar: name, words, left and width in percent, and a class for the colour."""
    parts = [("kept", info.examples, "kept")]
    parts += [(f"{kind} duplicates", info.duplicates[kind], f"duplicate-{kind}") for kind in DUPLICATE_KINDS]
    ranked = sorted(info.rejects, key=lambda reason: (-info.rejects[reason], reason))
    parts += [(reason, info.rejects[reason], f"reject-{place}") for place, reason in enumerate(ranked[:NUM_FATES])]
    if rest := sum(info.rejects[reason] for reason in ranked[NUM_FATES:]):
        parts.append((f"{len(ranked) - NUM_FATES} more reasons", rest, f"reject-{NUM_FATES}"))
    shown, left = [], 0.0
    for name, count, kind in parts:
        if count:
            width = 100 * count / info.inputs
            shown.append({"name": name, "words": f"{count:,}", "left": left, "width": width, "kind": kind})
            left += width
    return shown


@dataclasses.dataclass(frozen=True)
class Roll:
    """A piano roll: one path per program in a box of ROLL_WIDTH by `height`, one unit per semitone."""

    height: int
    paths: Sequence[tuple[int, str, str]]  # voice, name, path
    times: Sequence[tuple[float, str]]  # percent from the left
    octaves: Sequence[tuple[float, str]]  # percent from the top, of each C
    words: str


def roll(notes: Notes) -> Roll:
    """The first MAX_ROLL_NOTES notes of a piece."""

    shown = notes.take(slice(0, MAX_ROLL_NOTES))
    low, high = int(shown.pitch.min()) - 1, int(shown.pitch.max()) + 1
    missing = max(0, MIN_ROLL_PITCHES - (high - low + 1))
    low, high = low - missing // 2, high + missing - missing // 2
    end = max(int(shown.end.max()), 1)
    x = np.rint(shown.start * (ROLL_WIDTH / end)).astype(int)
    width = np.maximum(np.rint(shown.duration * (ROLL_WIDTH / end)).astype(int), 6)
    y = high - shown.pitch.astype(int)
    programs, counts = np.unique(shown.program, return_counts=True)
    paths = []
    for voice, place in enumerate(np.argsort(-counts, kind="stable").tolist()):
        program = int(programs[place])
        own_notes = np.flatnonzero(shown.program == program)
        path = "".join(
            f"M{a} {b}h{c}v1h-{c}z"
            for a, b, c in zip(x[own_notes].tolist(), y[own_notes].tolist(), width[own_notes].tolist(), strict=True)
        )
        name = name_of(program)
        paths.append((voice % NUM_VOICES, name, path))
    height = high - low + 1
    octaves = [pitch for pitch in range(0, 128, 12) if low <= pitch <= high]
    return Roll(
        height=height,
        paths=paths,
        times=_times(end * notes.seconds_per_tick),
        octaves=[(round(100 * (high - c + 1) / height, 2), note_histograms.pitch_name(c)) for c in octaves],
        words=f"Piano roll of {len(shown):,} notes",
    )


def _times(seconds: float) -> list[tuple[float, str]]:
    step = next((step for step in _TIME_STEPS if seconds / step <= 6), _TIME_STEPS[-1])
    marks = range(step, int(seconds) + 1, step)
    return [
        (round(100 * mark / seconds, 2), f"{mark // 60}:{mark % 60:02d}") for mark in marks if mark / seconds < 0.96
    ]
