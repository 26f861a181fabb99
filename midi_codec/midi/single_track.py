"""One track of a MIDI file: an MTrk chunk with all its channels; numbered from 0 in the order of the file.

A file of format 0 has one track. The notes keep their times: the tempos of all tracks count. A track's name is the text
of its first track name event (FF 03), without surrounding spaces; tracks without one have the name ''.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.midi import midi_ticks
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.exact_reader.track_events import META, TEMPO, TRACK_NAME, read_events
from midi_codec.midi.fast_reader import symusic_reader
from midi_codec.midi.midi_file import DEFAULT_LIMITS
from midi_codec.midi.midi_header import Header, Limits, MidiError, read_header
from midi_codec.midi.midi_ticks import TickBatch
from midi_codec.midi.salvage import salvage_reader
from midi_codec.music.notes import Notes

MAX_SHOWN = 20  # tracks in a message
_NAME_EVENT = bytes([META, TRACK_NAME])
_TEMPO_EVENT = bytes([META, TEMPO])
_LONGEST_LENGTH = 6  # bytes of such an event before its text


def parse(
    data: bytes,
    track: int | str,
    *,
    time_base: str,
    limits: Limits = DEFAULT_LIMITS,
    apply_sustain: bool = False,
) -> tuple[Notes, str | None]:
    """The notes of one track, and the salvage level if strict reading refuses the file.

    Times are the same as in `midi_file.parse_many` of the whole file.

    Args:
      track: its number, or its name.
      apply_sustain: whether the sustain pedal extends notes.

    Raises:
      LookupError: there is no such track, several tracks have the name, or the track has no notes.
      MidiError: the file cannot be used.
    """
    try:
        header = read_header(data, limits)
        tracks, level = names(data, header), None
        number = _find(tracks, track)
        ticks = _read(data, header, number, limits, apply_sustain)
        ticks = _with_all_tempos(ticks, data, header, number, limits)
    except MidiError as error:
        recovered = salvage_reader.recover(data, limits=limits, error=error)
        tracks, level = [_text(each.events.name or b"") for each in recovered.damaged.tracks], recovered.level
        own = recovered.of_track(_find(tracks, track), apply_sustain=apply_sustain)
        ticks = TickBatch.of_one(own, recovered.division)
    batch, _, errors = midi_ticks.to_batch(ticks, time_base=time_base, limits=limits)
    if not errors:
        return batch.piece(0), level
    if errors[0].reason == "no_notes":
        raise LookupError(f"track {track!r} has no notes; the file has {_describe(tracks)}")
    raise errors[0]


def names(data: bytes, header: Header) -> list[str]:
    """The name of every track; '' if it has none."""
    return [_name(data, *bounds) for bounds in header.tracks]


def _find(tracks: list[str], track: int | str) -> int:
    if isinstance(track, int):
        if track < len(tracks):
            return track
        matches: list[int] = []
    else:
        matches = [number for number, name in enumerate(tracks) if name and name == track.strip()]
        if len(matches) == 1:
            return matches[0]
    if matches:
        raise LookupError(f"track {track!r} names {len(matches)} tracks, {', '.join(map(str, matches))}; want a number")
    raise LookupError(f"there is no track {track!r}; the file has {_describe(tracks)}")


def _describe(tracks: list[str]) -> str:
    shown = ", ".join(f"{number} {name!r}" if name else str(number) for number, name in enumerate(tracks[:MAX_SHOWN]))
    more = f" and {len(tracks) - MAX_SHOWN} more" if len(tracks) > MAX_SHOWN else ""
    return f"the track{'s' * (len(tracks) > 1)} {shown}{more}"


def _name(data: bytes, begin: int, stop: int) -> str:
    """Reads only as far as the name. Bytes that look like its event may be part of another event."""
    position = data.find(_NAME_EVENT, begin, stop)
    while position >= 0:
        room = data[position + len(_NAME_EVENT)] if position + len(_NAME_EVENT) < stop else 0
        room = room if room < 0x80 else stop  # a name of more than 127 bytes
        events = read_events(data, begin, min(stop, position + _LONGEST_LENGTH + room))
        if events.name is not None:
            return _text(events.name)
        position = data.find(_NAME_EVENT, position + 1, stop)
    return ""


def _text(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return text.strip("\0 \t\r\n")


def _read(data: bytes, header: Header, number: int, limits: Limits, apply_sustain: bool) -> TickBatch:
    """The track's notes. If they may depend on another track, symusic does not read the file."""
    if len(symusic_reader.read_many([data], [header], limits, apply_sustain=apply_sustain).files):
        alone = dataclasses.replace(header, tracks=[header.tracks[number]])
        reading = symusic_reader.read_many([data], [alone], limits, apply_sustain=apply_sustain)
        if len(reading.files):
            return reading.ticks
    ticks = track_reader.read(data, header, limits, apply_sustain=apply_sustain, only_track=number)
    return TickBatch.of_one(ticks, header.division)


def _with_all_tempos(ticks: TickBatch, data: bytes, header: Header, number: int, limits: Limits) -> TickBatch:
    others = [bounds for index, bounds in enumerate(header.tracks) if index != number]
    if all(data.find(_TEMPO_EVENT, *bounds) < 0 for bounds in others):
        return ticks
    when, microseconds = track_reader.read_tempos(data, header, limits)
    offsets = np.array([0, len(when)], np.int64)
    return dataclasses.replace(ticks, tempo_ticks=when, tempo_microseconds=microseconds, tempo_offsets=offsets)
