"""Drums on channels other than 10, and a melodic channel 10: the messages of GM, GS, XG and GM2.

    F0 7E dev 09 01|02|03 F7             GM on, off, GM2 on: channel 10 has drums, the others are melodic
    F0 41 dev 42 12 40 00 7F 00 sum F7   GS reset, and 00 00 7F mm its system mode: the same
    F0 41 dev 42 12 40 1x 15 mm sum F7   GS: part x has drums if mm is at least 1; 0 makes it melodic
    F0 43 1n 4C 00 00 7E 00 F7           XG on: the same as GM on
    F0 43 1n 4C 08 pp 07 mm F7           XG: the mode of part pp, as for GS
    Bn 00 mm ... Cn pp                   with the program change: in XG, banks 126 and 127 are drums, others
                                         melodic; in GM2, and if no system was set, 120 is drums, 121 melodic

Bank 127 without XG on means nothing. A message holds for its channel, whichever track it is in.
Sources: Roland SC-88 and Yamaha XG MIDI implementations; General MIDI 2 (RP-024).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PROGRAM_CHANGE, SYSEX = 0xC0, 0xF0
DRUM_CHANNEL = 9  # counted from 0
GM, GS, XG, PART = range(4)  # kinds of messages: a reset to one of three systems, or the mode of one part
MAX_BYTES = 16  # of any of these messages, after its length
_KINDS = re.compile(
    rb"(?P<gm>\x7e.\x09[\x01-\x03])"
    rb"|(?P<gs>\x41.\x42\x12(?:\x40\x00\x7f\x00|\x00\x00\x7f.))"
    rb"|(?P<xg>\x43[\x10-\x1f]\x4c\x00\x00\x7e\x00)"
    rb"|\x41.\x42\x12\x40(?P<gs_part>[\x10-\x1f])\x15(?P<gs_mode>[\x00-\x7f])"
    rb"|\x43[\x10-\x1f]\x4c\x08(?P<xg_part>[\x00-\x0f])\x07(?P<xg_mode>[\x00-\x7f])",
    re.DOTALL,
)
_GS_PART = re.compile(rb"\x42\x12\x40(?:\x10\x15\x00|[\x11-\x1f]\x15[\x01-\x7f])")
_XG_PART = re.compile(rb"\x4c\x08(?:\x09\x07\x00|[\x00-\x08\x0a-\x0f]\x07[\x01-\x7f])")
XG_ON = b"\x4c\x00\x00\x7e\x00"
UNDECIDED, MELODIC, DRUMS = -1, 0, 1
GM2_BANKS = {120: DRUMS, 121: MELODIC}
XG_DRUM_BANKS = (126, 127)


def read(payload: bytes) -> int:
    """A system exclusive message as a message of `TrackEvents`: SYSEX, kind or part, mode; 0 if it is none of these."""
    match = _KINDS.match(payload)
    if match is None:
        return 0
    for kind, name in ((GM, "gm"), (GS, "gs"), (XG, "xg")):
        if match[name]:
            return SYSEX << 16 | kind << 8
    if match["gs_part"]:  # parts in the order 10, 1 to 9, 11 to 16
        part, mode = match["gs_part"][0] & 0x0F, match["gs_mode"][0]
        channel = DRUM_CHANNEL if part == 0 else part - 1 if part <= DRUM_CHANNEL else part
    else:
        channel, mode = match["xg_part"][0], match["xg_mode"][0]
    return SYSEX << 16 | PART << 8 | channel << 1 | (mode > 0)


def may_move_drums(data: bytes) -> bool:
    """Whether a file contains the bytes of a system exclusive message that moves the drums."""
    return (b"\x42\x12\x40" in data and _GS_PART.search(data) is not None) or (
        b"\x4c\x08" in data and _XG_PART.search(data) is not None
    )


def decide(messages: Iterable[tuple[int, int, int, int]]) -> list[int]:
    """Whether each message gives its channel drums; UNDECIDED for a reset, and for most messages.

    Args:
      messages: in order of time: (status, port << 4 | channel, first data byte, second data byte) of program changes,
        bank selects, and the messages of `read`. A bank takes effect at the next program change.
    """
    system, banks, decisions = GM, dict[int, int](), []
    for status, channel, first, second in messages:
        decision = UNDECIDED
        if status == SYSEX and first == PART:
            decision = second & 1
            banks.pop(channel + (second >> 1), None)
        elif status == SYSEX:
            system, banks = first, {}
        elif status < PROGRAM_CHANGE:
            banks[channel] = second
        elif channel in banks:
            decision = _decide_bank(system, banks[channel], channel & 0x0F)
        decisions.append(decision)
    return decisions


def _decide_bank(system: int, bank: int, channel: int) -> int:
    if system == GM:
        return GM2_BANKS.get(bank, UNDECIDED)
    if system == GS or (bank == 0 and channel == DRUM_CHANNEL):  # files select bank 0 there, but mean drums
        return UNDECIDED
    return DRUMS if bank in XG_DRUM_BANKS else MELODIC
