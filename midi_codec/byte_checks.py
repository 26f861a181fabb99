"""What the bytes of a MIDI file say before anything reads an event: where symusic might lose its way.

Bytes are looked at wherever they stand, in text too, so an answer may be "might" where "does not" is true.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

TEMPO_EVENT = b"\xff\x51\x03"
ODD_TEMPO = re.compile(rb"\xff\x51[^\x03]", re.DOTALL)
ANY_TEMPO = re.compile(re.escape(TEMPO_EVENT) + rb"...", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Appearance:
    """What one file's bytes look like."""

    has_odd_tempo: bool  # FF 51 followed by another length than 3; symusic takes three bytes in any case
    may_be_late: bool  # the sum of all deltas might reach the limit that was given


def look_at(data: bytes, tick_limit: int) -> Appearance:
    """Looks at a whole file.

    Whether ticks may be late follows from a bound: a delta needs one byte above 0x7f to reach 2^7, two in a row
    for 2^14, three for 2^21.
    """
    octets = np.frombuffer(data, np.int8)  # those above 0x7f are negative
    pairs = octets[1:] & octets[:-1]
    num_pairs = int(np.count_nonzero(pairs < 0))
    bound = _delta_bound(len(data), len(data), num_pairs, num_pairs)  # at worst; rarely not enough
    if bound >= tick_limit:
        num_high, num_triples = np.count_nonzero(octets < 0), np.count_nonzero(pairs[1:] & octets[:-2] < 0)
        bound = _delta_bound(len(data), int(num_high), num_pairs, int(num_triples))
    return Appearance(ODD_TEMPO.search(data) is not None, bound >= tick_limit)


def _delta_bound(num_bytes: int, num_high: int, num_pairs: int, num_triples: int) -> int:
    return (num_bytes << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28)


def sum_of_deltas(data: bytes, *, num_tempos: int) -> int:
    """At least the sum of all deltas: every byte below 0x80 may end one, with up to 3 high ones before it.

    Tempo events are taken out when there are no more places that look like one than tempo events.
    """
    if data.count(TEMPO_EVENT) == num_tempos:
        data = ANY_TEMPO.sub(TEMPO_EVENT + b"\0\0\0", data)
    octets = np.frombuffer(b"\0\0\0" + data, np.uint8)  # three zeros: the first bytes have none before them
    high = octets > 0x7F
    total = len(octets) << 7
    last = np.flatnonzero(high[:-1] & ~high[1:]) + 1
    longer = np.ones(len(last), bool)
    for back in range(1, 4):
        before = last - back
        longer &= high[before]
        total += int((octets[before[longer]] & 0x7F).sum(dtype=np.int64)) << 7 * back
    return total
