import numpy as np
import pytest

from midi_codec.midi import midi_file
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.fast_reader import symusic_reader
from midi_codec.midi.midi_header import read_header
from tests.midi_codec.midi_bytes import midi, rows

LIMITS = midi_file.DEFAULT_LIMITS
NOTE = "00 90 3c 40  60 80 3c 00 "
HELD = "00 b0 40 7f  00 90 3c 40  60 80 3c 00  60 b0 40 00 "  # ends at 96, sounds until 192


def is_left(data: bytes) -> bool:
    return symusic_reader.read_many([data], [read_header(data, LIMITS)], LIMITS, apply_sustain=True).left == [0]


def test_the_pedal_is_applied_when_asked():
    assert rows(midi_file.parse(midi(HELD))) == [(0, 500, 60, 64, 0)]
    assert rows(midi_file.parse(midi(HELD), apply_sustain=True)) == [(0, 1000, 60, 64, 0)]


@pytest.mark.parametrize(
    "tracks, left",
    [
        ([HELD], False),
        ([NOTE], False),
        ([NOTE, HELD], True),  # holds the other track too
        ([NOTE.replace("90", "91").replace("80", "81"), HELD], False),
        (["00 c0 05 " + HELD], False),
        (["00 b0 40 7f  10 c0 05 " + NOTE + "00 b0 40 00"], False),
        ([HELD + "00 91 3c 40  60 81 3c 00"], False),  # a second channel
        (["00 b0 40 7f " + NOTE + "81 00 ff 01 00"], False),  # let go with the last note
        (["00 b9 40 7f  00 99 24 40  60 89 24 00  60 b9 40 00"], False),
        ([HELD + "00 c0 05 " + NOTE], True),  # two programs, two symusic tracks
        (["00 b0 40 7f " + NOTE + "00 c0 05  60 b0 40 00"], True),  # the pedal's end is dropped
        (["00 c0 05  00 c0 06 " + HELD], True),  # cannot be told from a program that comes back
        (["00 b0 40 7f " + NOTE + "00 b0 40 00  00 b0 40 7f  60 b0 40 00"], True),  # up and down at one tick
        (["c0 80 80 00 ff 01 00 " + HELD], True),  # where the sentinel's time begins
        (["00 b0 40 7f " + NOTE + "c1 80 80 00 b0 77 00  00 c0 05  60 b0 40 00"], True),  # looks like a marker
    ],
)
def test_what_is_not_clear_is_left_and_both_readers_agree(tracks, left):
    data = midi(*tracks)
    assert is_left(data) == left
    if left:
        return
    header = read_header(data, LIMITS)
    fast = symusic_reader.read_many([data], [header], LIMITS, apply_sustain=True).ticks
    exact = track_reader.read(data, header, LIMITS, apply_sustain=True)
    names = ("start", "end", "pitch", "program")
    notes = [sorted(zip(*(getattr(ticks, name).tolist() for name in names), strict=True)) for ticks in (fast, exact)]
    assert notes[0] == notes[1]


def test_pedals_of_one_file_leave_its_neighbours_alone():
    files = [midi(NOTE), midi(HELD), midi(NOTE, HELD), midi(NOTE)]
    parsed = midi_file.parse_many(files, apply_sustain=True)
    want = [rows(midi_file.parse(data, apply_sustain=True)) for data in files]
    assert [rows(parsed.batch.piece(index)) for index in range(4)] == want
    assert want[1] == [(0, 1000, 60, 64, 0)]
    assert np.unique(parsed.batch.piece(2).end).tolist() == [1000]
