"""The events of damaged tracks, read as far as they are intact; small faults are repaired.

Repairs: a data byte above 7F counts as 7F; an undefined status is skipped; damage before the first note of a track is
skipped if everything after it is intact. A repair is accepted if the track then reads to its end, or if enough intact
bytes follow it: in noise, the next fault is near.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from midi_codec.midi.exact_reader.track_events import (
    CLAMPED,
    MAX_DELTA,
    REPAIR_FIELDS,
    TrackEvents,
    has_notes,
    read_events,
)
from midi_codec.midi.salvage.chunk_repair import TrackBounds

SOUND_BYTES = 64  # that must follow a repair, unless the track reads to its end
MAX_SKIPPED_BYTES = 1024  # before a track's first note
MAX_PROBE_BYTES = 1 << 16  # per file, for finding the next event
MAX_TRIAL_BYTES = 1 << 18  # per file, for reading on from bytes that were not an event


@dataclasses.dataclass(frozen=True)
class RepairedTrack:
    events: TrackEvents
    is_whole: bool  # read to its end, with no repairs but data bytes
    num_clamped: int  # data bytes above 7F
    num_sound_bytes: int
    num_bytes: int

    @property
    def num_mended(self) -> int:
        return len(self.events.repairs) // REPAIR_FIELDS

    @property
    def has_notes(self) -> bool:
        return has_notes(self.events)


def read_tracks(data: bytes, bounds: Sequence[TrackBounds], *, past_end: bool = False) -> list[RepairedTrack]:
    """Reads each track; with `past_end`, skips an end of track before the first note."""
    probes = _Probes(data, MAX_DELTA)
    return [
        _judge(
            read_events(data, track.begin, track.stop, repair=True, past_end=past_end and track.is_certain),
            track,
            probes,
        )
        for track in bounds
    ]


def read_tracks_warily(data: bytes, bounds: Sequence[TrackBounds], *, max_delta: int) -> list[RepairedTrack]:
    """Reads each track; repairs nothing, and treats a delta above `max_delta` ticks as damage."""
    probes = _Probes(data, max_delta)
    return [_judge(read_events(data, track.begin, track.stop, max_delta=max_delta), track, probes) for track in bounds]


def _judge(events: TrackEvents, bounds: TrackBounds, probes: _Probes) -> RepairedTrack:
    kinds = events.repairs[REPAIR_FIELDS - 1 :: REPAIR_FIELDS]
    num_clamped = kinds.count(CLAMPED)
    if bounds.is_certain and events.damage is None:
        num_bytes = events.stop - bounds.begin
        return RepairedTrack(events, num_clamped == len(kinds), num_clamped, num_bytes, num_bytes)
    num_bytes = (bounds.stop if events.damage else events.stop) - bounds.begin
    _cut_doubtful(events)
    num_sound_bytes = events.stop - bounds.begin
    if events.damage and not has_notes(events):
        num_sound_bytes += probes.skip_damage(events, bounds.stop)
    return RepairedTrack(events, False, num_clamped, num_sound_bytes, num_bytes)


def _cut_doubtful(events: TrackEvents) -> None:
    """Undoes the last repairs, and the events after them, if too few intact bytes follow."""
    while events.repairs and events.stop - events.repairs[-REPAIR_FIELDS] < SOUND_BYTES:
        events.cut(*events.repairs[-REPAIR_FIELDS:-1])
        del events.repairs[-REPAIR_FIELDS:]


@dataclasses.dataclass
class _Probes:
    """Looks for the next event after damage, within the limits per file."""

    data: bytes
    max_delta: int
    trial_bytes_left: int = MAX_TRIAL_BYTES
    probe_bytes_left: int = MAX_PROBE_BYTES

    def skip_damage(self, events: TrackEvents, stop: int) -> int:
        """Continues after the damage if everything that follows is intact; returns the number of bytes read."""
        for begin in range(events.stop + 1, min(events.stop + MAX_SKIPPED_BYTES, stop - 1)):
            if self.trial_bytes_left <= 0 or self.probe_bytes_left <= 0:
                break
            if self.data[begin] < 0x80 <= self.data[begin + 1] and self._begins_event(begin, stop):
                rest = read_events(self.data, begin, stop, first_tick=events.last_tick, max_delta=self.max_delta)
                self.trial_bytes_left -= rest.stop - begin
                if rest.damage is None:
                    _append(events, rest)
                    return rest.stop - begin
        return 0

    def _begins_event(self, begin: int, stop: int) -> bool:
        window = min(stop, begin + 4 * SOUND_BYTES)
        probe = read_events(self.data, begin, window)
        self.probe_bytes_left -= probe.stop - begin + 1
        return probe.damage is None or probe.stop - begin >= SOUND_BYTES


def _append(events: TrackEvents, rest: TrackEvents) -> None:
    for name in ("ticks", "messages", "tempo_ticks", "tempo_microseconds"):
        getattr(events, name).extend(getattr(rest, name))
    events.last_tick, events.stop, events.has_end, events.damage = rest.last_tick, rest.stop, rest.has_end, None
