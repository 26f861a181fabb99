"""`Notes` to MIDI bytes: a Standard MIDI File of format 1, built from arrays.

Each program has a track, named after the instrument. If notes of one pitch and program overlap, they are on several
channels, or if none is free, in several tracks (`channels`): on a channel of a track, no two notes of a pitch sound at
the same time. Texts, signatures, tempo and markers are in that track if it is the only one. Otherwise they are in track
0, which bears the title; the first key is also in each track, where MuseScore looks for it.

Divisions are those of sequencers, and large enough that reading the file gives back every tick of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from midi_codec.midi import channels
from midi_codec.midi.midi_header import CHUNK, HEADER
from midi_codec.music import notes as notes_module
from midi_codec.music.instrument_names import name_of
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes
from midi_codec.music.signatures import KeySignature, Signatures, TimeSignature

NOTE_OFF, NOTE_ON, PROGRAM_CHANGE, META = 0x80, 0x90, 0xC0, 0xFF
TEXT, NAME, MARKER, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE, DATA = 0x01, 0x03, 0x06, 0x51, 0x58, 0x59, 0x7F  # of META
PRIVATE_USE = b"\x7d"  # begins data: the maker's number that is for no maker
END_OF_TRACK = b"\x00\xff\x2f\x00"
LONGEST_DELTA = 2**28 - 1  # of a variable-length quantity
EMPTY_TEXT = (META, TEXT, 0x00)  # as long as a note event; bridges a gap too long for one delta
STAND_IN = (META, 0xFF, 0x00)  # for an event of another length
BEATS_DIVISION = 480  # a multiple of TICKS_PER_BEAT
DIVISIONS = (1, 12, 48, 480, 500, 960, 1920, 3840, 7680, 15360, 30720)  # 500 has whole milliseconds at 120 per minute
CLOCKS_PER_WHOLE_NOTE = 96  # MIDI clocks

Event = tuple[int, bytes]  # tick of the file, message


def serialize(
    notes: Notes, *, title: str = "", texts: Sequence[str] = (), markers: Sequence[tuple[int, str]] = (), data: str = ""
) -> bytes:
    """Writes a file.

    `midi_file.parse` with the same time base returns equal `Notes`, including the tempo if a tempo event can express it
    exactly. If the signatures begin before tick 0, at the last bar line, then so does the file, and the notes read back
    are that much later. A piece without notes becomes a file that `parse` refuses.

    Args:
      title: of the piece; names track 0, unless a piece for one instrument has only its track.
      texts: text events at its beginning, in UTF-8.
      markers: ticks of the grid, and texts.
      data: for programs: a sequencer-specific event, which people do not see.

    Raises:
      ValueError: the tempo does not fit a tempo event.
    """
    tempo_microseconds = notes_module.tempo_to_microseconds(notes.tempo)
    division = _choose_division(notes.time_base, tempo_microseconds)
    shift = max(0, -min(notes.signatures.ticks, default=0))

    def to_ticks(times: np.ndarray | Sequence[int]) -> np.ndarray:
        times = np.asarray(times, np.int64) + shift
        if notes.time_base == BEATS:
            return times * (division // TICKS_PER_BEAT)
        return _milliseconds_to_ticks(times, division, tempo_microseconds)

    about = [(TEXT, text.encode()) for text in texts]
    about += [(DATA, PRIVATE_USE + data.encode())] if data else []
    about += [(TEMPO, tempo_microseconds.to_bytes(3, "big"))]
    events = [(0, _meta(kind, payload)) for kind, payload in about]
    when = [each.tick for each in notes.signatures.times]
    when += [key.tick if key.tick > 0 else -shift for key in notes.signatures.keys]  # the first key has the whole bar
    events += _signature_events(notes.signatures.map_ticks(to_ticks(when).tolist()))
    marked = to_ticks([tick for tick, _ in markers]).tolist()
    events += [(tick, _meta(MARKER, text.encode())) for tick, (_, text) in zip(marked, markers, strict=True)]
    tracks = _tracks(notes, to_ticks(notes.start), to_ticks(notes.end), events, title)
    header = HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(tracks), division)
    return b"".join([header, *map(_chunk, tracks)])


def _choose_division(time_base: str, tempo_microseconds: int) -> int:
    """Ticks per quarter note; with milliseconds, the fewest that make a tick last no longer than that."""
    if time_base == BEATS:
        return BEATS_DIVISION
    quarter = tempo_microseconds * TICKS_PER_SECOND
    return next(division for division in DIVISIONS if division * 1_000_000 >= quarter)


def _milliseconds_to_ticks(times: np.ndarray, division: int, tempo_microseconds: int) -> np.ndarray:
    """`[n]` int64, the nearest tick to each time."""
    scaled = times * (division * (1_000_000 // TICKS_PER_SECOND))
    return (2 * scaled + tempo_microseconds) // (2 * tempo_microseconds)


def _signature_events(signatures: Signatures) -> Iterable[Event]:
    for each in signatures.times:
        yield each.tick, _meta(TIME_SIGNATURE, _time_signature(each))
    for key in signatures.keys:
        yield key.tick, _meta(KEY_SIGNATURE, _key_signature(key))


def _key_signature(signature: KeySignature) -> bytes:
    return bytes([signature.sharps & 0xFF, signature.is_minor])


def _time_signature(signature: TimeSignature) -> bytes:
    """A metronome clicks every beat, which has three parts in compound time such as 6/8."""
    is_compound = signature.numerator % 3 == 0 and signature.numerator > 3
    clocks = CLOCKS_PER_WHOLE_NOTE * (3 if is_compound else 1) // signature.denominator
    power = signature.denominator.bit_length() - 1
    return bytes([signature.numerator, power, min(clocks, 0xFF), 8])


def _meta(kind: int, payload: bytes) -> bytes:
    if len(payload) > LONGEST_DELTA:
        raise ValueError(f"a text of {len(payload):,} bytes, want at most {LONGEST_DELTA:,}")
    return bytes([META, kind]) + _quantity(len(payload)) + payload


def _chunk(events: bytes) -> bytes:
    return CHUNK.pack(b"MTrk", len(events) + len(END_OF_TRACK)) + events + END_OF_TRACK


def _quantity(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(0x80 | value & 0x7F)
    return bytes(reversed(septets))


def _tracks(notes: Notes, start: np.ndarray, end: np.ndarray, about: list[Event], title: str) -> list[bytes]:
    """The events of each track, without the end of track.

    Args:
      start, end: `[n]` int64 ticks of the file.
      about: the events for the whole piece.
    """
    named = [(0, _meta(NAME, title.encode()))] if title else []
    if not len(notes):
        none = np.zeros(0, np.int64)
        return _join([[*named, *about]], none, none, np.zeros((0, 3), np.uint8))
    voice = channels.assign_voices(notes.program, notes.pitch, start, end)
    channel, changed, change_ticks = channels.assign_channels(notes.program, voice, start, end)
    track = channels.assign_tracks(notes.program, voice, channel)
    programs = notes.program[np.unique(track, return_index=True)[1]].tolist()
    own = [[(0, _meta(NAME, name.encode()))] for name in _names(programs)]
    if len(own) == 1:
        events = [[*own[0], *about]]
    else:
        first_key = [
            (0, _meta(KEY_SIGNATURE, _key_signature(key))) for key in notes.signatures.keys[:1] if key.tick <= 0
        ]
        own = [each + first_key * (program != DRUM_PROGRAM) for each, program in zip(own, programs, strict=True)]
        events = [[*named, *about], *own]
        track = track + 1
    changes = np.zeros((len(changed), 3), np.uint8)
    changes[:, 0], changes[:, 1] = PROGRAM_CHANGE | channel[changed], notes.program[changed]
    messages = np.empty((len(notes), 2, 3), np.uint8)
    messages[:, 0, 0], messages[:, 1, 0] = NOTE_ON | channel, NOTE_OFF | channel
    messages[:, :, 1] = notes.pitch[:, None]
    messages[:, 0, 2], messages[:, 1, 2] = notes.velocity, 0
    tick = np.concatenate([change_ticks, np.stack([start, end], axis=1).ravel()])
    both = np.concatenate([track[changed], np.repeat(track, 2)])
    return _join(events, tick, both, np.concatenate([changes, messages.reshape(-1, 3)]))


def _names(programs: Sequence[int]) -> Iterable[str]:
    """Of the tracks of these programs; a program's further tracks are numbered from 2."""
    for index, program in enumerate(programs):
        number = 1 + programs[:index].count(program)
        yield name_of(program) + (f" ({number})" if number > 1 else "")


def _join(events: list[list[Event]], tick: np.ndarray, track: np.ndarray, message: np.ndarray) -> list[bytes]:
    """The bytes of each track, from its own events and from channel messages.

    At one tick of a track, its own events come first, then program changes, then the notes in their order, each note-on
    before its note-off. This is correct because of the order of `Notes`: on one key, the note that began earlier ends
    first, then come notes without length, then notes that continue.

    Args:
      events: of each track.
      tick, track: `[m]` int64.
      message: `[m, 3]` uint8, of which a program change uses two bytes.
    """
    number, when, inserted = zip(*((number, *event) for number, own in enumerate(events) for event in own), strict=True)
    tick = np.concatenate([np.array(when, np.int64), tick])
    track = np.concatenate([np.array(number, np.int64), track])
    message = np.concatenate([np.tile(np.array(STAND_IN, np.uint8), (len(inserted), 1)), message])
    order = np.lexsort([tick, track])
    rows = _fill_long_deltas(tick[order], track[order], message[order])
    return _split_tracks(*rows, [inserted[row] for row in order.tolist() if row < len(inserted)])


def _fill_long_deltas(
    tick: np.ndarray, track: np.ndarray, message: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Converts ticks to deltas; bridges a gap that is too long for one delta with empty texts."""
    delta = np.diff(tick, prepend=0)
    first = np.flatnonzero(np.diff(track, prepend=-1))
    delta[first] = tick[first]
    num_fillers = np.maximum(delta - 1, 0) // LONGEST_DELTA
    if not num_fillers.any():
        return delta, track, message
    rows = np.repeat(np.arange(len(delta)), num_fillers + 1)
    is_last = np.diff(rows, append=len(delta)) > 0
    filled_delta = np.where(is_last, (delta - num_fillers * LONGEST_DELTA)[rows], LONGEST_DELTA)
    filled_message = np.where(is_last[:, None], message[rows], np.array(EMPTY_TEXT, np.uint8))
    return filled_delta, track[rows], filled_message


def _split_tracks(delta: np.ndarray, track: np.ndarray, message: np.ndarray, inserted: list[bytes]) -> list[bytes]:
    """The bytes of each track's events: every delta as 1 to 4 septets, then its message; instead of a STAND_IN the next
    of `inserted`."""
    septets = 1 + sum((delta >> shift > 0).astype(np.int64) for shift in (7, 14, 21))
    is_stand_in = (message[:, 0] == META) & (message[:, 1] == STAND_IN[1])
    is_short = message[:, 0] & 0xF0 == PROGRAM_CHANGE
    size = np.where(is_stand_in, 0, np.where(is_short, 2, 3))
    stop = np.cumsum(septets + size)
    begin = stop - size
    buffer = np.empty(int(stop[-1]), np.uint8)
    buffer[begin - 1] = delta & 0x7F
    for more in range(1, 4):
        has = septets > more
        buffer[begin[has] - 1 - more] = 0x80 | (delta[has] >> 7 * more & 0x7F)
    for byte in range(3):
        has = size > byte
        buffer[begin[has] + byte] = message[has, byte]
    data = buffer.tobytes()
    tracks: list[list[bytes]] = [[] for _ in range(int(track[-1]) + 1)]
    cuts = np.flatnonzero(is_stand_in | (np.diff(track, append=-1) != 0))
    done, payloads = 0, iter(inserted)
    for cut, own, inserts in zip(stop[cuts].tolist(), track[cuts].tolist(), is_stand_in[cuts].tolist(), strict=True):
        tracks[own] += [data[done:cut], next(payloads) if inserts else b""]
        done = cut
    return [b"".join(parts) for parts in tracks]
