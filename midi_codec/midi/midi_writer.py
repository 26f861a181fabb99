"""`Notes` to MIDI bytes: a Standard MIDI File, built from arrays.

A piece with one program is one track (format 0), with the tempo and the texts before its notes. With more programs,
track 0 holds the tempo and the texts, and each program has its own track (format 1). If notes of one pitch and program
overlap, there are more tracks: within a track, no two notes of a pitch sound at the same time. `channels` assigns
the channels.

Ticks last at most half a millisecond (or exactly one), so that reading the file gives back every tick of the grid. On
the beats grid, the ticks are those of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midi_codec.midi import channels
from midi_codec.midi.midi_header import CHUNK, HEADER, MAX_DIVISION
from midi_codec.music import notes as notes_module
from midi_codec.music.notes import BEATS, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes

NOTE_OFF, NOTE_ON, PROGRAM_CHANGE = 0x80, 0x90, 0xC0
END_OF_TRACK = b"\x00\xff\x2f\x00"
LONGEST_DELTA = 2**28 - 1  # of a variable-length quantity
EMPTY_TEXT = (0xFF, 0x01, 0x00)  # as long as a note event; bridges a gap too long for one delta


def serialize(notes: Notes, *, texts: Sequence[str] = ()) -> bytes:
    """Writes a file; `texts` become text events at tick 0, in UTF-8.

    `midi_file.parse` with the same time base returns equal `Notes`, including the tempo if a tempo event can express it
    exactly. A piece without notes becomes a file that `parse` refuses.

    Raises:
      ValueError: the tempo does not fit a tempo event.
    """
    tempo_microseconds = notes_module.tempo_to_microseconds(notes.tempo)
    division = _choose_division(notes.time_base, tempo_microseconds)
    start, end = notes.start.astype(np.int64), notes.end
    if notes.time_base != BEATS:
        start, end = (_milliseconds_to_ticks(times, division, tempo_microseconds) for times in (start, end))
    first, tracks = _conductor_events(tempo_microseconds, texts), _note_tracks(notes, start, end)
    chunks = [first, *tracks] if len(tracks) > 1 else [b"".join([first, *tracks])]
    header = HEADER.pack(b"MThd", HEADER.size - CHUNK.size, int(len(chunks) > 1), len(chunks), division)
    return b"".join([header, *map(_chunk, chunks)])


def _choose_division(time_base: str, tempo_microseconds: int) -> int:
    """Ticks per quarter note: those of the grid if possible, else at most half a millisecond per tick."""
    if time_base == BEATS:
        return TICKS_PER_BEAT
    microseconds_per_grid_tick = 1_000_000 // TICKS_PER_SECOND
    if tempo_microseconds % microseconds_per_grid_tick == 0:
        return tempo_microseconds // microseconds_per_grid_tick
    # an error of half a tick stays well below half a millisecond, even at the slowest tempo
    return min(MAX_DIVISION, 2 * (tempo_microseconds // microseconds_per_grid_tick) + 2)


def _milliseconds_to_ticks(times: np.ndarray, division: int, tempo_microseconds: int) -> np.ndarray:
    """`[n]` int64, the nearest tick to each time."""
    scaled = times * (division * (1_000_000 // TICKS_PER_SECOND))
    return (2 * scaled + tempo_microseconds) // (2 * tempo_microseconds)


def _conductor_events(tempo_microseconds: int, texts: Sequence[str]) -> bytes:
    events = [b"\x00\xff\x51\x03" + tempo_microseconds.to_bytes(3, "big")]
    for text in texts:
        encoded = text.encode("utf-8")
        if len(encoded) > LONGEST_DELTA:
            raise ValueError(f"a text of {len(encoded):,} bytes, want at most {LONGEST_DELTA:,}")
        events.append(b"\x00\xff\x01" + _quantity(len(encoded)) + encoded)
    return b"".join(events)


def _chunk(events: bytes) -> bytes:
    return CHUNK.pack(b"MTrk", len(events) + len(END_OF_TRACK)) + events + END_OF_TRACK


def _quantity(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(0x80 | value & 0x7F)
    return bytes(reversed(septets))


def _note_tracks(notes: Notes, start: np.ndarray, end: np.ndarray) -> list[bytes]:
    """The events of each track, without the end of track; start and end are `[n]` int64 ticks of the file."""
    if not len(notes):
        return []
    track = channels.assign_voices(notes.program, notes.pitch, start, end)
    events = _make_events(track, notes, start, end)
    return _split_tracks(*_fill_long_deltas(*events), int(track.max()) + 1)


def _make_events(
    track: np.ndarray, notes: Notes, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Program changes, note-ons and note-offs in the order in which they are written.

    At one tick of a track, program changes come first, then the notes in their order, each note-on before its note-off.
    This is correct because of the order of `Notes`: on one key, the note that began earlier ends first, then come notes
    without length, then notes that continue.

    Returns:
      tick `[m]` int64; track `[m]`; message `[m, 3]` uint8, of which a program change uses two bytes.
    """
    channel, changed, change_ticks = channels.assign_channels(notes.program, track, start, end)
    changes = np.zeros((len(changed), 3), np.uint8)
    changes[:, 0], changes[:, 1] = PROGRAM_CHANGE | channel[changed], notes.program[changed]
    messages = np.empty((len(notes), 2, 3), np.uint8)
    messages[:, 0, 0], messages[:, 1, 0] = NOTE_ON | channel, NOTE_OFF | channel
    messages[:, :, 1] = notes.pitch[:, None]
    messages[:, 0, 2], messages[:, 1, 2] = notes.velocity, 0
    tick = np.concatenate([change_ticks, np.stack([start, end], axis=1).ravel()])
    both = np.concatenate([track[changed], np.repeat(track, 2)])
    order = np.lexsort([tick, both])
    return tick[order], both[order], np.concatenate([changes, messages.reshape(-1, 3)])[order]


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


def _split_tracks(delta: np.ndarray, track: np.ndarray, message: np.ndarray, num_tracks: int) -> list[bytes]:
    """The bytes of each track's events: every delta as 1 to 4 septets, then its message."""
    septets = 1 + sum((delta >> shift > 0).astype(np.int64) for shift in (7, 14, 21))
    is_short = message[:, 0] & 0xF0 == PROGRAM_CHANGE
    size = np.where(is_short, 2, 3)
    stop = np.cumsum(septets + size)
    begin = stop - size
    buffer = np.empty(int(stop[-1]), np.uint8)
    buffer[begin], buffer[begin + 1] = message[:, 0], message[:, 1]
    buffer[stop[~is_short] - 1] = message[~is_short, 2]
    buffer[begin - 1] = delta & 0x7F
    for more in range(1, 4):
        has = septets > more
        buffer[begin[has] - 1 - more] = 0x80 | (delta[has] >> 7 * more & 0x7F)
    data = buffer.tobytes()
    last = np.searchsorted(track, np.arange(num_tracks), side="right")
    bounds = [0, *stop[last - 1].tolist()]
    return [data[low:high] for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
