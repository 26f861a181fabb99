"""The outer structure of a MIDI file, header and chunks, checked before any library sees the bytes.

    MThd  4 bytes length = 6   format 0 1 2   number of tracks   division
    MTrk  4 bytes length       events ...                        repeated

Source: Standard MIDI Files 1.0 (RP-001). Nothing here reads events, so the cost does not depend on
the claims in a file.
"""

from __future__ import annotations

import dataclasses
import struct

from job_runtime.command_line.settings import setting

HEADER = struct.Struct(">4sIHHH")
CHUNK = struct.Struct(">4sI")
EXTENSIONS = (".mid", ".midi", ".kar", ".rmi")  # of MIDI file names, in any case
END_OF_TRACK = b"\xff\x2f\x00"  # the event without its delta
MULTI_SONG_FORMAT = 2
REASONS = frozenset(  # of a MidiError; docs/midi.md explains each
    {
        "empty",
        "too_large",
        "no_header",
        "truncated",
        "bad_header_length",
        "multi_song",
        "bad_format",
        "zero_division",
        "smpte_division",
        "no_tracks",
        "too_many_tracks",
        "damaged_chunk",
        "malformed",
        "too_costly",
        "too_many_tempo_changes",
        "no_notes",
        "too_many_notes",
        "too_long",
    }
)
MAX_DIVISION = 0x7FFF  # a larger value means frames per second (SMPTE)


class MidiError(ValueError):
    """A MIDI file that cannot be used. `reason` is a fixed slug, and also the name of a counter."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple:  # keeps the reason when it is pickled for another process
        return type(self), (self.reason, str(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits per file: far above real music, but low enough to bound the cost of a hostile file."""

    max_bytes: int = setting(4 << 20, "reject a larger file without reading it", at_least=1, group="limits per file")
    max_slow_bytes: int = 1 << 20  # of tracks that only the slow reader reads: a quarter of a second
    max_tracks: int = 1024
    max_notes: int = setting(1_000_000, "reject a file with more notes", at_least=1, group="limits per file")
    max_seconds: float = setting(6 * 3600.0, "reject a longer file", above=0, group="limits per file")
    max_tempo_changes: int = 100_000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, want more than 0")


@dataclasses.dataclass(frozen=True)
class Header:
    """The header's content, and the actual positions of the track chunks."""

    format: int
    num_tracks: int  # as the header claims; there may be more or fewer chunks
    division: int  # ticks per quarter note, 1..0x7fff
    tracks: list[tuple[int, int]]  # (first byte, end) of the events in each MTrk chunk


def read_header(data: bytes, limits: Limits) -> Header:
    """Reads the header and finds the tracks.

    Raises:
      MidiError: `empty`, `too_large`, `no_header`, `truncated`, `bad_format`, `multi_song`,
        `smpte_division`, `zero_division`, `no_tracks`, `too_many_tracks`, `damaged_chunk`, `bad_header_length`.
    """
    if not data:
        raise MidiError("empty", "the file is empty")
    if len(data) > limits.max_bytes:
        raise MidiError("too_large", f"the file has {len(data):,} bytes, want at most {limits.max_bytes:,}")
    if data[:4] != b"MThd":
        raise MidiError("no_header", f"not a MIDI file: it starts with {bytes(data[:4])!r}, want b'MThd'")
    if len(data) < HEADER.size:
        raise MidiError("truncated", f"the file ends inside the header, after {len(data)} bytes")
    _, length, midi_format, num_tracks, division = HEADER.unpack_from(data)
    if length < HEADER.size - CHUNK.size:
        raise MidiError("bad_header_length", f"the header says it has {length} bytes, want 6")
    _check_header(midi_format, division)
    tracks = _find_tracks(data, CHUNK.size + length, num_tracks, limits)
    return Header(midi_format, num_tracks, division, tracks)


def _check_header(midi_format: int, division: int) -> None:
    if midi_format == MULTI_SONG_FORMAT:
        raise MidiError("multi_song", "format 2 holds several songs, not one piece")
    if midi_format > MULTI_SONG_FORMAT:
        raise MidiError("bad_format", f"the header says format {midi_format}, want 0 or 1")
    if division == 0:
        raise MidiError("zero_division", "the header says 0 ticks per quarter note")
    if division > MAX_DIVISION:
        raise MidiError("smpte_division", "the division counts film frames (SMPTE), not quarter notes")


def _find_tracks(data: bytes, offset: int, num_claimed: int, limits: Limits) -> list[tuple[int, int]]:
    """Skips chunks of other kinds, and anything after the tracks if those are complete."""
    tracks: list[tuple[int, int]] = []
    size = len(data)
    while offset + CHUNK.size <= size:
        kind, length = CHUNK.unpack_from(data, offset)
        stop = offset + CHUNK.size + length
        if kind == b"MTrk":
            if stop > size:
                left = size - offset - CHUNK.size
                raise MidiError("truncated", f"track {len(tracks)} says {length:,} bytes, {left:,} are there")
            tracks.append((offset + CHUNK.size, stop))
            if len(tracks) > limits.max_tracks:
                raise MidiError("too_many_tracks", f"more than {limits.max_tracks:,} tracks")
        elif stop > size or not kind.isalnum():
            break
        offset = stop
    is_cut = bool(tracks) and not data.endswith(END_OF_TRACK, *tracks[-1])
    if offset < size and (len(tracks) < num_claimed or is_cut):
        raise MidiError("damaged_chunk", f"at byte {offset:,} a chunk should begin, and none does")
    if not tracks:
        raise MidiError("no_tracks", "the file has no track chunk")
    return tracks
