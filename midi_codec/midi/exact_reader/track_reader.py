"""Our own reader of a file's tracks: slow and exact.

`midi_file` gives it the files that symusic would silently misread; tests use it as the oracle for symusic's
rules; `salvage` reads damaged files with its functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from midi_codec.midi import signature_events, sustain
from midi_codec.midi.exact_reader import channel_sounds, file_messages
from midi_codec.midi.exact_reader.file_messages import FileMessages
from midi_codec.midi.exact_reader.note_pairing import pair_notes
from midi_codec.midi.exact_reader.track_events import CONTROL_CHANGE, META, TEMPO, TrackEvents, read_events
from midi_codec.midi.midi_header import Header, Limits, MidiError
from midi_codec.midi.midi_ticks import TickNotes


def read(
    data: bytes, header: Header, limits: Limits, *, apply_sustain: bool = False, only_track: int | None = None
) -> TickNotes:
    """The notes and tempos of all tracks.

    Args:
      only_track: only its notes; other tracks may be damaged, and count as far as they are intact.

    Raises:
      MidiError: `malformed`, the events of a track end or stop making sense before it does;
        `too_costly`, there is more to read than `limits.max_slow_bytes`.
    """
    tracks = _read_tracks(data, list(enumerate(header.tracks)), limits, only_track=only_track)
    return assemble(tracks, apply_sustain=apply_sustain, only_track=only_track)


def read_tempos(data: bytes, header: Header, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """`[m]` ticks and `[m]` microseconds per quarter note, as in `TickNotes`; reads only tracks that may have some.

    Raises:
      MidiError: as `read`.
    """
    tempo_event = bytes([META, TEMPO])
    tracks = [(index, bounds) for index, bounds in enumerate(header.tracks) if data.find(tempo_event, *bounds) >= 0]
    return _merge_tempos(_read_tracks(data, tracks, limits))


def assemble(tracks: Sequence[TrackEvents], *, apply_sustain: bool = False, only_track: int | None = None) -> TickNotes:
    """The notes and tempos of a file from its tracks' events; the sustain pedal lengthens notes if `apply_sustain`.

    Args:
      only_track: only its notes.
    """
    messages = file_messages.join(tracks)
    notes = pair_notes(messages)
    end, program = notes.end, channel_sounds.programs(messages, notes.row)
    if apply_sustain:
        pedals = _pedals(messages, last_tick=int(end.max(initial=0)))
        group = messages.channel[notes.row]
        end = sustain.extend(start=notes.start, end=end, pitch=notes.pitch, group=group, pedals=pedals)
    tempo_ticks, tempo_microseconds = _merge_tempos(tracks)
    kept = slice(None) if only_track is None else messages.track[notes.row] == only_track
    return TickNotes(
        start=notes.start[kept],
        end=end[kept],
        pitch=notes.pitch[kept],
        velocity=notes.velocity[kept],
        program=program[kept],
        tempo_ticks=tempo_ticks,
        tempo_microseconds=tempo_microseconds,
        signatures=signature_events.of_events(event for events in tracks for event in events.signatures),
    )


def _pedals(messages: FileMessages, last_tick: int) -> sustain.Pedals:
    """The sustain pedals of all channels; those of a tick in the order of tracks, then of events."""
    rows = np.flatnonzero((messages.kind == CONTROL_CHANGE) & (messages.first == sustain.CONTROL))
    rows = rows[np.argsort(messages.tick[rows], kind="stable")]
    return sustain.from_controls(
        tick=messages.tick[rows],
        value=messages.second[rows],
        group=messages.channel[rows],
        last_tick=np.full(len(rows), last_tick),
    )


def _read_tracks(
    data: bytes, tracks: list[tuple[int, tuple[int, int]]], limits: Limits, *, only_track: int | None = None
) -> list[TrackEvents]:
    """The events of (index, bounds) of each track."""
    num_bytes = sum(stop - begin for _, (begin, stop) in tracks)
    if num_bytes > limits.max_slow_bytes:
        raise MidiError(
            "too_costly", f"{num_bytes:,} bytes that only the slow reader reads, want at most {limits.max_slow_bytes:,}"
        )
    all_events = []
    for index, bounds in tracks:
        events = read_events(data, *bounds)
        if events.damage and only_track in (None, index):
            raise MidiError("malformed", f"malformed MIDI: track {index}, {events.damage}")
        all_events.append(events)
    return all_events


def _merge_tempos(tracks: Sequence[TrackEvents]) -> tuple[np.ndarray, np.ndarray]:
    """By tick; those of one tick in the order of tracks, then of events. A tempo of 0 is ignored."""
    ticks = np.concatenate([np.empty(0, np.int64), *(events.tempo_ticks for events in tracks)]).astype(np.int64)
    microseconds = np.concatenate([np.empty(0, np.int64), *(events.tempo_microseconds for events in tracks)])
    order = np.argsort(ticks, kind="stable")
    order = order[microseconds[order] > 0]
    return ticks[order], microseconds[order].astype(np.int64)
