"""Time signature and key signature events of a MIDI file.

    FF 58 04 nn dd cc bb   nn / 2^dd; cc and bb are about metronomes
    FF 59 02 sf mi         sf sharps, or flats if negative; mi 1: minor

A file has no signatures if one of these events has another length, or a dd above 7: readers differ in what they make of
it. What looks like such an event may be another one, which is rare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from midi_codec.music.signatures import KeySignature, Signatures, TimeSignature

if TYPE_CHECKING:
    from symusic.core import ScoreTick

TIME_SIGNATURE, KEY_SIGNATURE = 0x58, 0x59  # kinds of meta events
LENGTHS = {TIME_SIGNATURE: 4, KEY_SIGNATURE: 2}
MAX_POWER = 7
_ODD = re.compile(rb"\xff(?:\x58(?:[\x00-\x03\x05-\x7f]|\x04.[\x08-\xff])|\x59[\x00\x01\x03-\x7f])", re.DOTALL)

Event = tuple[int, int, bytes]  # tick, kind, at least the first bytes


def of_events(events: Iterable[Event]) -> Signatures:
    """The signatures that events of all tracks mean."""
    times, keys = [], []
    for tick, kind, payload in events:
        if len(payload) != LENGTHS[kind] or kind == TIME_SIGNATURE and payload[1] > MAX_POWER:
            return Signatures()
        if kind == TIME_SIGNATURE:
            times.append(TimeSignature(tick, payload[0], 1 << payload[1]))
        else:
            keys.append(KeySignature(tick, int.from_bytes(payload[:1], signed=True), payload[1]))
    return Signatures.from_events(times, keys)


def of_score(score: ScoreTick, data: bytes) -> Signatures:
    """The same for the file `data` that symusic read."""
    times, keys = score.time_signatures, score.key_signatures
    if not (len(times) or len(keys)) or _ODD.search(data):
        return Signatures()
    return Signatures.from_events(
        [TimeSignature(each.time, each.numerator, each.denominator) for each in times],
        [KeySignature(each.time, each.key, each.tonality) for each in keys],
    )
