"""Files in which the tracks of a channel depend on each other: symusic leaves them, or reads what we read."""

import struct

import numpy as np
import pytest

from midi_codec.midi import midi_file
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.fast_reader import symusic_reader
from midi_codec.midi.midi_header import MidiError, read_header
from midi_codec.midi.midi_ticks import TickBatch, TickNotes

LIMITS = midi_file.DEFAULT_LIMITS
COLUMNS = ("start", "end", "pitch", "velocity", "program")
EXCLUSIVES = [
    "7e7f0901f7",
    "7e7f0903f7",
    "41104212 40007f0041f7",
    "41104212 401a150110f7",
    "41104212 401015001bf7",
    "43104c00007e00f7",
    "43104c08020701f7",
    "7f7f0401007ff7",
]


def quantity(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(value & 0x7F | 0x80)
    return bytes(reversed(septets))


def random_track(random: np.random.Generator, channels: list[int], kinds: list[int]) -> bytes:
    """Events under a running status wherever one may stand, and in most tracks an end for every note."""
    events, running, is_explicit = [], None, random.random() < 0.5
    for _ in range(int(random.integers(1, 30))):
        delta = quantity(int(random.choice([0, 0, 1, 10, 120, 121, 200, 15000])))
        channel, kind = int(random.choice(channels)), int(random.choice(kinds))
        if kind == 0xFF:
            events.append(delta + bytes.fromhex(str(random.choice(["ff01026162", "ff510307a120", "ff210101"]))))
        elif kind == 0xF0:
            payload = bytes.fromhex(str(random.choice(EXCLUSIVES)))
            events.append(delta + (b"\xf0" + quantity(len(payload)) + payload if random.random() < 0.7 else b"\xfe"))
            running = None if is_explicit else running
        else:
            data = [int(random.integers(60, 63)), int(random.choice([0, 64, 64]))]
            if kind == 0xB0:
                data = [int(random.choice([0, 64, 64, 7, 7])), int(random.choice([0, 5, 120, 121, 127]))]
            elif kind == 0xC0:
                data = [int(random.choice([0, 5, 40]))]
            status = kind | channel
            shown = b"" if status == running and random.random() < 0.7 else bytes([status])
            events.append(delta + shown + bytes(data))
            running = status
    if random.random() < 0.8:
        events += [bytes([1, 0x80 | channel, pitch, 0]) for channel in channels for pitch in (60, 61, 62)] * 8
    return b"".join(events) + quantity(int(random.choice([0, 500, 100_000]))) + b"\xff\x2f\0"


def random_file(key: int) -> bytes:
    random = np.random.Generator(np.random.Philox(key))
    kinds = [0x80, 0x90, 0x90] + [kind for kind in (0xB0, 0xB0, 0xC0, 0xF0, 0xFF) if random.random() < 0.6]
    owned = [[0], [2], [9]] if random.random() < 0.5 else [[0, 2]] * 3
    chunks = [random_track(random, owned[track], kinds) for track in range(int(random.integers(1, 4)))]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), 96)
    return header + b"".join(b"MTrk" + struct.pack(">I", len(chunk)) + chunk for chunk in chunks)


def table(ticks: TickBatch | TickNotes) -> list[tuple[int, ...]]:
    return sorted(zip(*(getattr(ticks, name).tolist() for name in COLUMNS), strict=True))


@pytest.mark.parametrize("part", range(7))
@pytest.mark.parametrize("apply_sustain", [False, True])
def test_what_symusic_is_given_it_reads_as_we_do(part, apply_sustain):
    num_read = 0
    for key in range(part * 50, part * 50 + 50):
        data = random_file(key)
        header = read_header(data, LIMITS)
        reading = symusic_reader.read_many([data], [header], LIMITS, apply_sustain=apply_sustain)
        if reading.left:
            continue
        try:
            exact = track_reader.read(data, header, LIMITS, apply_sustain=apply_sustain)
        except MidiError:
            assert reading.errors
            continue
        assert table(reading.ticks) == table(exact), key
        num_read += 1
    assert num_read > 0
