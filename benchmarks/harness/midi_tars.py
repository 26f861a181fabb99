"""Many small MIDI files in tar archives, made with arrays: a million in about a minute.

A file is a row of chords of two notes, with pitches, velocities and times at random, so no two are alike. Of each
hundred files one is a copy of another, and of each two hundred one holds zeros.
"""

from __future__ import annotations

import pathlib
import tarfile

import numpy as np

COPY_EVERY, DAMAGED_EVERY = 100, 200
CHORDS = 30, 170  # of a file, fewest and most
_BLOCK = 512  # of a tar
_NAME = "{:07d}.mid"
_DIGITS = 7
_SIZE, _CHECKSUM = slice(124, 135), slice(148, 156)  # of a tar's header
# a track of ticks of a millisecond; `ll` is its length
_HEAD = np.frombuffer(b"MThd\0\0\0\6\0\0\0\1\1\xf4MTrk\0\0ll", np.uint8)
_TAIL = np.frombuffer(b"\0\xff\x2f\0", np.uint8)
# two delta times of two bytes, with two pitches and velocities in between
_CHORD = np.frombuffer(b"\x80\0\x90\0\0\0\x90\0\0\x80\0\x80\0\0\0\x80\0\0", np.uint8)
_GAP, _DURATION, _UPPER, _LOWER = 0, 9, (3, 12), (7, 16)
_VELOCITIES = [4, 8]


def write_tar(path: pathlib.Path, *, key: int, num_files: int) -> int:
    """Writes one archive; returns the number of notes in files that are neither copies nor damaged."""
    rng = np.random.Generator(np.random.Philox(key))
    num_chords = rng.integers(CHORDS[0], CHORDS[1], num_files, endpoint=True)
    copies = np.arange(COPY_EVERY - 1, num_files, COPY_EVERY)
    num_chords[copies] = num_chords[copies - 1]
    midi, sizes = _midi_files(rng, num_chords)
    midi[copies] = midi[copies - 1]
    damaged = np.arange(DAMAGED_EVERY - 3, num_files, DAMAGED_EVERY)
    midi[damaged] = 0
    headers = _tar_headers(np.arange(num_files) + key * num_files, sizes)
    blocks = -(-sizes // _BLOCK)
    rows = np.zeros((num_files, _BLOCK * (1 + int(blocks.max()))), np.uint8)
    rows[:, :_BLOCK] = headers
    rows[:, _BLOCK : _BLOCK + midi.shape[1]] = midi
    rows = rows.reshape(num_files, -1, _BLOCK)
    used = np.arange(rows.shape[1]) < 1 + blocks[:, None]
    path.write_bytes(rows[used].tobytes() + bytes(2 * _BLOCK))
    num_chords[copies] = num_chords[damaged] = 0
    return 2 * int(num_chords.sum())


def _midi_files(rng: np.random.Generator, num_chords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[files, bytes]` uint8, zeros after each file's end, and the files' sizes."""
    num_files, most = len(num_chords), int(num_chords.max())
    chords = np.tile(_CHORD, (num_files, most, 1))
    for column in (_GAP, _DURATION):
        ticks = np.clip(rng.lognormal(5.5, 0.5, (num_files, most)), 128, 4000).astype(np.int64)
        chords[..., column] |= (ticks >> 7).astype(np.uint8)
        chords[..., column + 1] = ticks & 127
    upper = rng.integers(55, 90, (num_files, most), np.uint8)
    interval = rng.integers(3, 20, (num_files, most), np.uint8)
    for columns, pitch in ((_UPPER, upper), (_LOWER, upper - interval)):
        chords[..., columns] = pitch[..., None]
    chords[..., _VELOCITIES] = rng.integers(30, 110, (num_files, most, 2), np.uint8)
    bodies = num_chords * len(_CHORD)
    track = bodies + len(_TAIL)
    files = np.zeros((num_files, len(_HEAD) + most * len(_CHORD) + len(_TAIL)), np.uint8)
    files[:, : len(_HEAD)] = _HEAD
    files[:, len(_HEAD) - 2], files[:, len(_HEAD) - 1] = track >> 8, track & 255
    files[:, len(_HEAD) : -len(_TAIL)] = chords.reshape(num_files, -1)
    ends = len(_HEAD) + bodies
    files[np.arange(files.shape[1]) >= ends[:, None]] = 0
    files[np.arange(num_files)[:, None], ends[:, None] + np.arange(len(_TAIL))] = _TAIL
    return files, ends + len(_TAIL)


def _tar_headers(numbers: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    template = tarfile.TarInfo(_NAME.format(0)).tobuf(tarfile.USTAR_FORMAT)
    headers = np.tile(np.frombuffer(template, np.uint8), (len(numbers), 1))
    headers[:, :_DIGITS] = _digits(numbers, _DIGITS, 10)
    headers[:, _SIZE] = _digits(sizes, 11, 8)
    headers[:, _CHECKSUM] = ord(" ")
    headers[:, 148:154] = _digits(headers.sum(axis=1, dtype=np.int64), 6, 8)
    headers[:, 154] = 0
    return headers


def _digits(numbers: np.ndarray, length: int, base: int) -> np.ndarray:
    """`[numbers, length]` ASCII."""
    return (numbers[:, None] // base ** np.arange(length)[::-1] % base + ord("0")).astype(np.uint8)
