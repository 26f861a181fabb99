"""One tune of ABC notation as notes: music21 reads the letters, this gives them time, accents and repeats.

music21's own way to a score stops at repeat signs that do not pair, and is several times slower than its tokens.
What is taken of them:

- notes, rests, chords, ties, tuplets, broken rhythms; accidentals hold to the end of the bar, in every octave;
- repeats are played, with first and second endings; a repeat without a beginning begins at the last double bar;
- grace notes, bowings, slurs, ornaments and chord symbols are left out: they have no length of their own.
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

# The velocities are ours, the books have none: a player leans on the bar, then on the beat.
BAR_VELOCITY, BEAT_VELOCITY, VELOCITY = 100, 88, 76
SECTION_ENDS = ("||", "|]", "[|", ":|", "|:")


@dataclasses.dataclass(frozen=True)
class Sound:
    """One note or chord, or a rest."""

    pitches: tuple[int, ...]  # empty: a rest
    quarters: Fraction
    is_tied: bool = False  # to the one before


@dataclasses.dataclass(frozen=True)
class Bar:
    sounds: tuple[Sound, ...]
    full: Fraction  # quarters that the meter asks for
    begins: bool = False  # a section: after a double bar or a repeat sign

    @property
    def quarters(self) -> Fraction:
        return sum((sound.quarters for sound in self.sounds), Fraction())


@dataclasses.dataclass(frozen=True)
class Tune:
    """A tune as it stands in the book, and as it is played.

    Attributes:
      fields: the header: every letter's lines, joined by spaces.
      bars: as played, repeats twice.
      share_of_full_bars: of the bars inside sections, 0 to 1; low where letters were misread.
    """

    fields: dict[str, str]
    bars: tuple[Bar, ...]
    share_of_full_bars: float


def parse(text: str) -> Tune:
    """Reads one tune, from its `X:` to the end.

    Raises:
      ValueError: it has no meter, several voices or parts, or letters that music21 cannot read.
    """
    fields = header(text)
    if "V" in fields or "P" in fields or re.search(r"\[[A-Z]:", text):
        raise ValueError("several voices or parts")
    from music21 import abcFormat

    handler = abcFormat.ABCHandler(abcVersion=(2, 1, 0))  # else accidentals would end with their note
    try:
        handler.process(text)
    except Exception as error:  # music21 raises its own, TypeErrors, IndexErrors: whatever a stray letter leads to
        raise ValueError(f"music21 cannot read it: {error}") from error
    written, marks = _bars(handler.tokens)
    inside = [bar for bar, after in zip(written, [*written[1:], None], strict=True) if after and not after.begins]
    inside = [bar for bar in inside if not bar.begins]
    if not inside:
        raise ValueError("no bars")
    share = sum(bar.quarters == bar.full for bar in inside) / len(inside)
    return Tune(fields, tuple(_played(written, marks)), share)


def header(text: str) -> dict[str, str]:
    """All fields by letter, wherever they stand."""
    fields: dict[str, list[str]] = {}
    for letter, line in re.findall(r"(?m)^([A-Za-z]): *(.*?)\s*$", text):
        fields.setdefault(letter, []).append(line)
    return {letter: " ".join(lines) for letter, lines in fields.items()}


def _bars(tokens: Sequence[ABCToken]) -> tuple[list[Bar], list[str]]:
    """The bars as written, and what stands before each of them: bar signs, repeats, endings."""
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
    """Quarters of a bar, when the field names a meter."""
    if not token.isMeter():
        return None
    found = token.getTimeSignatureParameters()
    return Fraction(4 * found[0], found[1]) if found else None


def _sounds(note: ABCNote) -> Iterator[Sound]:
    from music21 import abcFormat

    quarters = Fraction(note.quarterLength).limit_denominator(96)
    if note.activeTuplet is not None:
        quarters *= Fraction(note.activeTuplet.tupletMultiplier()).limit_denominator(96)
    if quarters:
        parts = note.subTokens if isinstance(note, abcFormat.ABCChord) else [note]
        names = [part.pitchName for part in parts if isinstance(part, abcFormat.ABCNote) and part.pitchName]
        pitches = tuple(sorted({_midi_pitch(name) for name in names}))
        yield Sound(pitches, quarters, is_tied=note.tie in ("stop", "continue"))


@functools.cache
def _midi_pitch(name: str) -> int:
    from music21 import pitch

    return pitch.Pitch(name).midi


def _played(bars: Sequence[Bar], marks: Sequence[str]) -> Iterator[Bar]:
    """The bars in the order in which they sound. `marks[i]` stands before bar i, the last one after all."""
    first, ending = 0, None  # of the section; the bar at which its first ending begins
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


def to_notes(tune: Tune, *, quarters_a_beat: Fraction, program: int, tempo: float) -> Notes:
    """The tune on the beats grid, from its first full bar on.

    An upbeat at the beginning is left out, so that bars begin at multiples of a bar; those inside stay.

    Args:
      quarters_a_beat: quarter notes of the book that make up a beat of the grid.
      tempo: beats per minute.
    """
    bars = list(tune.bars)
    while bars and bars[0].quarters < bars[0].full:
        del bars[0]
    rows: list[list[int]] = []
    now = Fraction()
    open_rows: dict[int, int] = {}  # pitch: its row, of the sound before
    for bar in bars:
        place = max(bar.full - bar.quarters, Fraction()) if bar.begins else Fraction()  # an upbeat ends its bar
        for sound in bar.sounds:
            start = _ticks(now, quarters_a_beat)
            end = _ticks(now + sound.quarters, quarters_a_beat)
            velocity = _velocity(place, quarters_a_beat)
            still: dict[int, int] = {}
            for pitch in sound.pitches:
                if sound.is_tied and pitch in open_rows:
                    still[pitch] = open_rows[pitch]
                    rows[still[pitch]][2] = end - rows[still[pitch]][0]
                elif end > start:
                    still[pitch] = len(rows)
                    rows.append([start, pitch, end - start, velocity])
            open_rows = still
            now += sound.quarters
            place += sound.quarters
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


def _velocity(place: Fraction, quarters_a_beat: Fraction) -> int:
    if not place:
        return BAR_VELOCITY
    return VELOCITY if place % quarters_a_beat else BEAT_VELOCITY


def _ticks(quarters: Fraction, quarters_a_beat: Fraction) -> int:
    return round(quarters / quarters_a_beat * TICKS_PER_BEAT)
