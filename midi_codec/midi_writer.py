"""`Notes` to MIDI bytes: Standard MIDI File format 1, built from arrays.

Track 0 holds the tempo and the texts. Then comes a track for each program, and more of them where notes
of one pitch and program overlap: inside a track no two notes of a pitch sound at once, so that every
reader, whatever its rule for double note-ons, pairs them as they were. Drums are on channel 10; the
other tracks share the remaining fifteen channels, each with a program change of its own.

The division makes ticks at most half a millisecond (or exactly one), so that reading the file gives back
every grid tick; on the beats grid it is the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midi_codec import notes as notes_module
from midi_codec.midi_header import CHUNK, HEADER, MAX_DIVISION
from midi_codec.notes import BEATS, DRUM_PROGRAM, TICKS_PER_BEAT, TICKS_PER_SECOND, Notes

DRUM_CHANNEL = 9
MELODIC_CHANNELS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15])
NOTE_OFF, NOTE_ON, PROGRAM_CHANGE = 0x80, 0x90, 0xC0
END_OF_TRACK = b"\x00\xff\x2f\x00"
LONGEST_DELTA = 2**28 - 1  # of a variable-length quantity
EMPTY_TEXT = (0xFF, 0x01, 0x00)  # as long as a note event: stands where one delta is not enough


def serialize(notes: Notes, *, texts: Sequence[str] = ()) -> bytes:
    """Writes a format 1 file; `texts` become text events at tick 0, in UTF-8.

    `midi_file.parse` with the same time base gives equal `Notes` back, the tempo too when it is one that
    a tempo event can say. No notes make a file without a note, which `parse` refuses.

    Raises:
      ValueError: the tempo does not fit a tempo event.
    """
    tempo_microseconds = notes_module.tempo_to_microseconds(notes.tempo)
    division = _choose_division(notes.time_base, tempo_microseconds)
    start, end = notes.start.astype(np.int64), notes.end
    if notes.time_base != BEATS:
        start, end = (_milliseconds_to_ticks(times, division, tempo_microseconds) for times in (start, end))
    chunks = [_chunk(_conductor_events(tempo_microseconds, texts))]
    chunks += _note_chunks(notes, start, end)
    header = HEADER.pack(b"MThd", HEADER.size - CHUNK.size, 1, len(chunks), division)
    return b"".join([header, *chunks])


def _choose_division(time_base: str, tempo_microseconds: int) -> int:
    """Ticks a quarter note: the grid itself where it can be, else at most half a millisecond a tick."""
    if time_base == BEATS:
        return TICKS_PER_BEAT
    microseconds_per_grid_tick = 1_000_000 // TICKS_PER_SECOND
    if tempo_microseconds % microseconds_per_grid_tick == 0:
        return tempo_microseconds // microseconds_per_grid_tick
    # half a tick of error stays well below half a millisecond, even at the largest tempo value
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


def _note_chunks(notes: Notes, start: np.ndarray, end: np.ndarray) -> list[bytes]:
    """One MTrk chunk for each (layer, program); start and end are `[n]` int64 ticks of the file."""
    if not len(notes):
        return []
    layer = assign_layers(notes.program, notes.pitch, start, end)
    keys, track = np.unique(layer * (DRUM_PROGRAM + 1) + notes.program, return_inverse=True)
    programs = keys % (DRUM_PROGRAM + 1)
    is_drum = programs == DRUM_PROGRAM
    channels = MELODIC_CHANNELS[(np.cumsum(~is_drum) - 1) % len(MELODIC_CHANNELS)]
    channels[is_drum] = DRUM_CHANNEL
    events = _make_events(track, channels[track], notes, start, end)
    bodies = _split_tracks(*_fill_long_deltas(*events), len(keys))
    chunks = []
    for program, channel, body in zip(programs.tolist(), channels.tolist(), bodies, strict=True):
        program_change = b"" if program == DRUM_PROGRAM else bytes([0, PROGRAM_CHANGE | channel, program])
        chunks.append(_chunk(program_change + body))
    return chunks


def assign_layers(program: np.ndarray, pitch: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64 from 0: the first layer in which no earlier note of that program and pitch still sounds.

    The columns are in the order of `Notes`.

    Notes of a program and pitch fall into clusters, between which nothing sounds. One note is on layer 0,
    two are on 0 and 1; only larger clusters, which music hardly has, need a loop over notes.
    """
    num_notes = len(start)
    key = program.astype(np.int64) * 128 + pitch
    order = np.argsort(key.astype(np.uint16), kind="stable")  # 16 bits are sorted in linear time
    key, start, end = key[order], start[order], end[order]
    offset = key * (int(end.max()) + 1)  # sets the keys apart on one line, so that one running maximum serves all
    sounding_until = np.maximum.accumulate(end + offset)
    opens = np.ones(num_notes, bool)  # whether a note begins a cluster
    opens[1:] = start[1:] + offset[1:] >= sounding_until[:-1]
    first = np.flatnonzero(opens)
    sizes = np.diff(first, append=num_notes)
    layer = np.arange(num_notes) - np.repeat(first, sizes)
    for begin, size in zip(first[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True):
        cluster = slice(begin, begin + size)
        layer[cluster] = _first_free_layers(start[cluster].tolist(), end[cluster].tolist())
    back = np.empty(num_notes, np.int64)
    back[order] = layer
    return back


def _first_free_layers(starts: list[int], ends: list[int]) -> list[int]:
    """The layer of each note of a cluster, notes in the order of their starts."""
    free_from: list[int] = []  # by layer
    layers = []
    for start, end in zip(starts, ends, strict=True):
        for layer, free in enumerate(free_from):
            if free <= start:
                free_from[layer] = end
                break
        else:
            layer = len(free_from)
            free_from.append(end)
        layers.append(layer)
    return layers


def _make_events(
    track: np.ndarray, channel: np.ndarray, notes: Notes, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Note-ons and note-offs in the order they are written.

    At one tick of a track they stand in the order of the notes, each note's on before its off. The order of
    `Notes` makes that right: on one key, what began earlier ends first, then come notes without length, then
    those that go on.

    Returns:
      tick `[2n]` int64; track `[2n]`; message `[2n, 3]` uint8.
    """
    tick = np.stack([start, end], axis=1).ravel()
    both = np.repeat(track, 2)
    message = np.empty((len(notes), 2, 3), np.uint8)
    message[:, 0, 0], message[:, 1, 0] = NOTE_ON | channel, NOTE_OFF | channel
    message[:, :, 1] = notes.pitch[:, None]
    message[:, 0, 2], message[:, 1, 2] = notes.velocity, 0
    order = np.lexsort([tick, both])
    return tick[order], both[order], message.reshape(-1, 3)[order]


def _fill_long_deltas(
    tick: np.ndarray, track: np.ndarray, message: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deltas instead of ticks; a gap too long for one delta is bridged with empty texts."""
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
    """The bytes of each track's events: every delta as 1 to 4 septets, then its three message bytes."""
    septets = 1 + sum((delta >> shift > 0).astype(np.int64) for shift in (7, 14, 21))
    stop = np.cumsum(septets + 3)
    buffer = np.empty(int(stop[-1]), np.uint8)
    for column in range(3):
        buffer[stop - 3 + column] = message[:, column]
    buffer[stop - 4] = delta & 0x7F
    for more in range(1, 4):
        has = septets > more
        buffer[stop[has] - 4 - more] = 0x80 | (delta[has] >> 7 * more & 0x7F)
    data = buffer.tobytes()
    last = np.searchsorted(track, np.arange(num_tracks), side="right")
    bounds = [0, *stop[last - 1].tolist()]
    return [data[begin:finish] for begin, finish in zip(bounds[:-1], bounds[1:], strict=True)]
