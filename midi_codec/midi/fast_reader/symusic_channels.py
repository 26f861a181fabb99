"""Which channel of which track of the file a track of symusic is: symusic does not say.

So the sentinel of each channel gets a marker, a pitch bend whose value is the number of both. It ends up where the
channel's last program is; a program that notes had before has none.
"""

from __future__ import annotations

from collections.abc import Iterable

from symusic.core import TrackTick

PITCH_BEND = 0xE0
CENTRE = 1 << 13  # of a pitch bend's values, 0 to symusic


def marker(track: int, channel: int) -> bytes:
    """The marker of a channel of a track, behind a delta of 0; of up to 1,024 tracks."""
    value = track << 4 | channel
    return bytes([0, PITCH_BEND | channel, value & 0x7F, value >> 7])


def players(tracks: Iterable[TrackTick], sentinel_tick: int) -> dict[int, list[int]] | None:
    """By channel, the tracks of the file that have notes on it; None where that is not clear.

    Args:
      tracks: symusic's, read with markers.
      sentinel_tick: how long after its track's end a marker stands.
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
