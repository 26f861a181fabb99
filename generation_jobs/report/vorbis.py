"""Encodes samples as Ogg Vorbis with tensorflow-io's encoder, and works around two of its limitations.

The encoder always aims at 128 kbit/s, twice what one channel at 24 kHz needs. It measures time by the sample rate it is
given, so it is given double the rate, and the true rate is written to the file's header afterwards (Vorbis I
specification, 4.2.2; Ogg, RFC 3533). That halves the bytes and changes nothing else.

It also copies all samples onto the stack of the calling thread (libvorbis extrapolates before the first sample with
`alloca`) and crashes if they do not fit the usual 8 MB, that is 87 s at 24 kHz. So it runs in a thread with a
sufficiently large stack.
"""

from __future__ import annotations

import struct
import threading

import numpy as np

RATE_FACTOR = 2

_STACK_LOCK = threading.Lock()  # the stack size is a setting of the process
_PAGE_BYTES = 1 << 20
_CRC_POLYNOMIAL = 0x04C11DB7
# Offsets in the first page: Ogg's page header with one segment (28 bytes), then the identification header.
_PAGE_CRC = slice(22, 26)
_PACKET = 28
_MAGIC = slice(_PACKET, _PACKET + 7)
_RATE = slice(_PACKET + 12, _PACKET + 16)
_NOMINAL_BITRATE = slice(_PACKET + 20, _PACKET + 24)
_FIRST_PAGE = slice(0, _PACKET + 30)


def load() -> None:
    """Imports the encoder, which takes seconds; otherwise the first `encode` does. Call it from one thread only."""
    import tensorflow_io  # noqa: F401


def encode(samples: np.ndarray, sample_rate: int) -> bytes:
    """An Ogg Vorbis file of one channel.

    Args:
      samples: `[n]` float32 within -1 to 1, n at least 1.
      sample_rate: samples per second, 20,000 to 25,000 (the encoder has a mode for twice that).

    Raises:
      ValueError: no samples, or a sample rate the encoder has no mode for.
    """
    if not len(samples):
        raise ValueError("there are no samples, want at least 1")
    if not 20_000 <= sample_rate <= 25_000:
        raise ValueError(f"sample_rate is {sample_rate}, want 20,000 to 25,000")
    results: list[bytes] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(_encode(samples, sample_rate * RATE_FACTOR))
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    stack_bytes = (2 * samples.size * 4 // _PAGE_BYTES + 16) * _PAGE_BYTES
    with _STACK_LOCK:
        default = threading.stack_size(stack_bytes)
        try:
            thread = threading.Thread(target=work)
            thread.start()
        finally:
            threading.stack_size(default)
    thread.join()
    if errors:
        raise errors[0]
    return with_sample_rate(results[0], sample_rate)


def _encode(samples: np.ndarray, sample_rate: int) -> bytes:
    import tensorflow as tf
    import tensorflow_io as tfio

    with tf.device("CPU:0"):
        data = tf.constant(samples[:, None], tf.float32)
        return tfio.audio.encode_vorbis(data, tf.constant(sample_rate, tf.int64)).numpy()


def with_sample_rate(data: bytes, sample_rate: int) -> bytes:
    """The same Ogg Vorbis file with another sample rate.

    Raises:
      ValueError: the file does not begin like an Ogg Vorbis file.
    """
    page = bytearray(data[_FIRST_PAGE])
    if page[:4] != b"OggS" or page[_MAGIC] != b"\x01vorbis":
        raise ValueError(f"not an Ogg Vorbis file: begins with {bytes(page[:4])!r}")
    (old_rate,) = struct.unpack("<I", page[_RATE])
    (bitrate,) = struct.unpack("<i", page[_NOMINAL_BITRATE])
    page[_RATE] = struct.pack("<I", sample_rate)
    page[_NOMINAL_BITRATE] = struct.pack("<i", bitrate * sample_rate // old_rate)
    page[_PAGE_CRC] = bytes(4)
    page[_PAGE_CRC] = struct.pack("<I", _page_crc(page))
    return bytes(page) + data[_FIRST_PAGE.stop :]


def _page_crc(page: bytes | bytearray) -> int:
    """Ogg's checksum: CRC-32, most significant bit first, initial value 0, with the checksum's own bytes set to 0."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (_CRC_POLYNOMIAL if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
