"""What the bytes of MIDI files say before anything reads an event: where symusic might lose its way.

Bytes are looked at wherever they stand, in text too, so an answer may be "might" where "does not" is true. All of it
follows from the *high* bytes, those above 7F: every status is one, a delta has up to three before its last byte.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from midi_codec.midi import part_modes
from midi_codec.midi.exact_reader.track_events import (
    BANK,
    CONTROL_CHANGE,
    ESCAPE,
    MAX_SEPTETS,
    META,
    PROGRAM_CHANGE,
    SYSEX,
    SYSTEM_DATA_BYTES,
    TEMPO,
)
from midi_codec.midi.part_modes import DRUM_CHANNEL, XG_ON
from midi_codec.music.piece_offsets import offsets_of

TEMPO_EVENT = b"\xff\x51\x03"
ANY_TEMPO = re.compile(re.escape(TEMPO_EVENT) + rb"...", re.DOTALL)
PADDING = bytes(8)  # behind a file, so that the last bytes have some behind them
KEY_SIGNATURE = 0x59
MAX_STEPS = 6  # back from a byte, to find out what it is
MAX_SCANNED = 1 << 18  # bytes of files that are looked at together, unless one alone has more
DATA_BYTES = np.full(256, -1)  # of a system message, by status; -1 for those that are undefined
DATA_BYTES[[SYSEX, ESCAPE]] = 0
DATA_BYTES[list(SYSTEM_DATA_BYTES)] = list(SYSTEM_DATA_BYTES.values())


@dataclasses.dataclass(frozen=True, eq=False)
class _Banks:
    """Places where the control 0 may stand with a value that moves the drums."""

    position: np.ndarray  # [k] int64, of the 0
    place: np.ndarray  # [k] int64, in the high bytes, of the nearest before
    is_xg_only: np.ndarray  # [k] bool, whether the value does so in XG alone
    is_certain: np.ndarray  # [k] bool, False where the 0 has to be the first byte of an event for that


@dataclasses.dataclass(frozen=True)
class Appearance:
    """What one file's bytes look like."""

    has_odd_tempo: bool  # FF 51 followed by another length than 3; symusic takes three bytes in any case
    may_be_late: bool  # the sum of all deltas might reach the limit that was given
    may_move_drums: bool  # a message might put drums on another channel than 10, or take them from there
    num_programs: int  # at most so many program changes are followed by another kind of event
    may_set_programs: bool  # a program change might name another program than 0
    suspects: np.ndarray  # [k] int64: bytes that symusic misreads if they are statuses
    running_banks: np.ndarray  # [k] int64: low bytes that may move drums if they are the first of an event


def look_at(datas: Sequence[bytes], tick_limit: int) -> list[Appearance]:
    """Looks at whole files."""
    looks: list[Appearance] = []
    begin = 0
    while begin < len(datas):
        stop, num_bytes = begin + 1, len(datas[begin])
        while stop < len(datas) and num_bytes + len(datas[stop]) <= MAX_SCANNED:
            num_bytes += len(datas[stop])
            stop += 1
        looks += _look_at(datas[begin:stop], tick_limit)
        begin = stop
    return looks


def _look_at(datas: Sequence[bytes], tick_limit: int) -> list[Appearance]:
    lengths = np.array([len(data) for data in datas], np.int64)
    begins = offsets_of(lengths + len(PADDING))
    octets = np.frombuffer(PADDING.join([*datas, b""]), np.uint8)
    high = np.flatnonzero(octets > 0x7F)
    values = octets.take(high)
    bounds = high.searchsorted(begins)

    def count(rows: np.ndarray) -> np.ndarray:
        """`[files]`: how many of the places in `high`, ascending, are of each."""
        return np.diff(rows.searchsorted(bounds))

    def file_of(rows: np.ndarray) -> np.ndarray:
        return bounds.searchsorted(rows, side="right") - 1

    pairs = np.flatnonzero(np.diff(high, prepend=-2) == 1)
    triples = pairs[1:][np.diff(pairs) == 1]
    late = _delta_bound(lengths, np.diff(bounds), count(pairs), count(triples)) >= tick_limit
    programs = np.flatnonzero(values & 0xF0 == PROGRAM_CHANGE)
    number = octets.take(high[programs] + 1)
    runs_on = octets.take(_behind_delta(octets, high[programs] + 2), mode="clip")  # the status or data behind
    sets = programs[(number > 0) & (number < 0x80) | (number == 0) & ((runs_on < 0x80) | (runs_on >= SYSEX))]
    stops = begins[:-1] + lengths
    meta = np.flatnonzero(values == META)
    odd = meta[(octets.take(high[meta] + 1) == TEMPO) & (octets.take(high[meta] + 2) != 3)]
    odd = odd[high[odd] + 2 < stops[file_of(odd)]]
    systems = np.flatnonzero((values >= SYSEX) & (values != META))
    suspects = _suspects(octets, high, values, systems, stops[file_of(systems)])
    has_sysex = (count(systems[values[systems] == SYSEX]) > 0).tolist()
    is_xg = np.array([has and XG_ON in data for has, data in zip(has_sysex, datas, strict=True)])
    banks = _banks_of_drums(octets, high, values, with_xg=bool(is_xg.any()))
    counts = is_xg[file_of(banks.place)] | ~banks.is_xg_only
    named, running = (np.flatnonzero(counts & rows) for rows in (banks.is_certain, ~banks.is_certain))
    num_odd, num_banks, num_programs, num_sets = (
        count(rows).tolist() for rows in (odd, banks.place[named], programs, sets)
    )
    suspects_of, banks_of = (_split(at, begins) for at in (high[suspects], banks.position[running]))
    return [
        Appearance(
            has_odd_tempo=num_odd[file] > 0,
            may_be_late=bool(late[file]),
            may_move_drums=num_banks[file] > 0 or has_sysex[file] and part_modes.may_move_drums(data),
            num_programs=num_programs[file],
            may_set_programs=num_sets[file] > 0,
            suspects=suspects_of[file],
            running_banks=banks_of[file],
        )
        for file, data in enumerate(datas)
    ]


def _split(positions: np.ndarray, begins: np.ndarray) -> list[np.ndarray]:
    """By file, and counted from where it begins."""
    bounds = positions.searchsorted(begins).tolist()
    return [positions[first:last] - begin for first, last, begin in zip(bounds, bounds[1:], begins, strict=False)]


def _delta_bound(num_bytes: np.ndarray, num_high: np.ndarray, num_pairs: np.ndarray, num_triples: np.ndarray):
    """At least the sum of all deltas: one needs a high byte to reach 2^7, two in a row for 2^14, three for 2^21."""
    return (num_bytes << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28)


def _suspects(
    octets: np.ndarray, high: np.ndarray, values: np.ndarray, rows: np.ndarray, stops: np.ndarray
) -> np.ndarray:
    """`[k]` places in `high` of system messages that symusic misreads, unless they are no statuses.

    These are F7, which it takes for an event of one byte, and those with a running status behind them. A status
    stands behind the last byte of a delta, and not in a tempo or a key signature.

    Args:
      rows: `[s]` places in `high` of all that may be system messages.
      stops: `[s]` where their files end.
    """
    at, status = high[rows], values[rows]
    is_payload = octets[at - 1] > 0x7F
    for back, kind, length in ((3, TEMPO, 3), (4, TEMPO, 3), (5, TEMPO, 3), (3, KEY_SIGNATURE, 2)):
        is_payload |= (octets[at - back] == META) & (octets[at - back + 1] == kind) & (octets[at - back + 2] == length)
    before = high[rows - 1]  # this byte ends its message if that has less than 128 bytes, and no other high one
    is_payload |= (status == ESCAPE) & (values[rows - 1] == SYSEX) & (octets.take(before + 1) == at - before - 1)
    behind = at + 1 + DATA_BYTES[status]
    exclusive = np.flatnonzero(status == SYSEX)
    behind[exclusive] = _behind_payload(octets, at[exclusive] + 1)
    behind = _behind_delta(octets, behind)
    metas = np.flatnonzero(octets.take(behind, mode="clip") == META)
    if len(metas):
        behind[metas] = _behind_metas(octets, high[values == META], behind[metas])
    runs_on = (behind < stops) & (octets.take(behind, mode="clip") < 0x80)
    return rows[((status == ESCAPE) | runs_on) & ~is_payload & (DATA_BYTES[status] >= 0)]


def _behind_metas(octets: np.ndarray, metas: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Where the first other event begins behind meta events at `position`, of all that may be at `metas`."""
    behind = _behind_delta(octets, _behind_payload(octets, metas + 2))
    following = np.minimum(metas.searchsorted(behind), len(metas) - 1)
    following = np.where(metas[following] == behind, following, np.arange(len(metas)))  # itself for the last in a row
    while np.any(following != (further := following[following])):
        following = further
    return behind[following[metas.searchsorted(position)]]


def _behind_payload(octets: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Where a payload ends whose length begins at `position`."""
    length, more = np.zeros(len(position), np.int64), np.ones(len(position), bool)
    for _ in range(MAX_SEPTETS):
        octet = octets.take(position, mode="clip").astype(np.int64)
        length = np.where(more, length << 7 | octet & 0x7F, length)
        position = position + more
        more &= octet > 0x7F
    return position + length


def _behind_delta(octets: np.ndarray, position: np.ndarray) -> np.ndarray:
    more = np.ones(len(position), bool)
    for _ in range(MAX_SEPTETS):
        octet = octets.take(position, mode="clip")
        position = position + more
        more &= octet > 0x7F
    return position


def _banks_of_drums(octets: np.ndarray, high: np.ndarray, values: np.ndarray, *, with_xg: bool) -> _Banks:
    """Where a bank may be selected that moves the drums.

    Behind a status of two data bytes, low bytes come in threes: data, data, delta. So the nearest high byte before
    tells whether a 0 may be the number of a control: when it is a status, or when it belongs to a delta under one.
    """
    zeros = np.flatnonzero((octets[:-1] == BANK) & (octets[1:] - np.uint8(120) < (8 if with_xg else 2)))
    place = high.searchsorted(zeros) - 1
    bank, status, distance = octets.take(zeros + 1), values[place], zeros - high[place] - 1
    is_control = status & 0xF0 == CONTROL_CHANGE
    is_ten = status & 0x0F == DRUM_CHANNEL
    is_drum_bank = (bank < 122) | (bank > 125)
    named = is_drum_bank & (distance % 3 == 0) & is_control & np.where(bank == 121, is_ten, ~is_ten)
    running = np.flatnonzero(is_drum_bank & (distance % 3 == 1))
    running = running[_may_be_running_controls(octets, high, values, place[running])]
    rows = np.concatenate([np.flatnonzero(named), running])
    rows.sort()
    return _Banks(zeros[rows], place[rows], bank[rows] > 121, named[rows])


def _may_be_running_controls(octets: np.ndarray, high: np.ndarray, values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """`[p]` bool: whether the high bytes at `place` may belong to deltas under the running status of a control.

    Then the high byte before is that status, or may belong to such a delta too, or to a meta event or a system
    message in between. It is asked a few times.
    """
    may_be = np.ones(len(place), bool)
    for _ in range(MAX_STEPS if len(place) else 0):
        before = high[place - 1]
        lows = (high[place] - before - 1) % 3  # low bytes between
        is_system = values[place - 1] >= SYSEX
        for back in (3, 4, 5):
            is_system |= octets[before - back] == META
        is_control = (values[place - 1] & 0xF0 == CONTROL_CHANGE) & (lows == 2)
        may_be &= is_system | is_control | (lows == 0)
        place = place - (may_be & ~is_system & ~is_control)
    return may_be


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
