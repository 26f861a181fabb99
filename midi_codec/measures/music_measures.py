"""What a piece of music is measured by: seventeen measures, each with values, a histogram and a figure.

A measure gives the values of one piece and their weights. Values fall into bins, and counts of pieces add up; the
weighted mean of the values is the piece's own figure, by which pieces can be sorted. The notes of a primer are given,
not generated, so the first `num_given` notes of a piece do not count.

    pitch            of each note, MIDI number; without drums
    drum             which drum, of each drum note
    pitch_class      pitch modulo 12; without drums. A piece's figure is the entropy of its histogram, in bits
    interval         semitones from the previous note of the same program, in the order of notes, so that chords count;
                     without drums. A piece's figure is the mean size, whatever the direction
    step             time since the previous onset, 0 within a chord
    duration         of each note
    velocity         of each note
    density          notes that begin in each second, or beat, from the first generated onset to the last
    polyphony        notes sounding at once, weighted by time
    key_clarity      of each window of 64 notes (see `window_measures`)
    groove           likewise
    self_similarity  of each 16 notes, likewise
    recurrence       of each note, whether it belongs to a pattern that occurred before (see `piece_measures`)
    phrase           of each note, how long its phrase is, likewise
    key_share        of the piece, likewise
    longest_note     of the piece, likewise
    loop             of the piece, likewise; only on the grid of beats

Times are in ticks of the grid; figures of pieces are in seconds, or beats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from midi_codec.measures import piece_measures, window_measures
from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes

PITCH_CLASSES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
VELOCITIES_PER_BIN = 4
MAX_POLYPHONY = 15  # the last bin also holds larger values
MAX_DENSITY = 40  # likewise
MAX_INTERVAL = 24  # semitones; the first and last bins also hold larger intervals
SHARE_BINS = 20  # for measures from 0 to 1
PHRASE_EDGES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # chords

# Lower edges of time bins, in ticks. The first bin holds only 0: notes struck together. On the grid of 1 ms there are
# three bins per doubling, from 10 ms to 10 s; on the grid of beats they are the usual note values.
_MILLISECOND_EDGES = (0, 1, *(round(10 * 2 ** (third / 3)) for third in range(31)))
_BEAT_EDGES = (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 36, 48, 64, 72, 96, 144, 192, 384)


class Part(NamedTuple):
    """A piece, of which the first `num_given` notes do not count."""

    notes: Notes
    num_given: int = 0


class Values(NamedTuple):
    values: np.ndarray  # [n]
    weights: np.ndarray | None = None  # [n]; None: 1 each


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure of a piece. `ticks` are axis marks: (bin, text).

    edges   lower edges of the bins, ascending; smaller values count in the first bin
    unit    of a piece's figure, for readers; "%" where the figure is a share from 0 to 1
    figure  summarises one piece's values; None: their weighted mean times `scale`
    """

    name: str
    title: str
    bins: tuple[str, ...]
    ticks: tuple[tuple[int, str], ...]
    edges: np.ndarray
    values: Callable[[Part], Values]
    unit: str = ""
    is_circular: bool = False  # bins are on a circle
    scale: float = 1.0
    figure: Callable[[np.ndarray], float] | None = None

    def count(self, part: Part) -> np.ndarray:
        """`[num_bins]` float64."""
        return self._bin(*self.values(part))

    def piece_figure(self, part: Part) -> float | None:
        """One number for the piece; None if there is nothing to measure."""
        return self.look(part)[1]

    def look(self, part: Part) -> tuple[np.ndarray, float | None]:
        """`count` and `piece_figure` together, at the cost of one."""
        values, weights = self.values(part)
        counts = self._bin(values, weights)
        if not counts.sum() > 0:
            return counts, None
        if self.figure is not None:
            return counts, self.figure(values)
        return counts, float(np.average(values, weights=weights) * self.scale)

    def _bin(self, values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        index = np.maximum(np.searchsorted(self.edges, values, side="right") - 1, 0)
        return np.bincount(index, weights, len(self.edges)).astype(np.float64)


def measures(time_base: str) -> tuple[Measure, ...]:
    """All measures on one grid."""
    in_seconds = time_base == MILLISECONDS
    unit_ticks = TICKS_PER_SECOND if in_seconds else TICKS_PER_BEAT
    edges = np.array(_MILLISECOND_EDGES if in_seconds else _BEAT_EDGES)
    bins, ticks = _time_bins(edges, time_base)
    pitches = tuple(f"pitch {number}" for number in range(128))
    octaves = tuple((number, str(number)) for number in range(0, 128, 12))
    intervals = range(-MAX_INTERVAL, MAX_INTERVAL + 1)
    per_unit, time_unit = ("second", "s") if in_seconds else ("beat", "beats")
    on_beats = _shares("loop", "Loops", lambda part: piece_measures.loop(*part), "%")
    return (
        Measure(
            "pitch", "Pitch", pitches, octaves, np.arange(128), lambda part: Values(_pitched(part).pitch), "MIDI number"
        ),
        Measure("drum", "Drum", pitches, octaves, np.arange(128), _drums, "MIDI number"),
        Measure(
            "pitch_class", "Pitch class", PITCH_CLASSES, tuple(enumerate(PITCH_CLASSES)), np.arange(12),
            lambda part: Values(_pitched(part).pitch % 12), "bits", is_circular=True, figure=_entropy,
        ),
        Measure(
            "interval", "Interval", tuple(f"{number:+d} semitones" for number in intervals),
            tuple((number + MAX_INTERVAL, f"{number:+d}") for number in range(-MAX_INTERVAL, MAX_INTERVAL + 1, 12)),
            np.array(intervals), _intervals, "semitones", figure=lambda values: float(np.abs(values).mean()),
        ),
        Measure("step", "Step to the next note", bins, ticks, edges, _steps, time_unit, scale=1 / unit_ticks),
        Measure(
            "duration", "Duration", bins, ticks, edges, lambda part: Values(_after(part).duration), time_unit,
            scale=1 / unit_ticks,
        ),
        _velocity(),
        _numbers("density", f"Onsets per {per_unit}", MAX_DENSITY, "onsets", lambda p: _density(p, unit_ticks)),
        _numbers("polyphony", "Notes sounding at once", MAX_POLYPHONY, "sounding", _polyphony),
        _shares("key_clarity", "Key clarity", lambda part: window_measures.key_clarity(_after(part))),
        _shares("groove", "Groove", lambda part: window_measures.groove(_after(part))),
        _shares("self_similarity", "Self-similarity", lambda part: window_measures.self_similarity(_after(part))),
        Measure(
            "recurrence", "Recurring patterns", ("new notes", "recurring notes"), ((0, "new"), (1, "recurring")),
            np.arange(2), lambda part: Values(piece_measures.recurrence(part.notes)[part.num_given :]), "%",
        ),
        _phrase(),
        _shares("key_share", "Notes in key", lambda part: piece_measures.key_share(_after(part)), "%"),
        _shares("longest_note", "Longest note", lambda part: piece_measures.longest_note(*part), "%"),
        *(() if in_seconds else (on_beats,)),
    )  # fmt: skip


def _velocity() -> Measure:
    edges = np.arange(0, 128, VELOCITIES_PER_BIN)
    bins = tuple(f"velocity {edge} to {edge + VELOCITIES_PER_BIN - 1}" for edge in edges)
    ticks = tuple((index, str(edges[index])) for index in range(0, len(edges), 8))
    return Measure("velocity", "Velocity", bins, ticks, edges, lambda part: Values(_after(part).velocity))


def _phrase() -> Measure:
    edges = np.array(PHRASE_EDGES)
    lasts = [high - 1 for high in PHRASE_EDGES[1:]]
    bins = [
        f"length {low}" if low == last else f"length {low} to {last}"
        for low, last in zip(PHRASE_EDGES[:-1], lasts, strict=True)
    ]
    ticks = tuple((index, str(PHRASE_EDGES[index])) for index in range(0, len(edges), 3))
    return Measure("phrase", "Phrase length", (*bins, f"length {edges[-1]} or more"), ticks, edges, _phrases, "chords")


def _numbers(name: str, title: str, last: int, word: str, values: Callable[[Part], Values]) -> Measure:
    bins = (*(f"{number} {word}" for number in range(last)), f"{last} or more {word}")
    ticks = tuple((number, str(number)) for number in range(0, last + 1, max(3, last // 40 * 10)))
    return Measure(name, title, bins, ticks, np.arange(last + 1), values)


def _shares(name: str, title: str, values: Callable[[Part], np.ndarray], unit: str = "") -> Measure:
    edges = np.arange(SHARE_BINS) / SHARE_BINS
    bins = tuple(f"{edge:.2f} to {edge + 1 / SHARE_BINS:.2f}" for edge in edges)
    ticks = tuple((index, f"{edges[index]:g}") for index in range(0, SHARE_BINS, 5))
    return Measure(name, title, bins, ticks, edges, lambda part: Values(values(part)), unit)


# ------------------------------------------------------------------------------------------------ values


def _after(part: Part) -> Notes:
    return part.notes.take(slice(part.num_given, None)) if part.num_given else part.notes


def _pitched(part: Part) -> Notes:
    notes = _after(part)
    return notes.take(notes.program != DRUM_PROGRAM)


def _drums(part: Part) -> Values:
    notes = _after(part)
    return Values(notes.pitch[notes.program == DRUM_PROGRAM])


def _steps(part: Part) -> Values:
    return Values(part.notes.step[max(1, part.num_given) :])  # a piece's first note has no step


def _intervals(part: Part) -> Values:
    notes = part.notes
    order = np.argsort(notes.program, kind="stable")
    program, pitch = notes.program[order], notes.pitch[order].astype(np.int64)
    counts = (program[1:] == program[:-1]) & (program[1:] != DRUM_PROGRAM) & (order[1:] >= part.num_given)
    return Values(np.diff(pitch)[counts])


def _phrases(part: Part) -> Values:
    lengths = piece_measures.phrase_lengths(part.notes)[part.num_given :]
    return Values(lengths[lengths > 0])


def _density(part: Part, unit_ticks: int) -> Values:
    """One value per whole second, or beat; a shorter piece has none."""
    start = _after(part).start
    if not len(start):
        return Values(np.zeros(0))
    unit = (start - start[0]) // unit_ticks
    return Values(np.bincount(unit)[:-1].astype(np.float64))  # the last one is incomplete


def _polyphony(part: Part) -> Values:
    """Numbers of sounding notes, weighted by ticks, from the first onset that counts to the last end."""
    if len(part.notes) <= part.num_given:
        return Values(np.zeros(0), np.zeros(0))
    begin = part.notes.start[part.num_given]
    times = np.maximum(np.concatenate([part.notes.start, part.notes.end]), begin)
    changes = np.repeat([1, -1], len(part.notes))
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(changes[order])[:-1]
    lengths = np.diff(times[order])  # changes at the same time are 0 apart, and count nothing
    kept = lengths > 0
    return Values(sounding[kept], lengths[kept])


def _entropy(values: np.ndarray) -> float:
    shares = np.bincount(values) / len(values)
    shares = shares[shares > 0]
    return float(abs(-(shares * np.log2(shares)).sum()))  # abs: no -0.0


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
