"""Our own reader of track events: slow, exact, and with every rule in sight.

`midi_file` sends it the files that symusic would misread in silence; tests use it as the oracle for
symusic's rules. Time is counted in Python integers and stored as int64, so no sum of deltas wraps.

    event    delta (1 to 4 septets), then one of
      8n..En   channel message; a data byte in place of the status means the status before (running status)
      F0 F7    system exclusive, or its continuation: length, bytes
      F1..F6   system common: 1, 2, 1, -, -, 0 data bytes;  F8 FA FB FC FE: real time, none
      FF       meta: kind, length, bytes; kind 2F ends the track, 51 is a tempo

Source: Standard MIDI Files 1.0 (RP-001) and the MIDI 1.0 message table.
"""

from __future__ import annotations

import collections
import dataclasses
from array import array

import numpy as np

from midi_codec.midi_header import Header, Limits, MidiError
from midi_codec.midi_ticks import TickNotes
from midi_codec.notes import DRUM_PROGRAM

NOTE_OFF, NOTE_ON, PROGRAM_CHANGE = 0x80, 0x90, 0xC0
SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF
END_OF_TRACK, TEMPO = 0x2F, 0x51
DRUM_CHANNEL = 9
CHANNEL_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
MAX_SEPTETS = 4  # of a variable-length quantity


class _Damage(Exception):
    """The bytes at hand are no event."""


@dataclasses.dataclass
class TrackEvents:
    """The events of one track that decide notes and time, in file order.

    `ticks[i]` is when, `messages[i]` is status << 16 | data1 << 8 | data2. A tempo stands in `tempo_ticks`
    and `tempo_microseconds` instead. `damage` says where and why reading stopped early, if it did.
    """

    ticks: array = dataclasses.field(default_factory=lambda: array("q"))
    messages: array = dataclasses.field(default_factory=lambda: array("l"))
    tempo_ticks: array = dataclasses.field(default_factory=lambda: array("q"))
    tempo_microseconds: array = dataclasses.field(default_factory=lambda: array("l"))
    last_tick: int = 0
    damage: str | None = None


def read_events(data: bytes, begin: int, stop: int) -> TrackEvents:
    """Reads the events in `data[begin:stop]` up to the end-of-track event, or as far as they are sound."""
    events = TrackEvents()
    position, tick, running = begin, 0, 0
    try:
        while position < stop:
            event_position = position
            delta, position = _quantity(data, position, stop)
            tick += delta
            if position >= stop:
                raise _Damage("the track ends behind a delta")
            status = data[position]
            if status >= 0x80:
                position += 1
            elif running:
                status = running
            else:
                raise _Damage(f"data byte {status:#04x} without a status before it")
            if status < SYSEX:
                running = status
                position = _channel_message(data, position, stop, events, tick, status)
            elif status == META:
                position, ended = _meta_event(data, position, stop, events, tick)
                if ended:
                    break
            else:
                position = _system_message(data, position, stop, status)
    except _Damage as damage:
        events.damage = f"at byte {event_position}: {damage}"
    events.last_tick = tick
    return events


def _channel_message(data: bytes, position: int, stop: int, events: TrackEvents, tick: int, status: int) -> int:
    num_bytes = CHANNEL_DATA_BYTES[status & 0xF0]
    if position + num_bytes > stop:
        raise _Damage("the track ends inside a message")
    first = data[position]
    second = data[position + 1] if num_bytes == 2 else 0
    if first > 0x7F or second > 0x7F:
        raise _Damage(f"data byte {max(first, second):#04x} in a message {status:#04x}, want at most 0x7f")
    if status < 0xA0 or status & 0xF0 == PROGRAM_CHANGE:
        events.ticks.append(tick)
        events.messages.append(status << 16 | first << 8 | second)
    return position + num_bytes


def _meta_event(data: bytes, position: int, stop: int, events: TrackEvents, tick: int) -> tuple[int, bool]:
    """`(next position, whether the track ends here)`; a tempo of fewer than 3 bytes says nothing."""
    if position >= stop:
        raise _Damage("the track ends inside a meta event")
    kind = data[position]
    length, position = _quantity(data, position + 1, stop)
    if position + length > stop:
        raise _Damage(f"a meta event of {length:,} bytes, {stop - position:,} are left")
    if kind == TEMPO and length >= 3:
        events.tempo_ticks.append(tick)
        events.tempo_microseconds.append(int.from_bytes(data[position : position + 3], "big"))
    return position + length, kind == END_OF_TRACK


def _system_message(data: bytes, position: int, stop: int, status: int) -> int:
    if status in (SYSEX, ESCAPE):
        length, position = _quantity(data, position, stop)
    elif status in SYSTEM_DATA_BYTES:
        length = SYSTEM_DATA_BYTES[status]
    else:
        raise _Damage(f"undefined status {status:#04x}")
    if position + length > stop:
        raise _Damage(f"a system message of {length:,} bytes, {stop - position:,} are left")
    return position + length


def _quantity(data: bytes, position: int, stop: int) -> tuple[int, int]:
    value = 0
    for index in range(position, min(position + MAX_SEPTETS, stop)):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise _Damage("a length without an end")


@dataclasses.dataclass
class PairedNotes:
    """Notes as rows (start, end, pitch, velocity, program), and what the pairing met."""

    rows: array = dataclasses.field(default_factory=lambda: array("q"))
    num_unended: int = 0  # note-ons that have no note-off of their own
    num_orphan_ends: int = 0  # note-offs with nothing to end
    num_double: int = 0  # note-ons while the same pitch and channel sounds

    def table(self) -> np.ndarray:
        """`[n, 5]` int64."""
        return np.frombuffer(self.rows, np.int64).reshape(-1, 5) if self.rows else np.empty((0, 5), np.int64)


def pair_notes(events: TrackEvents) -> PairedNotes:
    """Pairs the note-ons and note-offs of a track, key by key; a key is a pitch of a channel.

    First in, first out, where a key has an end for every note-on. Where it has not, first in, first out
    would shift the ends of all later notes, so there an end stops everything that sounds on the key, as
    on an instrument, and what sounds when the track ends, ends there.

    A note takes the program that its channel has when it begins, 128 on the drum channel.
    """
    paired = PairedNotes()
    for key, messages in _by_key(events).items():
        pitch, is_drum = key & 0x7F, key >> 7 == DRUM_CHANNEL
        ended, sounding = _first_in_first_out(messages, paired)
        if sounding:
            paired.num_unended += len(sounding)
            ended = _as_played(messages, events.last_tick)
        for start, end, velocity, program in ended:
            paired.rows.extend((start, end, pitch, velocity, DRUM_PROGRAM if is_drum else program))
    return paired


def _by_key(events: TrackEvents) -> dict[int, list[tuple[int, int, int]]]:
    """(tick, velocity, program of the channel) of each note message, by channel << 7 | pitch; velocity 0 ends."""
    program = [0] * 16
    keys: dict[int, list[tuple[int, int, int]]] = collections.defaultdict(list)
    for tick, message in zip(events.ticks, events.messages, strict=True):
        status, first, second = message >> 16, message >> 8 & 0x7F, message & 0x7F
        channel, kind = status & 0x0F, status & 0xF0
        if kind == PROGRAM_CHANGE:
            program[channel] = first
        else:
            keys[channel << 7 | first].append((tick, second if kind == NOTE_ON else 0, program[channel]))
    return keys


def _first_in_first_out(messages: list[tuple[int, int, int]], paired: PairedNotes) -> tuple[list, collections.deque]:
    ended: list[tuple[int, int, int, int]] = []
    sounding: collections.deque[tuple[int, int, int]] = collections.deque()
    for tick, velocity, program in messages:
        if velocity:
            paired.num_double += bool(sounding)
            sounding.append((tick, velocity, program))
        elif sounding:
            start, start_velocity, start_program = sounding.popleft()
            ended.append((start, tick, start_velocity, start_program))
        else:
            paired.num_orphan_ends += 1
    return ended, sounding


def _as_played(messages: list[tuple[int, int, int]], last_tick: int) -> list[tuple[int, int, int, int]]:
    ended: list[tuple[int, int, int, int]] = []
    sounding: list[tuple[int, int, int]] = []
    for tick, velocity, program in [*messages, (last_tick, 0, 0)]:
        if velocity:
            sounding.append((tick, velocity, program))
        else:
            ended += [(start, tick, start_velocity, start_program) for start, start_velocity, start_program in sounding]
            sounding = []
    return ended


def read(data: bytes, header: Header, limits: Limits) -> TickNotes:
    """All tracks' notes and tempos.

    Raises:
      MidiError: `malformed`, when the events of a track end or stop making sense before it does;
        `too_costly`, when there is more to read than `limits.max_slow_bytes`.
    """
    tracks = _read_tracks(data, list(enumerate(header.tracks)), limits)
    start, end, pitch, velocity, program = np.concatenate([pair_notes(events).table() for events in tracks]).T
    tempo_ticks, tempo_microseconds = _merge_tempos(tracks)
    return TickNotes(
        start=start,
        end=end,
        pitch=pitch,
        velocity=velocity,
        program=program,
        tempo_ticks=tempo_ticks,
        tempo_microseconds=tempo_microseconds,
    )


def read_tempos(data: bytes, header: Header, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """`[m]` ticks and `[m]` microseconds a quarter note, as in `TickNotes`; reads only tracks that may have some.

    Raises:
      MidiError: as `read`.
    """
    tempo_event = bytes([META, TEMPO])
    tracks = [(index, bounds) for index, bounds in enumerate(header.tracks) if data.find(tempo_event, *bounds) >= 0]
    return _merge_tempos(_read_tracks(data, tracks, limits))


def _read_tracks(data: bytes, tracks: list[tuple[int, tuple[int, int]]], limits: Limits) -> list[TrackEvents]:
    """The events of (index, bounds) of each track."""
    num_bytes = sum(stop - begin for _, (begin, stop) in tracks)
    if num_bytes > limits.max_slow_bytes:
        raise MidiError(
            "too_costly", f"{num_bytes:,} bytes that only the slow reader reads, want at most {limits.max_slow_bytes:,}"
        )
    all_events = []
    for index, bounds in tracks:
        events = read_events(data, *bounds)
        if events.damage:
            raise MidiError("malformed", f"malformed MIDI: track {index}, {events.damage}")
        all_events.append(events)
    return all_events


def _merge_tempos(tracks: list[TrackEvents]) -> tuple[np.ndarray, np.ndarray]:
    """By tick; those of one tick in the order of tracks, then of events. A tempo of 0 says nothing."""
    ticks = np.concatenate([np.empty(0, np.int64), *(events.tempo_ticks for events in tracks)]).astype(np.int64)
    microseconds = np.concatenate([np.empty(0, np.int64), *(events.tempo_microseconds for events in tracks)])
    order = np.argsort(ticks, kind="stable")
    order = order[microseconds[order] > 0]
    return ticks[order], microseconds[order].astype(np.int64)
