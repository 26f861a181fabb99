"""Time signatures and key signatures: how a piece is written down. A player needs neither; a DAW draws bars with them.

As text, as in records, manifests and seed lists: `4/4@-48, 3/4@720` and `Bb major@0`. After the `@` is the tick of the
grid from which a signature applies. A bar line is at the tick of a time signature, and after each whole bar from there.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

MAX_NUMERATOR, MAX_DENOMINATOR = 64, 64
MAX_SHARPS = 7  # or flats, which count as negative
MAX_CHANGES = 1000  # of either kind; a piece with more has none
MAX_SHOWN = 60  # characters in a message
_FIFTHS = "FCGDAEB"
_TIME = re.compile(r"([1-9][0-9]?)/([1-9][0-9]?)(?:@(-?[0-9]{1,10}))?")
_KEY = re.compile(r"([A-G])([#b]?) (major|minor)(?:@(-?[0-9]{1,10}))?")


class TimeSignature(NamedTuple):
    tick: int
    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"

    @property
    def is_valid(self) -> bool:
        """Whether a notation program can show it."""
        is_power = self.denominator > 0 and self.denominator & self.denominator - 1 == 0
        return 1 <= self.numerator <= MAX_NUMERATOR and is_power and self.denominator <= MAX_DENOMINATOR

    @property
    def quarters(self) -> float:
        """The length of a bar in quarter notes."""
        return 4 * self.numerator / self.denominator


class KeySignature(NamedTuple):
    tick: int
    sharps: int  # -7 to 7; flats are negative
    is_minor: int  # 0 or 1

    def __str__(self) -> str:
        accidentals, letter = divmod(self.sharps + 1 + 3 * self.is_minor, len(_FIFTHS))
        return f"{_FIFTHS[letter]}{('b', '', '#')[accidentals + 1]} {'minor' if self.is_minor else 'major'}"

    @property
    def is_valid(self) -> bool:
        return abs(self.sharps) <= MAX_SHARPS and self.is_minor in (0, 1)


_Signature = TypeVar("_Signature", TimeSignature, KeySignature)


@dataclasses.dataclass(frozen=True)
class Signatures:
    """The signatures of a piece, by tick; without any, they are unknown."""

    times: tuple[TimeSignature, ...] = ()
    keys: tuple[KeySignature, ...] = ()

    @classmethod
    def from_events(cls, times: Iterable[TimeSignature], keys: Iterable[KeySignature]) -> Signatures:
        """The signatures that a file's events mean, in whatever order and however often tracks repeat them."""
        return cls(_merge(times), _merge(keys))

    @classmethod
    def parse(cls, times: str = "", keys: str = "") -> Signatures:
        """The inverse of `times_text` and `keys_text`; a signature without a tick applies from tick 0.

        Raises:
          ValueError: not signatures in this form.
        """
        return cls(
            _parse(times, _TIME, _read_time, "time signatures such as '4/4' or '4/4@0, 3/4@384'"),
            _parse(keys, _KEY, _read_key, "keys such as 'D minor' or 'D minor@0, F major@384'"),
        )

    @property
    def times_text(self) -> str:
        return _text(self.times)

    @property
    def keys_text(self) -> str:
        return _text(self.keys)

    def map_ticks(self, ticks: Sequence[int]) -> Signatures:
        """The same with other ticks: first those of the time signatures, then those of the keys.

        Of several that come to the same tick the last is kept.
        """
        times = {tick: each._replace(tick=tick) for each, tick in zip(self.times, ticks, strict=False)}
        keys = {tick: each._replace(tick=tick) for each, tick in zip(self.keys, ticks[len(self.times) :], strict=True)}
        return Signatures(tuple(times.values()), tuple(keys.values()))

    @property
    def ticks(self) -> list[int]:
        """As `map_ticks` takes them."""
        return [each.tick for each in self.times] + [each.tick for each in self.keys]

    def counted_from(self, tick: int, ticks_per_quarter: float) -> Signatures:
        """Those that matter from a tick on, which becomes tick 0.

        The first time signature is moved to the last bar line up to there, the first key to the tick itself.
        """
        times, keys = _from(self.times, tick), _from(self.keys, tick)
        if times and times[0].tick < 0:
            bar = times[0].quarters * ticks_per_quarter
            times = (times[0]._replace(tick=-round(-times[0].tick % bar)), *times[1:])
        if keys and keys[0].tick < 0:
            keys = (keys[0]._replace(tick=0), *keys[1:])
        return Signatures(times, keys)

    def until(self, tick: int) -> Signatures:
        """Those that apply from a tick up to this one."""
        if not any(each and each[-1].tick > tick for each in (self.times, self.keys)):  # as in most files
            return self
        return Signatures(
            tuple(each for each in self.times if each.tick <= tick),
            tuple(each for each in self.keys if each.tick <= tick),
        )


def _merge(signatures: Iterable[_Signature]) -> tuple[_Signature, ...]:
    """Valid ones by tick, without repetitions. Of several at a tick the commonest counts, then the greatest."""
    found = [each for each in signatures if each.is_valid]
    if len(found) < 2:  # as in most files
        return tuple(found)
    counts = Counter(found)
    by_tick = {each.tick: each for each in sorted(counts, key=lambda each: (each.tick, counts[each], each))}
    kept: list[_Signature] = []
    for each in by_tick.values():
        if not kept or each[1:] != kept[-1][1:]:
            kept.append(each)
    return tuple(kept) if len(kept) <= MAX_CHANGES else ()


def _from(signatures: tuple[_Signature, ...], tick: int) -> tuple[_Signature, ...]:
    """Without those that others replace up to `tick`, which the ticks are then counted from."""
    if not tick and (not signatures or signatures[0].tick >= 0):
        return signatures
    num_past = sum(each.tick <= tick for each in signatures)
    return tuple(each._replace(tick=each.tick - tick) for each in signatures[max(num_past - 1, 0) :])


def _text(signatures: Sequence[TimeSignature] | Sequence[KeySignature]) -> str:
    return ", ".join(f"{each}@{each.tick}" for each in signatures)


def _parse(
    text: str, pattern: re.Pattern[str], read: Callable[[re.Match[str]], _Signature], wanted: str
) -> tuple[_Signature, ...]:
    if not text:
        return ()
    matches = [pattern.fullmatch(part.strip()) for part in text.split(",")]
    found = tuple(read(match) for match in matches if match)
    ascends = all(low.tick < high.tick for low, high in itertools.pairwise(found))
    if len(found) < len(matches) or not ascends or not all(each.is_valid for each in found):
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
        raise ValueError(f"{shown!r}, want {wanted}, by tick")
    return found


def _read_time(match: re.Match[str]) -> TimeSignature:
    return TimeSignature(int(match[3] or 0), int(match[1]), int(match[2]))


def _read_key(match: re.Match[str]) -> KeySignature:
    is_minor = int(match[3] == "minor")
    fifths = _FIFTHS.index(match[1]) - 1 + len(_FIFTHS) * {"": 0, "#": 1, "b": -1}[match[2]]
    return KeySignature(int(match[4] or 0), fifths - 3 * is_minor, is_minor)
