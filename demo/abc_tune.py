"""Converts a tune in ABC notation to notes: music21 reads the tokens, this module adds time, accents and repeats.

music21's own conversion to a score fails on unpaired repeat signs, and is several times slower than its tokens.
What is converted:

- notes, rests, chords, ties, tuplets, broken rhythms; accidentals hold to the end of the bar, in every octave;
- repeats are played, with first and second endings; a repeat without a start begins at the last double bar;
- grace notes, bowings, slurs, ornaments and chord symbols are left out, because they have no length of their own.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from midi_codec.music.notes import BEATS, TICKS_PER_BEAT, Notes

if TYPE_CHECKING:
    from music21.abcFormat import ABCMetadata, ABCNote, ABCToken

# The books have no velocities. A player stresses the bar, then the beat.
BAR_VELOCITY, BEAT_VELOCITY, VELOCITY = 100, 88, 76
SECTION_ENDS = ("||", "|]", "[|", ":|", "|:")


@dataclasses.dataclass(frozen=True)
class Sound:
    """One note or chord, or a rest."""

    pitches: tuple[int, ...]  # empty: a rest
    quarters: Fraction
    is_tied: bool = False  # to the previous one


@dataclasses.dataclass(frozen=True)
class Bar:
    sounds: tuple[Sound, ...]
    full: Fraction  # quarters of a full bar in this meter
    begins: bool = False  # whether it begins a section: after a double bar or a repeat sign

    @property
    def quarters(self) -> Fraction:
        return sum((sound.quarters for sound in self.sounds), Fraction())


@dataclasses.dataclass(frozen=True)
class Tune:
    """A tune as played.

    Attributes:
      fields: the header: the lines of each letter, joined by spaces.
      bars: as played, with repeats.
      share_of_full_bars: among the bars inside sections, 0 to 1; low if letters were misread.
    """

    fields: dict[str, str]
    bars: tuple[Bar, ...]
    share_of_full_bars: float


def parse(text: str) -> Tune:
    """Reads one tune, from its `X:` to the end.

    Raises:
      ValueError: no meter, several voices or parts, or letters that music21 cannot read.
    """
    fields = header(text)
    if "V" in fields or "P" in fields or re.search(r"\[[A-Z]:", text):
        raise ValueError("several voices or parts")
    from music21 import abcFormat

    handler = abcFormat.ABCHandler(abcVersion=(2, 1, 0))  # otherwise accidentals end with their note
    try:
        handler.process(text)
    except Exception as error:  # its own, TypeError, IndexError: anything that a stray letter causes
        raise ValueError(f"music21 cannot read it: {error}") from error
    written, marks = _bars(handler.tokens)
    inside = [bar for bar, after in zip(written, [*written[1:], None], strict=True) if after and not after.begins]
    inside = [bar for bar in inside if not bar.begins]
    if not inside:
        raise ValueError("no bars")
    share = sum(bar.quarters == bar.full for bar in inside) / len(inside)
    return Tune(fields, tuple(_played(written, marks)), share)


def header(text: str) -> dict[str, str]:
    """All fields by letter, anywhere in the text."""
    fields: dict[str, list[str]] = {}
    for letter, line in re.findall(r"(?m)^([A-Za-z]): *(.*?)\s*$", text):
        fields.setdefault(letter, []).append(line)
    return {letter: " ".join(lines) for letter, lines in fields.items()}


def _bars(tokens: Sequence[ABCToken]) -> tuple[list[Bar], list[str]]:
    """The bars as written, and the marks before each of them: bar signs, repeats, endings."""
    from music21 import abcFormat

    bars: list[Bar] = []
    marks: list[str] = []
    sounds: list[Sound] = []
    before, full = "", Fraction()
    for token in tokens:
        if isinstance(token, abcFormat.ABCMetadata):
            full = _meter(token) or full
        elif isinstance(token, abcFormat.ABCBar):
            if sounds:
                bars.append(Bar(tuple(sounds), full, begins=not bars or any(end in before for end in SECTION_ENDS)))
                marks.append(before)
                sounds, before = [], ""
            before += f" {token.src.strip()}"
        elif isinstance(token, abcFormat.ABCNote) and not token.inGrace:
            sounds += _sounds(token)
    if sounds:
        bars.append(Bar(tuple(sounds), full, begins=not bars or any(end in before for end in SECTION_ENDS)))
        marks.append(before)
        before = ""
    if not full:
        raise ValueError("no meter")
    return bars, [*marks, before]


def _meter(token: ABCMetadata) -> Fraction | None:
    """Quarters per bar, if the field names a meter."""
    if not token.isMeter():
        return None
    signature = token.getTimeSignatureParameters()
    return Fraction(4 * signature[0], signature[1]) if signature else None


def _sounds(note: ABCNote) -> Iterator[Sound]:
    from music21 import abcFormat

    quarters = Fraction(note.quarterLength).limit_denominator(96)
    if note.activeTuplet is not None:
        quarters *= Fraction(note.activeTuplet.tupletMultiplier()).limit_denominator(96)
    if quarters:
        notes = note.subTokens if isinstance(note, abcFormat.ABCChord) else [note]
        names = [each.pitchName for each in notes if isinstance(each, abcFormat.ABCNote) and each.pitchName]
        pitches = tuple(sorted({_midi_pitch(name) for name in names}))
        yield Sound(pitches, quarters, is_tied=note.tie in ("stop", "continue"))


@functools.cache
def _midi_pitch(name: str) -> int:
    from music21 import pitch

    return pitch.Pitch(name).midi


def _played(bars: Sequence[Bar], marks: Sequence[str]) -> Iterator[Bar]:
    """The bars in the order of playing. `marks[i]` are the marks before bar i, the last ones those at the end."""
    first, ending = 0, None  # the first bar of the section, and of its first ending
    for index, mark in enumerate(marks):
        if ":|" in mark and ending is None or "[2" in mark and ending is not None:
            yield from bars[first : index if ending is None else ending]
        if any(end in mark for end in SECTION_ENDS) and not (ending is not None and "[2" in mark):
            first, ending = index, None
        if "[2" in mark:
            first, ending = index, None
        if "[1" in mark:
            ending = index
        if index < len(bars):
            yield bars[index]


def to_notes(tune: Tune, *, quarters_per_beat: Fraction, program: int, tempo: float) -> Notes:
    """The tune on the beats grid, from its first full bar on.

    An upbeat at the beginning is left out, so that bars begin at multiples of a bar; upbeats inside stay.

    Args:
      quarters_per_beat: quarter notes of the book per beat of the grid.
      tempo: beats per minute.
    """
    bars = list(tune.bars)
    while bars and bars[0].quarters < bars[0].full:
        del bars[0]
    rows: list[list[int]] = []
    now = Fraction()
    open_rows: dict[int, int] = {}  # pitch to row, for the previous sound
    for bar in bars:
        position = max(bar.full - bar.quarters, Fraction()) if bar.begins else Fraction()  # an upbeat ends its bar
        for sound in bar.sounds:
            start = _ticks(now, quarters_per_beat)
            end = _ticks(now + sound.quarters, quarters_per_beat)
            velocity = _velocity(position, quarters_per_beat)
            sounding: dict[int, int] = {}
            for pitch in sound.pitches:
                if sound.is_tied and pitch in open_rows:
                    sounding[pitch] = open_rows[pitch]
                    rows[sounding[pitch]][2] = end - rows[sounding[pitch]][0]
                elif end > start:
                    sounding[pitch] = len(rows)
                    rows.append([start, pitch, end - start, velocity])
            open_rows = sounding
            now += sound.quarters
            position += sound.quarters
    start, pitch, duration, velocity = np.array(rows, np.int64).reshape(-1, 4).T
    return Notes.from_columns(
        pitch=pitch,
        velocity=velocity,
        start=start,
        duration=duration,
        program=np.full(len(rows), program),
        tempo=tempo,
        time_base=BEATS,
    )


def _velocity(position: Fraction, quarters_per_beat: Fraction) -> int:
    if not position:
        return BAR_VELOCITY
    return VELOCITY if position % quarters_per_beat else BEAT_VELOCITY


def _ticks(quarters: Fraction, quarters_per_beat: Fraction) -> int:
    return round(quarters / quarters_per_beat * TICKS_PER_BEAT)
