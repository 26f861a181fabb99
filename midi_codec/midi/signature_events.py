"""Time signature and key signature events of a MIDI file.

    FF 58 04 nn dd cc bb   nn / 2^dd; cc and bb are about metronomes
    FF 59 02 sf mi         sf sharps, or flats if negative; mi 1: minor

A file has no signatures if one of these events has another length, or a dd above 7: readers differ in what they make of
it. What looks like such an event may be another one, which is rare.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from midi_codec.music.signatures import KeySignature, Signatures, TimeSignature

if TYPE_CHECKING:
    from symusic.core import ScoreTick

TIME_SIGNATURE, KEY_SIGNATURE = 0x58, 0x59  # kinds of meta events
LENGTHS = {TIME_SIGNATURE: 4, KEY_SIGNATURE: 2}
MAX_POWER = 7
MAX_REMEMBERED = 4  # signatures of a file: most files have one or two, and many have the same

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


def of_score(score: ScoreTick) -> Signatures:
    """The same for a file that symusic read and that has no `odd_events`."""
    times = tuple((each.time, each.numerator, each.denominator) for each in score.time_signatures)
    keys = tuple((each.time, each.key, each.tonality) for each in score.key_signatures)
    if len(times) + len(keys) > MAX_REMEMBERED:
        return _of_values.__wrapped__(times, keys)
    return _of_values(times, keys)


@functools.lru_cache(maxsize=1024)
def _of_values(times: tuple[tuple[int, int, int], ...], keys: tuple[tuple[int, int, int], ...]) -> Signatures:
    return Signatures.from_events(map(TimeSignature._make, times), map(KeySignature._make, keys))


def odd_events(octets: np.ndarray, metas: np.ndarray) -> np.ndarray:
    """The positions among `metas` (of bytes FF) of what looks like a signature that readers understand differently."""
    at = metas[octets.take(metas + 1) & 0xFE == TIME_SIGNATURE]  # or KEY_SIGNATURE
    is_time, length = octets.take(at + 1) == TIME_SIGNATURE, octets.take(at + 2)
    has_other_length = (length < 0x80) & (length != np.where(is_time, *LENGTHS.values()))
    return at[has_other_length | is_time & (length == LENGTHS[TIME_SIGNATURE]) & (octets.take(at + 4) > MAX_POWER)]
