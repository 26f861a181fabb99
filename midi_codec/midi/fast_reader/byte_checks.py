"""Checks of the bytes of MIDI files before any event is read: whether symusic might misread them.

All bytes are checked, including text, so an answer may be "might" although the truth is "does not". Everything
follows from the *high* bytes, those above 7F: every status is one, and a delta has up to three before its last byte.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from midi_codec.midi import part_modes, signature_events
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
PADDING = bytes(8)  # after a file, so that bytes follow the last ones
KEY_SIGNATURE = 0x59
MAX_STEPS = 32  # backwards from a byte, to find out what it is
BLOCK_BYTES = 1 << 17  # checked together
DATA_BYTES = np.full(256, -1)  # of a system message, by status; -1 for those that are undefined
DATA_BYTES[[SYSEX, ESCAPE]] = 0
DATA_BYTES[list(SYSTEM_DATA_BYTES)] = list(SYSTEM_DATA_BYTES.values())


@dataclasses.dataclass(slots=True)
class Appearance:
    """The results for one file."""

    has_odd_tempo: bool  # FF 51 with another length than 3; symusic always reads three bytes
    has_odd_signature: bool  # symusic and other readers may understand a time or key signature differently
    may_be_late: bool  # the sum of all deltas might reach `tick_limit`
    may_move_drums: bool  # a message might put drums on another channel than 10, or remove them from 10
    num_programs: int  # an upper bound of program changes that another kind of event follows
    may_set_programs: bool  # a program change might name another program than 0
    suspects: np.ndarray  # [k] int64: bytes that symusic misreads if they are statuses
    running_banks: np.ndarray  # [k] int64: low bytes that may move drums if they begin an event
    statuses: memoryview  # the file, with 0 for bytes that cannot be the status of a message with two data bytes


def look_at(files: Sequence[bytes], tick_limit: int) -> list[Appearance]:
    """Checks whole files."""
    lengths = np.array([len(data) for data in files], np.int64)
    begins = offsets_of(lengths + len(PADDING))
    stops = begins[:-1] + lengths
    octets = np.frombuffer(PADDING.join([*files, b""]), np.uint8)

    def count(at: np.ndarray) -> np.ndarray:
        """`[files]`: how many of the ascending positions are in each."""
        return np.diff(at.searchsorted(begins))

    def file_of(at: np.ndarray) -> np.ndarray:
        return begins.searchsorted(at, side="right") - 1

    late, pairs, zeros, statuses = _mark(octets)
    is_late = _may_be_late(octets, pairs, begins, lengths, tick_limit)
    del pairs  # hostile files have many
    values = octets.take(late)
    programs, is_system = late[values < PROGRAM_CHANGE + 0x10], values >= SYSEX
    systems, values = late[is_system], values[is_system]
    del late
    metas = systems[values == META]
    odd = metas[(octets.take(metas + 1) == TEMPO) & (octets.take(metas + 2) != 3)]
    odd = odd[odd + 2 < stops[file_of(odd)]]
    odd_signatures = signature_events.odd_events(octets, metas)
    odd_signatures = odd_signatures[odd_signatures + 2 < stops[file_of(odd_signatures)]]
    suspects = _split(_suspects(octets, systems, values, stops[file_of(systems)]), begins)
    parts, systems_on = _about_parts(octets, systems[values == SYSEX])
    is_xg = count(systems_on) > 0
    for file in np.flatnonzero(is_xg):
        is_xg[file] = XG_ON in files[file]
    named_banks, running_banks = _find_banks(octets, zeros, metas, begins, is_xg)
    running = _split(running_banks, begins)
    moves = count(named_banks) > 0
    for file in np.flatnonzero((count(parts) > 0) & ~moves):
        moves[file] = part_modes.may_move_drums(files[file])
    none = np.empty(0, np.int64)
    columns = (
        (count(odd) > 0).tolist(),
        (count(odd_signatures) > 0).tolist(),
        is_late.tolist(),
        moves.tolist(),
        count(programs).tolist(),
        (count(_sets_program(octets, programs)) > 0).tolist(),
        [suspects.get(file, none) for file in range(len(files))],
        [running.get(file, none) for file in range(len(files))],
        [statuses.data[begin:stop] for begin, stop in zip(begins.tolist(), stops.tolist(), strict=False)],
    )
    return list(map(Appearance, *columns))


def _mark(octets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Looks at every byte, in blocks that fit into a processor's nearest caches.

    Returns:
      ascending positions of bytes that are rare in music: from C0 on; the second of two high bytes; a 0 before a value
      of 120 or more; and the bytes of `Appearance.statuses`.
    """
    late, pairs, banks = [], [], []
    statuses = np.empty_like(octets)
    statuses[-2:] = 0
    scratch, scratch_mask = np.empty(BLOCK_BYTES, np.uint8), np.empty(BLOCK_BYTES, bool)
    for begin in range(0, len(octets) - 2, BLOCK_BYTES):
        block, second, third = (octets[begin + by : begin + by + BLOCK_BYTES] for by in range(3))
        block, second = block[: len(third)], second[: len(third)]
        work, mask = scratch[: len(third)], scratch_mask[: len(third)]
        late.append(np.flatnonzero(np.greater_equal(block, PROGRAM_CHANGE, out=mask)) + begin)
        np.bitwise_and(block, second, out=work)
        pairs.append(np.flatnonzero(np.greater(work, 0x7F, out=mask)) + (begin + 1))
        np.bitwise_or(second, third, out=work)
        np.multiply(block, np.less(work, 0x80, out=mask).view(np.uint8), out=statuses[begin : begin + len(third)])
        np.bitwise_xor(second, 0x78, out=work)
        np.bitwise_and(work, 0xF8, out=work)  # 0 for 120 to 127
        np.bitwise_or(work, block, out=work)
        banks.append(np.flatnonzero(np.equal(work, BANK, out=mask)) + begin)
    none = np.empty(0, np.int64)
    return np.concatenate([none, *late]), np.concatenate([none, *pairs]), np.concatenate([none, *banks]), statuses


def _split(positions: np.ndarray, begins: np.ndarray) -> dict[int, np.ndarray]:
    """Positions by file, for files that have any, counted from the file's first byte."""
    files, firsts = np.unique(begins.searchsorted(positions, side="right") - 1, return_index=True)
    parts = np.split(positions, firsts[1:])
    return {file: part - begins[file] for file, part in zip(files.tolist(), parts, strict=False)}


def _about_parts(octets: np.ndarray, exclusive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """System exclusive messages that may be about a part, and that may turn XG on, judged by their first bytes."""
    payload = np.minimum(_after_delta(octets, exclusive + 1), len(octets) - len(PADDING))
    maker, model, high, middle = (octets.take(payload + offset) for offset in (0, 2, 3, 5))
    is_gs_part = (maker == 0x41) & (model == 0x42) & (middle & 0xF0 == 0x10)
    is_xg = (maker == 0x43) & (model == 0x4C)
    return exclusive[is_gs_part | is_xg & (high == 0x08)], exclusive[is_xg & (high == 0x00)]


def _may_be_late(
    octets: np.ndarray, pairs: np.ndarray, begins: np.ndarray, lengths: np.ndarray, tick_limit: int
) -> np.ndarray:
    """`[files]` bool: whether the sum of all deltas might reach the limit."""
    triples = pairs[1:][np.diff(pairs) == 1]
    num_pairs, num_triples = (np.diff(at.searchsorted(begins)) for at in (pairs, triples))
    is_late = _delta_bound(lengths, lengths, num_pairs, num_triples) >= tick_limit  # the worst case
    files = np.flatnonzero(is_late)
    num_high = np.array([np.count_nonzero(octets[begins[file] : begins[file + 1]] > 0x7F) for file in files], np.int64)
    is_late[files] = _delta_bound(lengths[files], num_high, num_pairs[files], num_triples[files]) >= tick_limit
    return is_late


def _delta_bound(
    num_bytes: np.ndarray, num_high: np.ndarray, num_pairs: np.ndarray, num_triples: np.ndarray
) -> np.ndarray:
    """An upper bound of the sum of all deltas: 2^7 needs a high byte, 2^14 two in a row, 2^21 three."""
    return (num_bytes << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28)


def _sets_program(octets: np.ndarray, programs: np.ndarray) -> np.ndarray:
    """The program changes that might name another program than 0."""
    number = octets.take(programs + 1)
    runs_on = octets.take(_after_delta(octets, programs + 2), mode="clip")  # the status or data after it
    return programs[(number > 0) & (number < 0x80) | (number == 0) & ((runs_on < 0x80) | (runs_on >= SYSEX))]


def _suspects(octets: np.ndarray, systems: np.ndarray, values: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """`[k]` positions of system messages that symusic misreads if they are statuses.

    These are F7, which it takes for an event of one byte, and those that a running status follows. A status follows
    the last byte of a delta, and is not inside a tempo or a key signature.

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
    after = at + 1 + DATA_BYTES[status]
    exclusive = np.flatnonzero(status == SYSEX)
    after[exclusive] = _after_payload(octets, at[exclusive] + 1)
    after = _after_delta(octets, after)
    before_meta = np.flatnonzero(octets.take(after, mode="clip") == META)
    if len(before_meta):
        after[before_meta] = _after_metas(octets, systems[values == META], after[before_meta])
    runs_on = (after < stops[rows[kept]]) & (octets.take(after, mode="clip") < 0x80)
    return at[(status == ESCAPE) | runs_on]


def _ends_message(octets: np.ndarray, at: np.ndarray, status: np.ndarray, before: np.ndarray) -> np.ndarray:
    """`[s]` bool: whether the byte is the F7 at the end of a message of fewer than 128 bytes without high ones.

    Args:
      before: `[s]` the position of the previous byte from F0 on.
    """
    ends = np.zeros(len(at), bool)
    rows = np.flatnonzero(
        (status == ESCAPE) & (octets.take(before) == SYSEX) & (octets.take(before + 1) == at - before - 1)
    )
    if len(rows):
        bounds = np.column_stack([before[rows] + 1, at[rows]]).ravel()
        ends[rows] = np.maximum.reduceat(octets, bounds)[::2] < 0x80
    return ends


def _after_metas(octets: np.ndarray, metas: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Where the first other event begins after meta events at `position`; `metas` are all possible meta events."""
    after = _after_delta(octets, _after_payload(octets, metas + 2))
    following = np.minimum(metas.searchsorted(after), len(metas) - 1)
    following = np.where(
        metas[following] == after, following, np.arange(len(metas))
    )  # the last in a row points at itself
    while np.any(following != (further := following[following])):
        following = further
    return after[following[metas.searchsorted(position)]]


def _after_payload(octets: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The end of a payload whose length begins at `position`."""
    length, more = np.zeros(len(position), np.int64), np.ones(len(position), bool)
    for _ in range(MAX_SEPTETS):
        octet = octets.take(position, mode="clip").astype(np.int64)
        length = np.where(more, length << 7 | octet & 0x7F, length)
        position = position + more
        more &= octet > 0x7F
    return position + length


def _after_delta(octets: np.ndarray, position: np.ndarray) -> np.ndarray:
    more = np.ones(len(position), bool)
    for _ in range(MAX_SEPTETS):
        octet = octets.take(position, mode="clip")
        position = position + more
        more &= octet > 0x7F
    return position


def _find_banks(
    octets: np.ndarray, zeros: np.ndarray, metas: np.ndarray, begins: np.ndarray, is_xg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The zeros that select a bank which moves the drums: after a control's status, and under its running status.

    Args:
      zeros: `[z]` positions of all zeros before a value of 120 or more.
      is_xg: `[files]`.
    """
    if not len(zeros):
        return zeros, zeros
    bank, status = octets.take(zeros + 1), octets.take(zeros - 1)
    counts = bank < 122
    if is_xg.any():
        counts |= (bank > 125) & is_xg[begins.searchsorted(zeros, side="right") - 1]
    is_named = status & 0xF0 == CONTROL_CHANGE
    is_ten = status & 0x0F == DRUM_CHANNEL
    named = zeros[counts & is_named & np.where(bank == 121, is_ten, ~is_ten)]
    running = zeros[counts & ~is_named & (octets.take(zeros - 1) < 0x80)]
    return named, running[_may_follow_control(octets, metas, running)]


def _may_follow_control(octets: np.ndarray, metas: np.ndarray, position: np.ndarray) -> np.ndarray:
    """`[p]` bool: whether the bytes there may begin events under the running status of a control.

    The search goes back one event at a time. For the last 00 in

        00 B0 07 64   delta, status, data: a control with its status, so the answer is yes
        10 0A 40      delta, data: a control under the running status, so the search continues
        10 00 78      delta, data

    it takes two steps. A meta event before the delta also means yes; anything else means no. After MAX_STEPS, or fewer
    if there are many positions, the answer is yes.
    """
    after_metas = _after_delta(octets, _after_payload(octets, metas + 2)) if len(position) else metas
    may_be = np.zeros(len(position), bool)
    rows = np.arange(len(position))
    for _ in range(min(MAX_STEPS, (len(octets) + BLOCK_BYTES) // (8 * len(rows) + 1))):
        if not len(rows):
            return may_be
        index = np.minimum(after_metas.searchsorted(position), len(after_metas) - 1)
        is_accepted = after_metas[index] == position if len(after_metas) else np.zeros(len(position), bool)
        is_delta = octets.take(position - 1) < 0x80
        value = position - 2
        for _ in range(MAX_SEPTETS - 1):
            value = value - (octets.take(value) > 0x7F)
        before = octets.take(value - 2)
        is_sound = is_delta & (octets.take(value) < 0x80) & (octets.take(value - 1) < 0x80)
        is_accepted |= is_sound & (before & 0xF0 == CONTROL_CHANGE)
        may_be[rows[is_accepted]] = True
        continues = np.flatnonzero(is_sound & (before < 0x80) & ~is_accepted)
        rows, position = rows[continues], value[continues] - 1
    may_be[rows] = True
    return may_be


def sum_of_deltas(data: bytes, *, num_tempos: int) -> int:
    """An upper bound of the sum of all deltas: every byte below 0x80 may end one, after up to 3 high bytes.

    Tempo events are removed if no other bytes look like one.
    """
    if data.count(TEMPO_EVENT) == num_tempos:
        data = ANY_TEMPO.sub(TEMPO_EVENT + b"\0\0\0", data)
    octets = np.frombuffer(b"\0\0\0" + data, np.uint8)  # three zeros, because no bytes precede the first ones
    high = octets > 0x7F
    total = len(octets) << 7
    last = np.flatnonzero(high[:-1] & ~high[1:]) + 1
    longer = np.ones(len(last), bool)
    for back in range(1, 4):
        before = last - back
        longer &= high[before]
        total += int((octets[before[longer]] & 0x7F).sum(dtype=np.int64)) << 7 * back
    return total
