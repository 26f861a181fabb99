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
NO_BANKS = (False, np.empty(0, np.int64))


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
    statuses: bytes  # as the file, but 0 for all bytes that cannot be the status of a message of two data bytes


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
    stops = begins[:-1] + lengths
    octets = np.frombuffer(PADDING.join([*datas, b""]), np.uint8)

    def count(at: np.ndarray) -> np.ndarray:
        """`[files]`: how many of the positions, ascending, are in each."""
        return np.diff(at.searchsorted(begins))

    def file_of(at: np.ndarray) -> np.ndarray:
        return begins.searchsorted(at, side="right") - 1

    systems = np.flatnonzero(octets >= SYSEX)
    values = octets.take(systems)
    metas = systems[values == META]
    odd = metas[(octets.take(metas + 1) == TEMPO) & (octets.take(metas + 2) != 3)]
    odd = odd[odd + 2 < stops[file_of(odd)]]
    suspects = _suspects(octets, systems, values, stops[file_of(systems)])
    has_sysex = (count(systems[values == SYSEX]) > 0).tolist()
    programs = np.flatnonzero(octets & 0xF0 == PROGRAM_CHANGE)
    statuses = _statuses(octets)
    is_late = _may_be_late(octets, begins, lengths, tick_limit)
    num_odd, num_programs, num_sets = (count(at).tolist() for at in (odd, programs, _sets_program(octets, programs)))
    suspects_of = _split(suspects, begins)
    banks = _find_banks(
        datas, octets, statuses, begins, [has and XG_ON in data for has, data in zip(has_sysex, datas, strict=True)]
    )
    return [
        Appearance(
            has_odd_tempo=num_odd[file] > 0,
            may_be_late=is_late[file],
            may_move_drums=banks.get(file, NO_BANKS)[0] or has_sysex[file] and part_modes.may_move_drums(data),
            num_programs=num_programs[file],
            may_set_programs=num_sets[file] > 0,
            suspects=suspects_of[file],
            running_banks=banks.get(file, NO_BANKS)[1],
            statuses=statuses[begins[file] : stops[file]].tobytes(),
        )
        for file, data in enumerate(datas)
    ]


def _statuses(octets: np.ndarray) -> np.ndarray:
    """`[n]` uint8: the bytes that have two low ones behind, as statuses of two data bytes have, 0 for others."""
    behind = octets[1:-1] | octets[2:]
    return np.append(octets[:-2] * (behind < 0x80), np.zeros(2, np.uint8))


def _may_be_late(octets: np.ndarray, begins: np.ndarray, lengths: np.ndarray, tick_limit: int) -> list[bool]:
    """Whether the sum of all deltas might reach the limit, of each file."""
    signed = octets.view(np.int8)
    pairs = np.flatnonzero(signed[1:] & signed[:-1] < 0)
    triples = pairs[1:][np.diff(pairs) == 1]
    num_pairs, num_triples = (np.diff(at.searchsorted(begins)) for at in (pairs, triples))
    is_late = _delta_bound(lengths, lengths, num_pairs, num_triples) >= tick_limit  # at worst
    for file in np.flatnonzero(is_late):
        num_high = np.count_nonzero(signed[begins[file] : begins[file + 1]] < 0)
        is_late[file] = _delta_bound(lengths[file], num_high, num_pairs[file], num_triples[file]) >= tick_limit
    return is_late.tolist()


def _sets_program(octets: np.ndarray, programs: np.ndarray) -> np.ndarray:
    """Those program changes that might name another program than 0."""
    number = octets.take(programs + 1)
    runs_on = octets.take(_behind_delta(octets, programs + 2), mode="clip")  # the status or data behind
    return programs[(number > 0) & (number < 0x80) | (number == 0) & ((runs_on < 0x80) | (runs_on >= SYSEX))]


def _split(positions: np.ndarray, begins: np.ndarray) -> list[np.ndarray]:
    """By file, and counted from where it begins."""
    bounds = positions.searchsorted(begins).tolist()
    return [positions[first:last] - begin for first, last, begin in zip(bounds, bounds[1:], begins, strict=False)]


def _delta_bound(num_bytes: np.ndarray, num_high: np.ndarray, num_pairs: np.ndarray, num_triples: np.ndarray):
    """At least the sum of all deltas: one needs a high byte to reach 2^7, two in a row for 2^14, three for 2^21."""
    return (num_bytes << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28)


def _suspects(octets: np.ndarray, systems: np.ndarray, values: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """`[k]` positions of system messages that symusic misreads, unless they are no statuses.

    These are F7, which it takes for an event of one byte, and those with a running status behind them. A status
    stands behind the last byte of a delta, and not in a tempo or a key signature.

    Args:
      systems: `[s]` positions of all bytes from F0 on.
      values: `[s]`, these bytes.
      stops: `[s]` where their files end.
    """
    rows = np.flatnonzero((DATA_BYTES.take(values) >= 0) & (octets.take(systems - 1) < 0x80))
    at, status = systems[rows], values[rows]
    is_payload = np.zeros(len(rows), bool)
    for back, kind, length in ((3, TEMPO, 3), (4, TEMPO, 3), (5, TEMPO, 3), (3, KEY_SIGNATURE, 2)):
        is_payload |= (octets[at - back] == META) & (octets[at - back + 1] == kind) & (octets[at - back + 2] == length)
    kept = np.flatnonzero(~is_payload & ~_ends_message(octets, at, status, systems[rows - 1]))
    at, status = at[kept], status[kept]
    behind = at + 1 + DATA_BYTES[status]
    exclusive = np.flatnonzero(status == SYSEX)
    behind[exclusive] = _behind_payload(octets, at[exclusive] + 1)
    behind = _behind_delta(octets, behind)
    before_meta = np.flatnonzero(octets.take(behind, mode="clip") == META)
    if len(before_meta):
        behind[before_meta] = _behind_metas(octets, systems[values == META], behind[before_meta])
    runs_on = (behind < stops[rows[kept]]) & (octets.take(behind, mode="clip") < 0x80)
    return at[(status == ESCAPE) | runs_on]


def _ends_message(octets: np.ndarray, at: np.ndarray, status: np.ndarray, before: np.ndarray) -> np.ndarray:
    """`[s]` bool: whether the byte is the F7 at the end of a message of less than 128 bytes, no high one among them.

    Args:
      before: `[s]` the nearest byte from F0 on before each.
    """
    ends = np.zeros(len(at), bool)
    rows = np.flatnonzero(
        (status == ESCAPE) & (octets.take(before) == SYSEX) & (octets.take(before + 1) == at - before - 1)
    )
    if len(rows):
        bounds = np.column_stack([before[rows] + 1, at[rows]]).ravel()
        ends[rows] = np.maximum.reduceat(octets, bounds)[::2] < 0x80
    return ends


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


def _find_banks(
    datas: Sequence[bytes], octets: np.ndarray, statuses: np.ndarray, begins: np.ndarray, is_xg: list[bool]
) -> dict[int, tuple[bool, np.ndarray]]:
    """By file, where one may be selected that moves the drums: whether one does, and positions where it may.

    A control stands behind its status, or its status runs on somewhere in the file; most files have neither.
    """
    zeros = np.flatnonzero((octets[1:] - np.uint8(120) < (8 if any(is_xg) else 2)) & (octets[:-1] == BANK))
    if not len(zeros):
        return {}
    controls = np.flatnonzero(statuses & 0xF0 == CONTROL_CHANGE)
    following = octets.take(_behind_delta(octets, controls + 3), mode="clip")
    files = begins.searchsorted(controls[(following < 0x80) | (following >= SYSEX)], side="right") - 1
    runs_on = np.zeros(len(datas), bool)
    runs_on[files] = True
    files = begins.searchsorted(zeros, side="right") - 1
    may_be = runs_on[files] | (statuses.take(zeros - 1) & 0xF0 == CONTROL_CHANGE)
    return {file: _banks_of_drums(datas[file], with_xg=is_xg[file]) for file in np.unique(files[may_be]).tolist()}


def _banks_of_drums(data: bytes, *, with_xg: bool) -> tuple[bool, np.ndarray]:
    """As `_find_banks`, of one file.

    Behind a status of two data bytes, low bytes come in threes: data, data, delta. So the nearest high byte before
    tells whether a 0 may be the number of a control: when it is a status, or when it belongs to a delta under one.
    """
    octets = np.frombuffer(data + PADDING, np.uint8)
    high = np.flatnonzero(octets > 0x7F)
    values = octets.take(high)
    zeros = np.flatnonzero((octets[:-1] == BANK) & (octets[1:] - np.uint8(120) < (8 if with_xg else 2)))
    place = high.searchsorted(zeros) - 1
    bank, status, distance = octets.take(zeros + 1), values[place], zeros - high[place] - 1
    is_control = status & 0xF0 == CONTROL_CHANGE
    is_ten = status & 0x0F == DRUM_CHANNEL
    is_drum_bank = (bank < 122) | (bank > 125)
    named = is_drum_bank & (distance % 3 == 0) & is_control & np.where(bank == 121, is_ten, ~is_ten)
    running = np.flatnonzero(is_drum_bank & (distance % 3 == 1))
    running = running[_may_be_running_controls(octets, high, values, place[running])]
    return bool(named.any()), zeros[running]


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
