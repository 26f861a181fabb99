"""MIDI files for tests: written out in hex, or put together from events."""

import struct


def hexdump(text: str) -> bytes:
    """Bytes from hex with comments after `#`."""
    return bytes.fromhex("".join(line.split("#")[0] for line in text.splitlines()))


def midi(*tracks: str, division: int = 96, midi_format: int = 1, num_tracks: int | None = None) -> bytes:
    """A file whose tracks are given as hexdumps of their events; the end of track is added."""
    claimed = len(tracks) if num_tracks is None else num_tracks
    chunks = [hexdump(track) + bytes.fromhex("00 ff 2f 00") for track in tracks]
    header = struct.pack(">4sIHHH", b"MThd", 6, midi_format, claimed, division)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(chunk)) + chunk for chunk in chunks)


def rows(notes) -> list[tuple[int, int, int, int, int]]:
    """(start, end, pitch, velocity, program) of each note, in order."""
    columns = (notes.start, notes.end, notes.pitch, notes.velocity, notes.program)
    return list(zip(*(column.tolist() for column in columns), strict=True))
