"""Which track and channel of the file a symusic track belongs to, which symusic does not say.

The sentinel of each channel gets a marker, a pitch bend whose value encodes both numbers. It ends up in the symusic
track of the channel's last program; tracks of its earlier programs have none.
"""

from __future__ import annotations

from collections.abc import Iterable

from symusic.core import TrackTick

PITCH_BEND = 0xE0
CENTRE = 1 << 13  # of a pitch bend's values, 0 to symusic


def marker(track: int, channel: int) -> bytes:
    """The marker of a channel of a track, after a delta of 0, for up to 1,024 tracks."""
    value = track << 4 | channel
    return bytes([0, PITCH_BEND | channel, value & 0x7F, value >> 7])


def players(tracks: Iterable[TrackTick], sentinel_tick: int) -> dict[int, list[int]] | None:
    """By channel, the tracks of the file that have notes on it; None if that is unclear.

    Args:
      tracks: symusic's, read with markers.
      sentinel_tick: ticks from a track's end to its marker.
    """
    tracks_of_channel = dict[int, list[int]]()
    for track in tracks:
        if not len(track.notes):
            continue
        bends = track.pitch_bends
        last = bends[-1] if len(bends) else None
        if last is None or last.time < sentinel_tick:
            return None
        number, channel = divmod(last.value + CENTRE, 16)
        tracks_of_channel.setdefault(channel, []).append(number)
    return tracks_of_channel
