"""The events of one track, read byte by byte: slow and exact, with all rules in one place.

    event    delta (1 to 4 septets), then one of
      8n..En   channel message; a data byte in place of the status repeats the previous status (running status)
      F0 F7    system exclusive, or its continuation: length, bytes
      F1..F6   system common: 1, 2, 1, -, -, 0 data bytes;  F8 FA FB FC FE: real time, none
      FF       meta: kind, length, bytes; kind 2F ends the track, 51 is a tempo

A running status continues after system messages and meta events, as in other readers.
Time is counted in Python integers and stored as int64, so sums of deltas do not overflow.
Source: Standard MIDI Files 1.0 (RP-001) and the MIDI 1.0 message table.
"""

from __future__ import annotations

import dataclasses
from array import array

from midi_codec.midi import part_modes, signature_events, sustain

NOTE_OFF, NOTE_ON, CONTROL_CHANGE, PROGRAM_CHANGE = 0x80, 0x90, 0xB0, 0xC0
SYSEX, ESCAPE, META = 0xF0, 0xF7, 0xFF
END_OF_TRACK, TEMPO, TRACK_NAME, PORT = 0x2F, 0x51, 0x03, 0x21
BANK = 0  # the control that selects a bank, its upper seven bits
KEPT_CONTROLS = (BANK, sustain.CONTROL)
CHANNEL_DATA_BYTES = bytes(1 if 0xC0 <= status < 0xE0 else 2 for status in range(SYSEX))  # by status
KEPT = bytes(status >> 4 in (0x8, 0x9, 0xC) for status in range(SYSEX))  # by status: notes and programs
SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
MAX_SEPTETS = 4  # of a variable-length quantity
MAX_DELTA = (1 << 7 * MAX_SEPTETS) - 1
CLAMPED, UNDEFINED, PAST_END, RUNNING = range(4)  # kinds of repairs
REPAIR_FIELDS = 5


class _Damage(Exception):
    """The bytes are not an event."""


@dataclasses.dataclass
class TrackEvents:
    """The events of one track that determine notes and time, in file order.

    `ticks[i]` is the time of `messages[i]`, which is status << 16 | data1 << 8 | data2: notes, programs, banks and the
    sustain pedal; a port as META, PORT, its number; a system exclusive message about drums as `part_modes.read`
    returns it. Tempos are in `tempo_ticks` and `tempo_microseconds`.
    """

    ticks: array = dataclasses.field(default_factory=lambda: array("q"))
    messages: array = dataclasses.field(default_factory=lambda: array("l"))
    tempo_ticks: array = dataclasses.field(default_factory=lambda: array("q"))
    tempo_microseconds: array = dataclasses.field(default_factory=lambda: array("l"))
    signatures: list[signature_events.Event] = dataclasses.field(default_factory=list)
    name: bytes | None = None  # from the first track-name event
    last_tick: int = 0  # of the last intact event
    stop: int = 0  # after that event's last byte
    has_end: bool = False  # whether that event is the end-of-track event
    damage: str | None = None  # where and why reading stopped before the end, if it did
    num_silent: int = 0  # of the first messages, known not to be notes
    repairs: array = dataclasses.field(default_factory=lambda: array("q"))  # rows: `cut`'s, then the kind

    def note_repair(self, position: int, tick: int, kind: int) -> None:
        self.repairs.extend((position, tick, len(self.ticks), len(self.tempo_ticks), kind))

    def cut(self, position: int, tick: int, num_messages: int, num_tempos: int) -> None:
        """Removes what was read from a byte on."""
        del self.ticks[num_messages:], self.messages[num_messages:]
        del self.tempo_ticks[num_tempos:], self.tempo_microseconds[num_tempos:]
        self.signatures = [event for event in self.signatures if event[0] <= tick]
        self.stop, self.last_tick = position, tick


def read_events(
    data: bytes,
    begin: int,
    stop: int,
    *,
    repair: bool = False,
    past_end: bool = False,
    first_tick: int = 0,
    max_delta: int = MAX_DELTA,
) -> TrackEvents:
    """Reads the events in `data[begin:stop]` up to the end-of-track event, or as far as they are intact.

    With `repair`, a data byte above 7F counts as 7F, and an undefined status is skipped; with `past_end`, so is an end
    of track before the first note. `repairs` of the result has a row for each, and for each running status after a
    system message, which is always read. A delta above `max_delta` ticks is damage.
    """
    events = TrackEvents(stop=begin, last_tick=first_tick)
    add_tick, add_message = events.ticks.append, events.messages.append
    position, tick, running, is_after_system = begin, first_tick, 0, False
    try:
        while position < stop:
            delta = data[position]
            if delta < 0x80:
                position += 1
            else:
                delta, position = _quantity(data, position, stop)
                if delta > max_delta:
                    raise _Damage(f"a delta of {delta:,} ticks")
            if position >= stop:
                raise _Damage("the track ends after a delta")
            now, status = tick + delta, data[position]
            if status >= 0x80:
                position += 1
            elif running:
                status = running
                if is_after_system:
                    events.note_repair(events.stop, tick, RUNNING)
            else:
                raise _Damage(f"data byte {status:#04x} without a status before it")
            if status < SYSEX:
                running, is_after_system = status, False
                end = position + CHANNEL_DATA_BYTES[status]
                if end > stop:
                    raise _Damage("the track ends inside a message")
                first = data[position]
                second = data[end - 1] if end - position == 2 else 0
                if first > 0x7F or second > 0x7F:
                    first, second = _clamp(events, status, first, second, repair=repair)
                position = end
                if KEPT[status] or (first in KEPT_CONTROLS and CONTROL_CHANGE <= status < PROGRAM_CHANGE):
                    add_tick(now)
                    add_message(status << 16 | first << 8 | second)
            elif status == META:
                position, ends = _meta_event(data, position, stop, events, now)
                if ends and not (past_end and _may_continue(events, position, stop, now)):
                    events.stop, events.last_tick, events.has_end = position, now, True
                    return events
            else:
                position = _system_message(data, position, stop, events, status, now, repair=repair)
                is_after_system = True
            tick = events.last_tick = now
            events.stop = position
    except _Damage as damage:
        events.damage = f"at byte {events.stop}: {damage}"
    return events


def has_notes(events: TrackEvents, first: int = 0) -> bool:
    """Whether any message from index `first` on is a note."""
    return any(message >> 16 < CONTROL_CHANGE for message in events.messages[first:])


def _clamp(events: TrackEvents, status: int, first: int, second: int, *, repair: bool) -> tuple[int, int]:
    if not repair:
        raise _Damage(f"data byte {max(first, second):#04x} in a message {status:#04x}, want at most 0x7f")
    events.note_repair(events.stop, events.last_tick, CLAMPED)
    return min(first, 0x7F), min(second, 0x7F)


def _may_continue(events: TrackEvents, position: int, stop: int, tick: int) -> bool:
    """Whether an end of track may be a mistake: bytes follow, and there was no note yet."""
    if position >= stop or has_notes(events, events.num_silent):
        return False
    events.num_silent = len(events.messages)
    events.note_repair(position, tick, PAST_END)
    return True


def _meta_event(data: bytes, position: int, stop: int, events: TrackEvents, tick: int) -> tuple[int, bool]:
    """`(next position, whether the track ends here)`; a tempo of fewer than 3 bytes is ignored."""
    if position >= stop:
        raise _Damage("the track ends inside a meta event")
    kind = data[position]
    length, position = _quantity(data, position + 1, stop)
    if position + length > stop:
        raise _Damage(f"a meta event of {length:,} bytes, {stop - position:,} are left")
    if kind == TEMPO and length >= 3:
        events.tempo_ticks.append(tick)
        events.tempo_microseconds.append(int.from_bytes(data[position : position + 3], "big"))
    elif kind == TRACK_NAME and events.name is None:
        events.name = bytes(data[position : position + length])
    elif kind in signature_events.LENGTHS:
        events.signatures.append((tick, kind, bytes(data[position : position + min(length, 5)])))
    elif kind == PORT and length == 1:
        events.ticks.append(tick)
        events.messages.append(META << 16 | PORT << 8 | data[position] & 0x7F)
    return position + length, kind == END_OF_TRACK


def _system_message(
    data: bytes, position: int, stop: int, events: TrackEvents, status: int, tick: int, *, repair: bool
) -> int:
    if status in (SYSEX, ESCAPE):
        length, position = _quantity(data, position, stop)
    elif status in SYSTEM_DATA_BYTES:
        length = SYSTEM_DATA_BYTES[status]
    elif repair:
        events.note_repair(events.stop, events.last_tick, UNDEFINED)
        length = 0
    else:
        raise _Damage(f"undefined status {status:#04x}")
    if position + length > stop:
        raise _Damage(f"a system message of {length:,} bytes, {stop - position:,} are left")
    if status == SYSEX and (message := part_modes.read(data[position : position + min(length, part_modes.MAX_BYTES)])):
        events.ticks.append(tick)
        events.messages.append(message)
    return position + length


def _quantity(data: bytes, position: int, stop: int) -> tuple[int, int]:
    value = 0
    for index in range(position, min(position + MAX_SEPTETS, stop)):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise _Damage("a length without an end")
