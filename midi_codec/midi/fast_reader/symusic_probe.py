"""Uses symusic to find out whether certain bytes of a track begin an event.

The bytes are replaced by F4, which symusic refuses as a status. In a payload, in a delta (for a high byte), or as data,
which symusic repairs, F4 does not change the structure.

Also finds out whether a channel's notes in one track depend on messages in another, which symusic ignores.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import numpy as np
from symusic.core import ScoreTick

from midi_codec.midi.exact_reader.track_events import NOTE_OFF, NOTE_ON, PROGRAM_CHANGE, read_events
from midi_codec.midi.midi_header import CHUNK, HEADER, Header
from midi_codec.midi.part_modes import DRUM_CHANNEL

UNDEFINED, REFUSAL = 0xF4, "0xf4"  # a status, and its name in symusic's message
MAX_CONTROLS = 64  # under one status, that are searched for a pedal
MAX_LOOKED_AHEAD = 4096  # occurrences of one status in a track; if there are more, all count
PROGRAMS = bytes(status for status in range(0xC0, 0xD0) if status != PROGRAM_CHANGE | DRUM_CHANNEL)
CONTROLS = bytes(range(0xB0, 0xC0))
MAX_META_BYTES = 32  # of the payload of meta events after which a running status continues
_DATA, _DELTA = rb"[\x00-\x7f]", rb"[\x80-\xff]{0,3}+[\x00-\x7f]"
_PAYLOADS = b"|".join(b"%s.{%d}" % (re.escape(bytes([length])), length) for length in range(MAX_META_BYTES + 1))
_METAS = rb"(?:\xff(?!\x2f)[\x00-\x7f](?:%s)%s)*+" % (_PAYLOADS, _DELTA)


def begins_event(data: bytes, header: Header, suspects: np.ndarray) -> bool:
    """Whether one of the bytes at `suspects` is a status, or the first byte of an event under a running status."""
    for begin, stop in header.tracks:
        first, last = suspects.searchsorted((begin, stop)).tolist()
        if first < last:
            own = suspects[first:last]
            octets = np.frombuffer(data, np.uint8)[begin : own[-1] + 1].copy()
            octets[own - begin] = UNDEFINED
            if _is_refused(octets.tobytes()):
                return True
    return False


def depends_on_others(
    data: bytes,
    header: Header,
    note_ons: Sequence[bytes],
    players: Mapping[int, Sequence[int]] | None,
    statuses: bytes,
) -> bool:
    """Whether a message of these statuses may count for notes in another track of its channel.

    Args:
      note_ons: for each track, the note-on statuses that occur among its bytes.
      players: by channel, the tracks whose notes matter; None to find them in `note_ons`.
      statuses: `PROGRAMS` or `CONTROLS`.
    """
    playing = players if players is not None else _by_channel(note_ons)
    tracks = [data[begin:stop] for begin, stop in header.tracks]
    answers = dict[tuple[int, int], bool]()

    def is_real(track: int, status: int) -> bool:
        if (track, status) not in answers:
            marked = _pattern_in(tracks[track], status).sub(bytes([UNDEFINED]), tracks[track])
            answers[track, status] = _is_refused(marked)
        return answers[track, status]

    for status in statuses:
        own = playing.get(status & 0x0F)
        if not own:
            continue
        only = own[0] if len(own) == 1 else -1
        named_by = [track for track, events in enumerate(tracks) if track != only and status in events]
        sources = [track for track in named_by if _pattern_in(tracks[track], status).search(tracks[track])]
        for track in own if sources else []:
            others = [source for source in sources if source != track]
            if (
                any(is_real(source, status) for source in others)
                and not (status in tracks[track] and _names_program_first(tracks[track], status))
                and (players is not None or is_real(track, NOTE_ON | status & 0x0F))
            ):
                return True
    return False


def _by_channel(note_ons: Sequence[bytes]) -> Mapping[int, Sequence[int]]:
    return {
        channel: [track for track, of_track in enumerate(note_ons) if NOTE_ON | channel in of_track]
        for channel in range(16)
    }


def _is_refused(events: bytes) -> bool:
    """Whether an event begins with F4, as far as the events are intact."""
    chunk = CHUNK.pack(b"MTrk", len(events)) + events
    try:
        ScoreTick.from_midi(
            HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, 1, 96) + chunk, True
        )  # repairs data bytes
    except (RuntimeError, ValueError) as error:
        return REFUSAL in str(error)
    except MemoryError:
        return True
    return False


def _pattern_in(events: bytes, status: int) -> re.Pattern[bytes]:
    return _pattern(status, looks_ahead=events.count(status) <= MAX_LOOKED_AHEAD)


@functools.cache
def _pattern(status: int, *, looks_ahead: bool) -> re.Pattern[bytes]:
    """A status with the bytes after it that may count in another track.

    A program change to 0 that another status follows changes nothing. Among controls, 64 is the pedal.
    """
    byte = re.escape(bytes([status]))
    if not looks_ahead:
        return re.compile(byte)
    if status in PROGRAMS:
        return re.compile(rb"%s(?!\x00%s[\x80-\xef])" % (byte, _DELTA))
    if status in CONTROLS:
        run = rb"(?:%s{2}%s%s)" % (_DATA, _DELTA, _METAS)
        pedal = rb"(?:\x40|(?!\xff\x2f\x00)[\xf0-\xff])"
        pattern = rb"%s(?=%s{0,%d}?%s|%s{%d})" % (byte, run, MAX_CONTROLS, pedal, run, MAX_CONTROLS)
        return re.compile(pattern, re.DOTALL)
    return re.compile(byte)


def _names_program_first(events: bytes, status: int) -> bool:
    """Whether the status is a program change, and the first such byte is one, before the first note."""
    if status not in PROGRAMS:
        return False
    position = events.find(bytes([status]))
    head = read_events(events, 0, position + 2)
    of_channel = [message >> 20 for message in head.messages if message >> 16 & 0x0F == status & 0x0F]
    return PROGRAM_CHANGE >> 4 in of_channel and not {NOTE_OFF >> 4, NOTE_ON >> 4} & {*of_channel}
