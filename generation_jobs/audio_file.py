"""Samples as an audio file: WAV, Ogg Vorbis or MP3, by libsndfile. Equal samples give equal bytes.

libsndfile gives every Ogg file a random serial number, which only matters where several streams share a file. It is
set to 0 here, and the checksum of each page follows it (Ogg, RFC 3533).
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

SUBTYPES = {"wav": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}  # by format; 48,000 samples per second at most

_BLOCK_FRAMES = 1 << 16  # per call: libvorbis copies what it is given onto the stack
# Offsets in an Ogg page's header.
_SERIAL, _CRC, _NUM_SEGMENTS, _SEGMENTS = slice(14, 18), slice(22, 26), 26, 27
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encode(samples: np.ndarray, sample_rate: int, *, format: str, comment: str = "") -> bytes:
    """A file of one channel for `[n]` float32 within -1 to 1, of two for `[n, 2]`.

    Args:
      comment: becomes a tag in the first kilobyte; that of an MP3 file only if it has more than 30 characters.
    """
    import soundfile

    buffer = io.BytesIO()
    num_channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(
        buffer, "w", sample_rate, num_channels, subtype=SUBTYPES[format], format=format.upper()
    ) as file:
        if comment:
            file.comment = comment
        for begin in range(0, len(samples), _BLOCK_FRAMES):
            file.write(samples[begin : begin + _BLOCK_FRAMES])
    data = buffer.getvalue()
    return _without_serial(data) if format == "ogg" else data


def _without_serial(data: bytes) -> bytes:
    """The Ogg file with serial number 0 in every page."""
    pages, begin = [], 0
    while begin < len(data):
        num_segments = data[begin + _NUM_SEGMENTS]
        body = begin + _SEGMENTS + num_segments
        end = body + sum(data[begin + _SEGMENTS : body])
        page = bytearray(data[begin:end])
        page[_SERIAL] = page[_CRC] = bytes(4)
        page[_CRC] = struct.pack("<I", _checksum(page))
        pages.append(page)
        begin = end
    return b"".join(pages)


def _checksum(page: bytearray) -> int:
    """Ogg's CRC-32: zlib's, but with the most significant bit first, and neither preset nor inverted."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
