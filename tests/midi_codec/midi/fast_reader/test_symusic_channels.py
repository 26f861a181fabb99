import numpy as np
import pytest
from symusic.core import ScoreTick

from midi_codec.midi import midi_file
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.fast_reader import symusic_channels, symusic_reader
from midi_codec.midi.midi_header import Limits, read_header
from tests.midi_codec.midi_bytes import midi

SENTINEL_TICKS = 4096


def score(*tracks: str) -> ScoreTick:
    return ScoreTick.from_midi(midi(*tracks))


def late(track: int, channel: int) -> str:
    """A marker `SENTINEL_TICKS` after the event before."""
    return " a0 00" + symusic_channels.marker(track, channel)[1:].hex()


@pytest.mark.parametrize("number, channel", [(0, 0), (3, 15), (1023, 9)])
def test_a_marker_names_track_and_channel(number, channel):
    on, off = 0x90 | channel, 0x80 | channel
    tracks = score(f"00 {on:x} 3c 40 60 {off:x} 3c 00" + late(number, channel)).tracks
    assert symusic_channels.players(tracks, SENTINEL_TICKS) == {channel: [number]}


def test_bends_of_the_music_are_no_markers():
    tracks = score("00 e0 01 40 00 90 3c 40 60 80 3c 00").tracks
    assert symusic_channels.players(tracks, SENTINEL_TICKS) is None


def test_a_channel_with_two_programs_is_not_clear():
    events = "00 c0 05 00 90 3c 40 60 80 3c 00 00 c0 06 00 90 3c 40 60 80 3c 00"
    assert symusic_channels.players(score(events + late(0, 0)).tracks, SENTINEL_TICKS) is None


NOTE = "00 90 3c 40 60 80 3c 00"
PEDALS = "00 b0 40 7f 83 00 b0 40 00"
ELSEWHERE = {
    "pedal": (PEDALS, NOTE),
    "pedal of another channel": ("00 b1 40 7f 83 00 b1 40 00", NOTE),
    "controls without a pedal": (NOTE + " 00 b0 07 64 00 0a 40 00 ff 21 01 00", NOTE),
    "pedal after a meta event": ("00 b0 07 64 00 ff 21 01 00 00 40 7f 83 00 40 00", NOTE),
    "pedal after many controls": ("00 b0 02 10" + " 01 02 10" * 40 + " 00 40 7f 83 00 40 00", NOTE),
    "pedal after too many controls": ("00 b0 02 10" + " 00 02 10" * 80 + " 00 40 7f 83 00 40 00", NOTE),
    "bank after its running status": (NOTE, "00 b0 07 64 00 00 78 00 c0 00 " + NOTE),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_another_track_says_is_as_the_exact_reader_has_it(name):
    data = midi(*ELSEWHERE[name])
    exact = track_reader.read(data, read_header(data, Limits()), Limits(), apply_sustain=True)
    notes = midi_file.parse(data, apply_sustain=True, time_base="milliseconds")
    order = np.lexsort([exact.program, exact.pitch, exact.start])
    assert notes.program.tolist() == exact.program[order].tolist()
    assert notes.duration.tolist() == np.round((exact.end - exact.start)[order] * 500 / 96).tolist()


@pytest.mark.parametrize(
    "name, left", [("pedal", [0]), ("pedal of another channel", []), ("controls without a pedal", [])]
)
def test_symusic_reads_what_does_not_depend_on_other_tracks(name, left):
    data = midi(*ELSEWHERE[name])
    reading = symusic_reader.read_many([data], [read_header(data, Limits())], Limits(), apply_sustain=True)
    assert reading.left == left
