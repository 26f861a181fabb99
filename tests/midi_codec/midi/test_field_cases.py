"""What users' files do, one kind of fault a test: programs, pedals and drums by channel, running status, lost ends."""

import pytest

from midi_codec.midi import midi_file, single_track
from tests.midi_codec.midi_bytes import midi, rows

GS_RESET = "00 f0 0a 41 10 42 12 40 00 7f 00 41 f7 "
GS_PART_11_DRUMS = "00 f0 0a 41 10 42 12 40 1a 15 01 10 f7 "
GS_PART_10_MELODIC = "00 f0 0a 41 10 42 12 40 10 15 00 1b f7 "
XG_ON = "00 f0 08 43 10 4c 00 00 7e 00 f7 "
GM_ON = "00 f0 05 7e 7f 09 01 f7 "
CONDUCTOR = "00 ff 51 03 07 a1 20 "


def note(channel: int, pitch: int, length: str = "60") -> str:
    return f"00 {0x90 | channel:02x} {pitch:02x} 40 {length} {0x80 | channel:02x} {pitch:02x} 40 "


def programs(*tracks: str) -> list[int]:
    """In the order of onsets, then of pitches."""
    return midi_file.parse(midi(*tracks)).program.tolist()


def ends(*tracks: str, apply_sustain: bool = False) -> list[tuple[int, int, int]]:
    """(start, end, pitch) in ms; a tick is one, the quarter note 500."""
    return [row[:3] for row in rows(midi_file.parse(midi(*tracks, division=500), apply_sustain=apply_sustain))]


# A program belongs to the channel.


def test_a_program_counts_on_every_track_of_its_channel():
    assert programs(CONDUCTOR, "00 c4 3e " + note(4, 60), note(4, 48)) == [62, 62]
    setup = CONDUCTOR + "00 c0 28 00 c1 2a 00 c2 49"
    assert programs(setup, note(0, 60), note(1, 48), note(2, 72)) == [42, 40, 73]
    assert programs(note(0, 60), "00 c0 28") == [40]  # on a later track, at the same tick


def test_a_change_on_another_track_counts_from_its_tick_on():
    assert programs(CONDUCTOR + "00 c0 28 81 40 c0 38", 4 * note(0, 60)) == [40, 40, 56, 56]


def test_a_change_of_the_tracks_own_counts_for_its_notes():
    assert programs("00 c0 28 " + note(0, 60) + note(0, 60), "00 c0 05 " + note(0, 48) + note(0, 48)) == [5, 40, 5, 40]
    late = note(0, 48) + "00 c0 05 " + note(0, 48)  # its own comes later: till then the channel's
    assert programs("00 c0 28 ", late) == [40, 5]
    assert programs("00 c0 28", "00 90 3c 40 00 c0 05 60 80 3c 00") == [40]  # its own comes after the note


def test_a_running_program_change_and_one_of_another_channel():
    assert programs("00 c0 00 00 28", note(0, 60)) == [40]
    assert programs("00 c1 28", note(0, 60)) == [0]


def test_another_port_is_another_channel():
    first, second = "00 ff 21 01 00 ", "00 ff 21 01 01 "
    assert programs(first + "00 c0 28 " + note(0, 60), second + note(0, 62)) == [40, 0]
    assert programs(first + "00 c0 28", second + "00 c0 05", second + note(0, 62)) == [5]
    assert programs("00 c0 28", second + note(0, 62)) == [40]  # one port alone is named


def test_one_track_is_read_with_its_channels_program():
    data = midi("00 c0 28", note(0, 60), note(1, 62))
    assert single_track.parse(data, 1, time_base="milliseconds")[0].program.tolist() == [40]
    assert single_track.parse(data, 2, time_base="milliseconds")[0].program.tolist() == [0]


# The pedal belongs to the channel.


def test_a_pedal_holds_its_channel_on_every_track():
    right = "78 90 48 50 78 80 48 40 78 90 4a 50 78 80 4a 40 "
    left = "00 b0 40 7f 00 90 30 50 81 70 80 30 40 8d 10 b0 40 00"
    assert ends(CONDUCTOR, right, left, apply_sustain=True) == [(0, 1920 + 0, 48), (120, 1920, 72), (360, 1920, 74)]
    pedal = "00 b0 40 7f 8e 6c b0 40 00"
    assert ends(CONDUCTOR, right, pedal, apply_sustain=True) == [(120, 1900, 72), (360, 1900, 74)]
    assert ends(CONDUCTOR, right, "00 b1 40 7f 8e 6c b1 40 00", apply_sustain=True) == [(120, 240, 72), (360, 480, 74)]


def test_a_stroke_on_another_track_of_the_channel_stops_a_held_note():
    pedal = "00 b0 40 7f 87 68 b0 40 00"
    assert ends(pedal, note(0, 60), "83 00 " + note(0, 60)[3:], apply_sustain=True) == [(0, 384, 60), (384, 1000, 60)]


def test_a_pedal_that_nothing_lets_go_ends_with_the_last_note():
    assert ends("00 b0 40 7f " + note(0, 60) + note(0, 62) + "ff 7f ff 01 00", apply_sustain=True) == [
        (0, 192, 60),
        (96, 192, 62),
    ]


# Drums elsewhere, and channel 10 melodic.


@pytest.mark.parametrize(
    "tracks, want",
    [
        ([GS_RESET + GS_PART_11_DRUMS, "00 ca 00 " + note(10, 36)], 128),
        ([GS_PART_11_DRUMS + GS_RESET, "00 ca 05 " + note(10, 36)], 5),  # the reset came after
        ([GS_PART_11_DRUMS + GM_ON, "00 ca 05 " + note(10, 36)], 5),
        ([GS_RESET + GS_PART_10_MELODIC, "00 c9 28 " + note(9, 60)], 40),
        ([GS_RESET + GS_PART_10_MELODIC + GS_RESET, "00 c9 28 " + note(9, 60)], 128),
        ([XG_ON, "00 b2 00 7f 00 b2 20 00 00 c2 05 " + note(2, 36)], 128),
        ([XG_ON, "00 b2 00 7e 00 20 00 00 c2 05 " + note(2, 36)], 128),
        ([XG_ON, "00 b2 07 64 81 00 00 7f 00 c2 05 " + note(2, 36)], 128),  # under a running status
        ([XG_ON + "00 b2 00 7f 00 c2 05", note(2, 36)], 128),  # all on another track
        ([XG_ON, "00 b2 00 7f 00 c2 00 00 b2 00 00 00 c2 05 " + note(2, 36)], 5),
        ([XG_ON, "00 b2 00 7f " + note(2, 36)], 0),  # no program change selects it
        ([XG_ON + GM_ON, "00 b2 00 7f 00 c2 05 " + note(2, 36)], 5),
        ([XG_ON, "00 b9 00 00 00 c9 05 " + note(9, 36)], 128),
        (["00 f0 09 43 10 4c 08 02 07 01 00 f7 " + "00 c2 05 " + note(2, 36)], 128),
        (["00 b2 00 7f 00 c2 05 " + note(2, 36)], 5),  # bank 127 alone
        ([GS_RESET, "00 b2 00 78 00 c2 05 " + note(2, 36)], 5),  # a variation in GS
        (["00 ba 00 78 00 ba 20 00 00 ca 00 " + note(10, 36)], 128),
        (["00 ba 07 64 00 00 78 00 ca 00 " + note(10, 36)], 128),
        (["00 ba 00 78 00 ca 00 00 ba 00 79 00 ca 05 " + note(10, 36)], 5),
        (["00 b9 00 79 00 c9 05 " + note(9, 60)], 5),
        (["00 b9 00 78 00 c9 05 " + note(9, 60)], 128),
    ],
)
def test_where_the_drums_are(tracks, want):
    assert programs(CONDUCTOR, *tracks) == [want]


# Running status.


@pytest.mark.parametrize("message", ["f0 05 7e 7f 09 01 f7", "f1 00", "f2 00 00", "f3 00", "f6", "f8", "fa", "fe"])
@pytest.mark.parametrize("between", ["", "10 ff 01 01 61 ", "00 ff 01 00 00 f8 "])
def test_a_running_status_continues_after_system_messages(message, between):
    data = midi(f"00 90 3c 50 10 {message} {between} 10 3c 00 00 43 50 10 f7 01 00 10 43 00", note(0, 62))
    parsed = midi_file.parse_many([data])
    assert (sorted(parsed.batch.piece(0).pitch.tolist()), parsed.salvage_levels) == ([60, 62, 67], {})


# Ends that are missing, or at the tick of the next note-on.


def test_an_end_leaves_a_note_alone_that_began_at_its_tick_while_an_earlier_one_sounds():
    step = "83 60 90 3c 51 00 80 3c 00 "
    whole = "00 90 3c 50 " + 5 * step + "83 60 80 3c 00"
    assert ends(whole) == [(480 * place, 480 * place + 480, 60) for place in range(6)]
    without_last = "00 90 3c 50 " + 5 * step + "83 60 90 40 50 83 60 80 40 00"
    assert ends(without_last)[:5] == ends(whole)[:5]
    assert ends(without_last)[5:] == [(2400, 3360, 60), (2880, 3360, 64)]


def test_a_file_of_that_style_that_is_cut():
    chord = "00 90 3c 50 00 90 40 50 00 90 43 50 "
    repeat = "83 60 90 3c 50 00 90 40 50 00 90 43 50 00 80 3c 00 00 80 40 00 00 80 43 00 "
    data = midi(CONDUCTOR, chord + 10 * repeat, division=480)[:-12]
    parsed = midi_file.parse_many([data])
    piece = parsed.batch.piece(0)
    assert parsed.salvage_levels == {0: "repaired"}
    assert piece.duration[piece.start < 5000].tolist() == 30 * [500]


@pytest.mark.parametrize("delta", ["81 c0 bc 00", "90 bd b0 00", "ff ff ff 7f"])
def test_a_note_without_an_end_stops_with_the_last_note_event(delta):
    track = "00 90 3c 50 83 60 80 3c 00 00 90 3e 50 00 90 40 50 83 60 80 40 40 00 90 41 50 83 60 80 41 40 "
    assert ends(track + delta + " ff 01 00") == [(0, 480, 60), (480, 1440, 62), (480, 960, 64), (960, 1440, 65)]


def test_the_last_note_event_may_be_on_another_track():
    hanging = "00 90 3c 50 90 00 ff 01 00"
    assert ends(hanging, "83 60 90 40 50 83 60 80 40 00") == [(0, 960, 60), (480, 960, 64)]
    assert ends("00 90 3c 50 83 00 ff 01 00", "83 60 90 40 50 83 60 80 40 00") == [(0, 384, 60), (480, 960, 64)]


def test_without_any_end_notes_stop_when_their_key_is_struck_again():
    struck = "".join(f"81 70 99 {pitch} 5a " for pitch in ("24", "2a", "24", "2a", "24"))
    assert ends(struck + "83 60 ff 01 00") == [
        (240, 720, 36),
        (480, 960, 42),
        (720, 1200, 36),
        (960, 1200, 42),
        (1200, 1200, 36),
    ]
