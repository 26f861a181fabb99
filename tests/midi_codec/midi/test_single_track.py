import pytest

from midi_codec.midi import midi_file, single_track
from midi_codec.midi.midi_header import MidiError
from midi_codec.music.notes import BEATS, MILLISECONDS

END = b"\x00\xff\x2f\x00"
HEADER = b"MThd\0\0\0\x06\0\x01\0%c\0\x18"  # 24 ticks a quarter note


def name(text: bytes) -> bytes:
    return b"\x00\xff\x03" + bytes([len(text)]) + text


def note(delta: int, channel: int, pitch: int) -> bytes:
    """A quarter note."""
    return bytes([delta, 0x90 | channel, pitch, 80, 24, 0x80 | channel, pitch, 0])


def make_file(*tracks: bytes) -> bytes:
    chunks = [b"MTrk" + (len(track) + len(END)).to_bytes(4, "big") + track + END for track in tracks]
    return (HEADER % len(tracks)) + b"".join(chunks)


CONDUCTOR = name(b"Conductor") + b"\x00\xff\x51\x03\x0f\x42\x40" + b"\x18\xff\x51\x03\x07\xa1\x20"  # 60, then 120
RIGHT = name(b" Right hand\0") + b"\x00\xc0\x28" + note(0, 0, 72) + note(0, 1, 74)
LEFT = b"\x00\xff\x01\x04\xff\x03\x01x" + name("Gauche é".encode("latin-1")) + note(24, 0, 48)  # FF 03 in a text
NAMELESS = note(12, 9, 36)
FILE = make_file(CONDUCTOR, RIGHT, LEFT, NAMELESS, name(b"Right hand"))


def parse(track: int | str, data: bytes = FILE, time_base: str = MILLISECONDS) -> list[tuple[int, ...]]:
    notes, _ = single_track.parse(data, track, time_base=time_base)
    columns = (notes.pitch, notes.start, notes.duration, notes.program)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_track_keeps_its_time_under_the_tempos_of_all_tracks():
    assert parse(1) == [(72, 0, 1000, 40), (74, 1000, 500, 0)]
    assert parse(2) == [(48, 1000, 500, 40)]
    assert parse(3) == [(36, 500, 750, 128)]


def test_the_beats_grid_knows_the_tempo_at_the_first_onset():
    assert parse(2, time_base=BEATS) == [(48, 24, 24, 40)]
    assert single_track.parse(FILE, 2, time_base=BEATS)[0].tempo == 120.0
    assert single_track.parse(FILE, 1, time_base=BEATS)[0].tempo == 60.0


def test_the_pedal_holds_the_notes_of_a_track():
    pedal = b"\x00\xb0\x40\x7f" + note(0, 0, 60) + b"\x18\xb0\x40\x00"
    data = make_file(b"", pedal)
    for one in (data, data[:-1]):  # whole, and cut
        held, _ = single_track.parse(one, 1, time_base=BEATS, apply_sustain=True)
        assert held.duration.tolist() == [48] and parse(1, one, BEATS)[0][2] == 24


def test_a_track_by_name():
    assert parse("Gauche é") == parse(2)
    assert parse(" Gauche é ") == parse(2)


def test_all_tracks_together_are_the_file():
    whole = midi_file.parse(FILE, time_base=MILLISECONDS)
    parts = sorted((start, pitch) for track in (1, 2, 3) for pitch, start, *_ in parse(track))
    assert list(zip(whole.start.tolist(), whole.pitch.tolist(), strict=True)) == parts


THERE = "the file has the tracks 0 'Conductor', 1 'Right hand', 2 'Gauche é', 3, 4 'Right hand'"


@pytest.mark.parametrize(
    ("track", "want"),
    [
        (5, f"there is no track 5; {THERE}"),
        ("right hand", f"there is no track 'right hand'; {THERE}"),
        ("3", f"there is no track '3'; {THERE}"),
        ("", f"there is no track ''; {THERE}"),
        ("Right hand", "track 'Right hand' names 2 tracks, 1, 4; want a number"),
        (0, f"track 0 has no notes; {THERE}"),
    ],
)
def test_what_a_wrong_track_says(track, want):
    with pytest.raises(LookupError) as error:
        single_track.parse(FILE, track, time_base=MILLISECONDS)
    assert error.value.args == (want,)


def test_one_track_is_described_as_one():
    with pytest.raises(LookupError) as error:
        single_track.parse(make_file(RIGHT), 1, time_base=MILLISECONDS)
    assert error.value.args == ("there is no track 1; the file has the track 0 'Right hand'",)


def test_a_long_name_and_one_after_many_events():
    text = b"x" * 200
    late = note(0, 0, 60) * 50 + b"\x00\xff\x03\x81\x48" + text
    assert parse("x" * 200, make_file(CONDUCTOR, late)) == parse(1, make_file(CONDUCTOR, late))


def test_what_symusic_may_not_read_is_read_slowly():
    escaped = RIGHT + b"\x00\xf7\x02\xff\x03"
    assert parse(1, make_file(CONDUCTOR, escaped)) == parse(1)


def test_a_track_of_a_damaged_file_is_salvaged_as_the_file_is():
    damaged = make_file(CONDUCTOR, RIGHT + b"\x00\x90", LEFT)
    for track, want in ((1, parse(1)), ("Right hand", parse(1)), (2, parse(2))):
        assert parse(track, damaged) == want
    assert single_track.parse(damaged, 1, time_base=MILLISECONDS)[1] == "repaired"
    assert single_track.parse(FILE, 1, time_base=MILLISECONDS)[1] is None
    wrapped = b"RIFF\x10\0\0\0RMIDdata\0\0\0\0" + FILE
    assert single_track.parse(wrapped, 3, time_base=MILLISECONDS)[1] == "unwrapped" and parse(3, wrapped) == parse(3)
    with pytest.raises(LookupError, match="there is no track 7; the file has the tracks 0 'Conductor', 1 'Right hand'"):
        parse(7, damaged)
    with pytest.raises(MidiError, match="MThd"):
        parse(0, b"no music at all")


def test_another_tracks_damage_is_not_ours():
    assert parse(2, make_file(CONDUCTOR, RIGHT + b"\x00\xc0", LEFT)) == parse(2)  # another one's damage is not ours
