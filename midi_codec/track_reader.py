"""Our own reader of a file's tracks: slow and exact.

`midi_file` sends it the files that symusic would misread in silence; tests use it as the oracle for
symusic's rules; `salvage` reads damaged files with its parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midi_codec import sustain
from midi_codec.midi_header import Header, Limits, MidiError
from midi_codec.midi_ticks import TickNotes
from midi_codec.note_pairing import TrackNotes, pair_notes
from midi_codec.track_events import CONTROL_CHANGE, META, TEMPO, TrackEvents, read_events

CHANNELS = 16


def read(data: bytes, header: Header, limits: Limits, *, apply_sustain: bool = False) -> TickNotes:
    """All tracks' notes and tempos.

    Raises:
      MidiError: `malformed`, when the events of a track end or stop making sense before it does;
        `too_costly`, when there is more to read than `limits.max_slow_bytes`.
    """
    return assemble(_read_tracks(data, list(enumerate(header.tracks)), limits), apply_sustain=apply_sustain)


def read_tempos(data: bytes, header: Header, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """`[m]` ticks and `[m]` microseconds a quarter note, as in `TickNotes`; reads only tracks that may have some.

    Raises:
      MidiError: as `read`.
    """
    tempo_event = bytes([META, TEMPO])
    tracks = [(index, bounds) for index, bounds in enumerate(header.tracks) if data.find(tempo_event, *bounds) >= 0]
    return _merge_tempos(_read_tracks(data, tracks, limits))


def assemble(tracks: Sequence[TrackEvents], *, apply_sustain: bool = False) -> TickNotes:
    """The notes and tempos of a file from its tracks' events; the sustain pedal lengthens notes where asked."""
    paired = [pair_notes(events) for events in tracks]
    start, end, pitch, velocity, program = (
        np.concatenate([getattr(notes, name) for notes in paired])
        for name in ("start", "end", "pitch", "velocity", "program")
    )
    if apply_sustain:
        end = sustain.extend(start=start, end=end, pitch=pitch, group=_groups(paired), pedals=_pedals(tracks))
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


def _groups(paired: Sequence[TrackNotes]) -> np.ndarray:
    return np.concatenate([index * CHANNELS + notes.channel for index, notes in enumerate(paired)])


def _pedals(tracks: Sequence[TrackEvents]) -> sustain.Pedals:
    """The sustain pedals of all tracks; a group is a channel of a track."""
    columns = []
    for index, events in enumerate(tracks):
        messages = np.array(events.messages, np.int64)
        rows = np.flatnonzero(messages >> 20 == CONTROL_CHANGE >> 4)
        group = index * CHANNELS + (messages[rows] >> 16 & 0x0F)
        last_tick = np.full(len(rows), events.last_tick)
        columns.append((np.array(events.ticks, np.int64)[rows], messages[rows] & 0x7F, group, last_tick))
    tick, value, group, last_tick = (np.concatenate(column) for column in zip(*columns, strict=True))
    return sustain.from_controls(tick=tick, value=value, group=group, last_tick=last_tick)


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


def _merge_tempos(tracks: Sequence[TrackEvents]) -> tuple[np.ndarray, np.ndarray]:
    """By tick; those of one tick in the order of tracks, then of events. A tempo of 0 says nothing."""
    ticks = np.concatenate([np.empty(0, np.int64), *(events.tempo_ticks for events in tracks)]).astype(np.int64)
    microseconds = np.concatenate([np.empty(0, np.int64), *(events.tempo_microseconds for events in tracks)])
    order = np.argsort(ticks, kind="stable")
    order = order[microseconds[order] > 0]
    return ticks[order], microseconds[order].astype(np.int64)
