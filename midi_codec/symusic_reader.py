"""Reading with symusic, in such a way that what it would misread in silence is noticed.

symusic is handed a copy of the tracks, each with a sentinel just before its end-of-track event: a tempo
of 0, then, a long time later, the end of every key on every channel that might have notes. So

- a sentinel that does not come back means that symusic left the track early or lost its place;
- a note that ends in the sentinel's time had no end of its own;
- a real tempo of 0, or a sum of ticks near the limits of int32, shows as well.

What the copy cannot show is looked for in the bytes before. In all these cases `read` gives None, and
the file goes to `track_reader`. docs/midi.md has the table.
"""

from __future__ import annotations

import functools
import re

import numpy as np
from symusic.core import ScoreTick

from midi_codec import track_reader
from midi_codec.midi_header import CHUNK, END_OF_TRACK, HEADER, Header, Limits, MidiError
from midi_codec.midi_ticks import TickNotes
from midi_codec.notes import DRUM_PROGRAM

SENTINEL_TEMPO = b"\xff\x51\x03\x00\x00\x00"  # stands behind the delta of the end-of-track event
SENTINEL_DELTA = b"\xc0\x80\x80\x00"
SENTINEL_TICKS = 2**27  # the same as a number: a real end that late makes the file slow to read, not wrong
TICK_LIMIT = 2**31 - 2 * SENTINEL_TICKS
SYSEX, ESCAPE, UNDEFINED = b"\xf0", b"\xf7", b"\xf4"  # as status bytes
TEMPO_EVENT = b"\xff\x51\x03"
ANY_TEMPO = re.compile(re.escape(TEMPO_EVENT) + rb"...", re.DOTALL)


def read(data: bytes, header: Header, limits: Limits) -> TickNotes | None:
    """The notes and tempos of a file; None when symusic may not read it as written.

    Raises:
      MidiError: `malformed`; `too_costly`, from the track reader.
    """
    if _has_odd_tempo(np.frombuffer(data, np.uint8)):
        return None
    if not all(data.endswith(END_OF_TRACK, *bounds) for bounds in header.tracks):
        return None
    if ESCAPE in data and _has_escape_event(data, header):
        return None
    copy = _with_sentinels(data, header)
    try:
        score = ScoreTick.from_midi(copy)
    except (RuntimeError, ValueError) as error:
        raise MidiError("malformed", f"malformed MIDI: {error}") from error
    tempos = score.tempos.numpy()
    tempo_ticks, microseconds = tempos["time"], tempos["mspq"]
    meant = microseconds > 0
    tempo_ticks, microseconds = tempo_ticks[meant].astype(np.int64), microseconds[meant].astype(np.int64)
    num_tempos = len(tempo_ticks)
    if len(meant) - num_tempos != len(header.tracks) or _may_wrap(data, num_tempos=num_tempos):
        return None
    if num_tempos > 1 and _contradict(tempo_ticks, microseconds):
        tempo_ticks, microseconds = track_reader.read_tempos(data, header, limits)
    return _columns(score, tempo_ticks, microseconds)


def _contradict(tempo_ticks: np.ndarray, microseconds: np.ndarray) -> bool:
    """Whether two tempos stand at one tick: symusic's sort does not keep the order of equal ticks."""
    again = np.flatnonzero(tempo_ticks[1:] == tempo_ticks[:-1])
    return bool(again.size and (microseconds[again] != microseconds[again + 1]).any())


def _columns(score: ScoreTick, tempo_ticks: np.ndarray, tempo_microseconds: np.ndarray) -> TickNotes | None:
    columns, programs, lengths = [], [], []
    for track in score.tracks:
        column = track.notes.numpy()
        num_notes = len(column["time"])
        if num_notes:
            columns.append(column)
            programs.append(DRUM_PROGRAM if track.is_drum else track.program)
            lengths.append(num_notes)
    if not columns:
        empty = np.empty(0, np.int64)
        columns, lengths, programs = [{name: empty for name in ("time", "duration", "pitch", "velocity")}], [0], [0]
    start, duration, pitch, velocity = (
        np.concatenate([column[name] for column in columns]) for name in ("time", "duration", "pitch", "velocity")
    )
    start = start.astype(np.int64)
    end = start + duration
    if len(start) and (end.max() >= SENTINEL_TICKS or start.min() < 0):
        return None
    return TickNotes(
        start=start,
        end=end,
        pitch=pitch,
        velocity=velocity,
        program=np.repeat(np.array(programs, np.uint8), lengths),
        tempo_ticks=tempo_ticks,
        tempo_microseconds=tempo_microseconds,
    )


def _with_sentinels(data: bytes, header: Header) -> bytes:
    """The header and the tracks alone, sentinels added; every track ends in an end-of-track event."""
    pieces = [HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(header.tracks), header.division)]
    for begin, stop in header.tracks:
        events = data[begin : stop - len(END_OF_TRACK)]
        sentinel = _sentinel(bytes([status for status in range(0x90, 0xA0) if status in events]))
        pieces += [CHUNK.pack(b"MTrk", len(events) + len(sentinel)), events, sentinel]
    return b"".join(pieces)


@functools.lru_cache(maxsize=256)
def _sentinel(note_ons: bytes) -> bytes:
    """For the channels that these status bytes name; more than are used do no harm."""
    ends = [bytes([0, status - 0x10, pitch, 0]) for status in note_ons for pitch in range(128)]
    return SENTINEL_TEMPO + SENTINEL_DELTA + b"".join([*ends, b"\x00"])[1:] + END_OF_TRACK


def _has_odd_tempo(octets: np.ndarray) -> bool:
    """Whether FF 51 is followed by another length than 3; symusic takes three bytes of a tempo in any case."""
    meta = (octets[:-2] == TEMPO_EVENT[0]).nonzero()[0]
    tempo = meta[octets[meta + 1] == TEMPO_EVENT[1]]
    return bool((octets[tempo + 2] != TEMPO_EVENT[2]).any())


def _has_escape_event(data: bytes, header: Header) -> bool:
    """Whether F7 stands as a status, for an escape or a continued system exclusive message.

    symusic takes it for an event of one byte and goes on inside it. An undefined status in its place makes
    symusic stop there; in the payload of a message or in a delta it changes nothing of the structure.
    """
    position = data.find(ESCAPE)
    while position >= 0 and _is_payload(data, position):
        position = data.find(ESCAPE, position + 1)
    if position < 0:
        return False
    try:
        ScoreTick.from_midi(_with_sentinels(data.replace(ESCAPE, UNDEFINED), header))
    except (RuntimeError, ValueError):
        return True
    return False


def _is_payload(data: bytes, position: int) -> bool:
    """Whether the byte belongs to a tempo, or ends a system exclusive message of less than 128 bytes."""
    if data.find(TEMPO_EVENT, max(0, position - 5), position) >= 0:
        return True
    begin = data.rfind(SYSEX, max(0, position - 129), position)
    return begin >= 0 and data[begin + 1] == position - begin - 1 and data[begin + 2 : position].isascii()


def _may_wrap(data: bytes, *, num_tempos: int) -> bool:
    """Whether deltas could add up to more than symusic's int32 holds: sound, but not exact.

    A cheap bound first: a delta needs one byte above 0x7f to reach 2^7, two in a row for 2^14, three for
    2^21. Then the sum of all that could be a delta, tempo events taken out when there are no more places
    that look like one than tempo events.
    """
    octets = np.frombuffer(data, np.uint8)
    high = octets > 0x7F
    pairs = high[1:] & high[:-1]
    num_pairs = int(np.count_nonzero(pairs))
    num_triples = int(np.count_nonzero(pairs[1:] & pairs[:-1])) if num_pairs else 0
    num_high = int(np.count_nonzero(high))
    if (len(octets) << 7) + (num_high << 14) + (num_pairs << 21) + (num_triples << 28) < TICK_LIMIT:
        return False
    if data.count(TEMPO_EVENT) == num_tempos:
        data = ANY_TEMPO.sub(TEMPO_EVENT + b"\0\0\0", data)
    return _sum_of_deltas(data) >= TICK_LIMIT


def _sum_of_deltas(data: bytes) -> int:
    """At least the sum of all deltas: every byte below 0x80 may end one, with up to 3 high ones before it."""
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
