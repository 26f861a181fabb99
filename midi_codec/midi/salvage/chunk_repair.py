"""The outer structure of a damaged MIDI file: where its header is, what it says, and where its tracks are.

Nothing is guessed that would change a note. Without the number of ticks per quarter note there is no time, so a file
without a header is not read.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from midi_codec.midi.midi_header import CHUNK, HEADER, MAX_DIVISION, MULTI_SONG_FORMAT

MTRK, MTHD = b"MTrk", b"MThd"
SIX = b"\0\0\0\6"  # the length of a header
FIELDS = struct.Struct(">HHH")  # after name and length
MAX_WRONG_LETTERS = 2  # in the name of a chunk that still counts as a track
MAX_CHUNKS = 1 << 16  # that are examined, tracks or not
FRAME_RATES = {24: (24, 1), 25: (25, 1), 29: (30_000, 1001), 30: (30, 1)}  # (frames, seconds), by SMPTE code


@dataclasses.dataclass(frozen=True)
class RepairedHeader:
    """What is known about the file as a whole."""

    position: int  # where the header begins
    tracks_from: int  # where the first chunk may begin
    is_multi_song: bool
    division: int  # ticks per quarter note, after multiplication by `tick_factor`
    tick_factor: int  # by which the file's ticks must be multiplied
    has_tempos: bool  # whether tempo events change the length of a tick


@dataclasses.dataclass(frozen=True)
class TrackBounds:
    begin: int
    stop: int
    is_certain: bool  # whether the chunk's length leads to another chunk or to the end of the file


def find_header(data: bytes) -> RepairedHeader | None:
    """The first header; None if there is none, or if it does not give the length of a tick."""
    position = data.find(MTHD)
    first_track = data.find(MTRK, max(position, 0))
    if position < 0 and first_track >= HEADER.size:  # the header is there, but its name is damaged
        position = first_track - HEADER.size
        if data[position + 4 : position + CHUNK.size] != SIX:
            return None
    tracks_from = position + HEADER.size
    if position < 0 or tracks_from > len(data) or position < first_track < tracks_from:
        return None
    length = CHUNK.unpack_from(data, position)[1]
    midi_format, _, division = FIELDS.unpack_from(data, position + CHUNK.size)
    if is_chunk(data, position + CHUNK.size + length):
        tracks_from = max(tracks_from, position + CHUNK.size + length)
    is_multi_song = midi_format == MULTI_SONG_FORMAT
    if 0 < division <= MAX_DIVISION:
        return RepairedHeader(position, tracks_from, is_multi_song, division, 1, True)
    frames, seconds = FRAME_RATES.get(0x100 - (division >> 8), (0, 0))
    per_second = frames * (division & 0xFF)
    if not per_second:
        return None
    # A quarter note lasts half a second, so it has this many ticks of the length that the file gives.
    return RepairedHeader(position, tracks_from, is_multi_song, per_second, 2 * seconds, False)


def is_chunk(data: bytes, position: int) -> bool:
    """Whether a chunk that fits the file begins here."""
    if position + CHUNK.size > len(data):
        return False
    kind, length = CHUNK.unpack_from(data, position)
    return kind == MTRK or (kind.isalnum() and position + CHUNK.size + length <= len(data))


def find_tracks(data: bytes, offset: int) -> Iterator[TrackBounds]:
    """Tracks in file order, from an offset to the end or to the header of another file.

    A chunk's length is trusted if another chunk, or nothing, follows it. Otherwise the track extends to the next
    `MTrk`, or to the end. Bytes in between that are not a chunk are skipped.
    """
    for _ in range(MAX_CHUNKS):
        if offset > len(data) - CHUNK.size:
            return
        kind, length = CHUNK.unpack_from(data, offset)
        if kind == MTHD:
            return
        begin = offset + CHUNK.size
        leads_on = begin + length == len(data) or is_chunk(data, begin + length)
        if leads_on and length and _resembles_track(kind):
            offset = begin + length
            yield TrackBounds(begin, offset, True)
        elif kind == MTRK:
            offset = _next_chunk(data, begin)
            yield TrackBounds(begin, offset, False)
        elif leads_on and kind.isalnum():
            offset = begin + length
        else:
            offset = _next_chunk(data, offset + 1)


def _next_chunk(data: bytes, begin: int) -> int:
    """Where the next track or the next file begins; the end if there is none."""
    track = data.find(MTRK, begin)
    track = track if track >= 0 else len(data)
    header = data.find(MTHD, begin, track)
    return header if header >= 0 else track


def _resembles_track(kind: bytes) -> bool:
    return sum(letter != meant for letter, meant in zip(kind, MTRK, strict=True)) <= MAX_WRONG_LETTERS
