"""What the bytes of MIDI files say before anything reads an event: where symusic might lose its way.

Bytes are looked at wherever they stand, in text too, so an answer may be "might" where "does not" is true.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from midi_codec.piece_offsets import offsets_of

TEMPO_EVENT = b"\xff\x51\x03"
ANY_TEMPO = re.compile(re.escape(TEMPO_EVENT) + rb"...", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Appearance:
    """What one file's bytes look like."""

    has_odd_tempo: bool  # FF 51 followed by another length than 3; symusic takes three bytes in any case
    may_be_late: bool  # the sum of all deltas might reach the limit that was given


def look_at(datas: Sequence[bytes], tick_limit: int) -> list[Appearance]:
    """Looks at files that all begin with `MThd`.

    Whether ticks may be late follows from a bound: a delta needs one byte above 0x7f to reach 2^7, two in a row
    for 2^14, three for 2^21. No row of such bytes crosses from one file into the next, because of `M`.
    """
    octets = np.frombuffer(b"".join([*datas, b"\0\0"]), np.uint8)  # two more: places are looked at behind a place
    offsets = offsets_of([len(data) for data in datas])
    odd = set(_odd_tempos(octets, offsets).tolist())
    high = octets > 0x7F
    pairs = high[1:] & high[:-1]
    appearances, bounds = [], offsets.tolist()
    for index, (begin, stop) in enumerate(zip(bounds, bounds[1:], strict=False)):
        num_pairs = int(np.count_nonzero(pairs[begin:stop]))
        bound = _delta_bound(stop - begin, stop - begin, num_pairs, num_pairs)  # at worst; rarely not enough
        if bound >= tick_limit:
            num_high, num_triples = (
                np.count_nonzero(high[begin:stop]),
                np.count_nonzero(pairs[begin + 1 : stop] & pairs[begin : stop - 1]),
            )
            bound = _delta_bound(stop - begin, num_high, num_pairs, num_triples)
        appearances.append(Appearance(index in odd, bound >= tick_limit))
    return appearances


def _delta_bound(num_bytes: int, num_high: int, num_pairs: int, num_triples: int) -> int:
    return (num_bytes << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28)


def _odd_tempos(octets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The files, with repetition, that have an odd tempo."""
    meta = (octets[:-2] == TEMPO_EVENT[0]).nonzero()[0]
    tempo = meta[octets[meta + 1] == TEMPO_EVENT[1]]
    odd = tempo[octets[tempo + 2] != TEMPO_EVENT[2]]
    files = offsets.searchsorted(odd, side="right") - 1
    return files[odd + 2 < offsets[files + 1]]  # what is cut off is none


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
