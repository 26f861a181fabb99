import struct

import pytest

from midi_codec.midi import midi_file, midi_ticks
from midi_codec.midi.exact_reader.track_events import read_events
from midi_codec.midi.midi_header import Limits, MidiError
from midi_codec.midi.salvage import chunk_repair, salvage_reader, track_repair
from midi_codec.music.notes import MILLISECONDS
from tests.midi_codec.midi_bytes import hexdump, midi, rows

LIMITS = midi_file.DEFAULT_LIMITS
REFUSED = MidiError("truncated", "as strict reading says")
SONG = "00 90 3c 40  60 80 3c 00  00 90 3e 40  60 80 3e 00"
SONG_ROWS = [(0, 500, 60, 64, 0), (500, 1000, 62, 64, 0)]
LONG = 40 * "00 90 40 40  30 80 40 00 "  # 320 bytes, 10 s
LONG_ROWS = [(250 * i, 250 * (i + 1), 64, 64, 0) for i in range(40)]


def recover(data: bytes, **options) -> tuple[str, list[tuple[int, ...]]]:
    """(level, notes in milliseconds) of a file that strict reading refuses."""
    with pytest.raises(MidiError):
        midi_file.parse(data)
    return recover_any(data, **options)


def recover_any(data: bytes, **options) -> tuple[str, list[tuple[int, ...]]]:
    recovered = salvage_reader.recover(data, limits=LIMITS, **options)
    notes = midi_ticks.to_notes(recovered.ticks, division=recovered.division, time_base=MILLISECONDS, limits=LIMITS)
    return recovered.level, sorted(rows(notes))


def is_refused(data: bytes, limits: Limits = LIMITS, error: MidiError = REFUSED) -> bool:
    with pytest.raises(MidiError) as caught:
        salvage_reader.recover(data, limits=limits, error=error)
    return caught.value is error


def with_length(data: bytes, track: int, length: int) -> bytes:
    """The file with another length in one of its track chunks."""
    position = -1
    for _ in range(track + 1):
        position = data.index(b"MTrk", position + 1)
    return data[: position + 4] + struct.pack(">I", length) + data[position + 8 :]


# clamped


def test_data_bytes_above_7f_count_as_7f():
    data = midi("00 90 3c c0  60 80 3c ff  00 90 be 40  60 80 be 00  00 c0 85  00 90 3c 40  60 80 3c 00")
    assert recover(data) == ("clamped", [(0, 500, 60, 127, 0), (500, 1000, 127, 64, 0), (1000, 1500, 60, 64, 127)])


def test_a_clamped_file_inside_another_is_repaired():
    assert recover(b"junk" + midi("00 90 3c c0  60 80 3c 00")) == ("repaired", [(0, 500, 60, 127, 0)])


# unwrapped


@pytest.mark.parametrize(
    "wrapped",
    [
        b"RIFF\x00\x00\x00\x00RMIDdata\x00\x00\x00\x00" + midi(SONG),
        bytes(128) + midi(SONG) + bytes(40),  # MacBinary: a header of 128 bytes, and padding
        b"\x00" + midi(SONG),
    ],
)
def test_a_file_inside_another_is_unwrapped(wrapped):
    assert recover(wrapped) == ("unwrapped", SONG_ROWS)


# repaired: header


def test_a_header_whose_name_is_damaged_is_known_by_its_place():
    assert recover(b"XThd" + midi(SONG)[4:]) == ("repaired", SONG_ROWS)
    assert is_refused(b"XThd\0\0\0\7" + midi(SONG)[8:])


def test_without_a_header_there_is_no_time():
    assert is_refused(midi(SONG)[14:])
    assert is_refused(midi(SONG)[:12] + midi(SONG)[14:])  # the header ends before the division
    assert is_refused(midi(SONG, division=0))
    assert is_refused(b"MThd\0\0\0\6\0\1\0\1\0")
    assert is_refused(b"")
    assert is_refused(b"<html>")


def test_formats_that_do_not_exist_are_read_like_format_1():
    assert recover(midi(SONG, midi_format=0x7401)) == ("repaired", SONG_ROWS)


def test_a_header_that_claims_to_be_short_is_read_in_its_six_bytes():
    assert recover(midi(SONG)[:7] + b"\x04" + midi(SONG)[8:]) == ("repaired", SONG_ROWS)


def test_format_2_is_one_piece_when_one_track_has_notes():
    assert recover(midi("00 ff 01 01 61", SONG, midi_format=2)) == ("repaired", SONG_ROWS)
    assert is_refused(midi(SONG, SONG, midi_format=2))


@pytest.mark.parametrize(
    "division, milliseconds",
    [
        (0xE728, 1000),  # 25 frames of 40: 1,000 ticks a second
        (0xE850, 521),  # 24 of 80: 1,920 ticks, 520.83 ms
        (0xE364, 334),  # 29.97 of 100, 333.67 ms
        (0xE264, 333),  # 30 of 100, 333.33 ms
    ],
)
def test_ticks_of_film_frames_last_the_same_at_every_tempo(division, milliseconds):
    data = midi("00 ff 51 03 00 00 01  00 90 3c 40  87 68 80 3c 00", division=division)  # 1,000 ticks
    assert recover(data) == ("repaired", [(0, milliseconds, 60, 64, 0)])
    assert is_refused(midi(SONG, division=0xE700))  # frames of no tick
    assert is_refused(midi(SONG, division=0x8000))  # frames of no film


# repaired: chunks


@pytest.mark.parametrize("length", [0, 5, 17, 0x100, 0xFFFFFFFF])
def test_lengths_of_chunks_are_repaired(length):
    data = midi(SONG, LONG)
    assert recover(with_length(data, 0, length)) == ("repaired", sorted(SONG_ROWS + LONG_ROWS))
    if length != 17:
        assert recover(with_length(data, 1, length)) == ("repaired", sorted(SONG_ROWS + LONG_ROWS))


def test_bytes_between_chunks_are_skipped():
    first, second = midi(SONG, num_tracks=2), midi(LONG)[14:]
    want = ("repaired", sorted(SONG_ROWS + LONG_ROWS))
    assert recover(first + b"\0\1\2\3" + second) == want
    assert recover(first[:14] + bytes(30) + first[14:] + bytes(9) + second) == want


def test_a_track_chunk_with_a_wrong_letter_is_a_track():
    data = midi(SONG)
    assert recover(data.replace(b"MTrk", b"MXrk")) == ("repaired", SONG_ROWS)
    assert is_refused(data.replace(b"MTrk", b"XYZk"))


def test_the_tracks_of_a_second_file_are_not_this_ones():
    cut = with_length(midi(SONG), 0, 3)
    want = [chunk_repair.TrackBounds(22, len(cut), False)]
    assert list(chunk_repair.find_tracks(cut + midi(LONG), 14)) == want
    assert list(chunk_repair.find_tracks(cut + midi(LONG), len(cut) - 3)) == []


def test_a_transfer_as_text_is_undone():
    pitch_10 = midi("0a 90 0a 0a  0a 80 0a 00" + LONG)
    assert rows(midi_file.parse(pitch_10))[0] == (52, 104, 10, 10, 0)
    level, notes = recover(pitch_10.replace(b"\n", b"\r\n"))
    assert (level, notes) == ("repaired", rows(midi_file.parse(pitch_10)))


# repaired: events


def test_what_sounds_at_the_damage_ends_there():
    whole = midi(LONG + "00 90 3c 40  30 90 3e 40  30 80 3c 00  30 80 3e 00")
    cut = whole[: whole.index(hexdump("30 80 3c 00")) + 2]  # inside the first end
    level, notes = recover(cut)
    assert level == "repaired"
    assert notes == [*LONG_ROWS, (10_000, 10_250, 60, 64, 0), (10_250, 10_250, 62, 64, 0)]


def test_every_file_that_is_cut_off_gives_the_notes_up_to_there():
    whole = midi("00 ff 51 03 07 a1 20", LONG)
    for size in range(len(whole) - 4, 60, -7):
        _, notes = recover_any(whole[:size])
        begun = [row for row in LONG_ROWS if row[0] < 250 * ((size - 45) // 8)]
        assert [row[0] for row in notes[: len(begun)]] == [row[0] for row in begun]


def test_a_track_without_an_end_is_read_to_its_last_byte():
    data = midi(LONG)
    assert recover(data[:-4]) == ("repaired", LONG_ROWS)


def test_damage_in_one_track_leaves_the_others():
    data = midi(LONG, "00 90 3c 40  60 80 3c 00  00 f4 00 3c", "00 91 43 40  60 81 43 00")
    level, notes = recover(data)
    assert level == "repaired"
    assert notes == sorted([*LONG_ROWS, (0, 500, 60, 64, 0), (0, 500, 67, 64, 0)])


def test_an_undefined_status_is_skipped_when_sound_bytes_follow():
    level, notes = recover(midi(LONG + "00 f4" + LONG))
    assert (level, len(notes), notes[-1][1]) == ("repaired", 80, 20_000)


def test_a_repair_needs_intact_bytes_after_it_unless_the_track_ends_well():
    damage = "ff ff ff ff ff"
    data = midi(LONG + "00 f4" + 4 * "00 90 3c 40 " + damage)
    assert recover(data)[1] == LONG_ROWS
    data = midi(LONG + "00 f4" + 20 * "00 90 3c 40 " + damage)
    assert len(recover(data)[1]) == 60


def test_faults_that_noise_explains_better_are_not_mended():
    noise = "00 f4 " + 20 * "00 90 3c 40 " + "ff ff ff 7f 80 3c 00 "  # a silence of days
    assert recover(midi(LONG + LONG + noise))[1] == recover(midi(LONG + LONG + "00 f4 ff ff ff ff ff"))[1]
    silence = "00 f4 " + "a4 00 90 3c 40  60 80 3c 00" + LONG + "90 80 00 90 3c 40  60 80 3c 00"  # 21 minutes
    assert len(recover(midi(LONG + LONG + silence, division=96))[1]) == 80


def test_more_faults_than_notes_are_noise():
    assert is_refused(midi("00 90 3c 40  60 80 3c 00" + 4 * "00 f4" + "00 ff 01 01 61"))


def test_damage_before_the_first_note_is_skipped():
    text = "00 ff 51 03 03 d0 90  00 ff 01 04 61 62 63 ff 05 01 0d"  # an event lost its delta
    level, notes = recover(midi(text + LONG))
    assert level == "repaired"
    assert notes == [(start // 2, end // 2, *rest) for start, end, *rest in LONG_ROWS]


def test_damage_after_a_note_ends_the_track():
    data = midi(LONG + "ff ff ff ff ff" + "00 90 3c 40  60 80 3c 00")
    assert recover(data) == ("repaired", LONG_ROWS)


def test_an_end_of_track_before_the_only_notes_is_skipped():
    data = midi("00 ff 2f 00" + SONG)
    assert recover(data) == ("repaired", SONG_ROWS)
    assert recover(midi("00 ff 2f 00  00 ff 2f 00" + SONG + "00 ff 2f 00" + LONG)) == ("repaired", SONG_ROWS)
    assert is_refused(midi("00 ff 2f 00  00 b0 07 40"))


def test_a_running_status_after_a_system_message_is_a_fault_that_is_repaired():
    want = [(0, 500, 60, 127, 0)]
    assert recover(midi("00 90 3c c0  00 f0 01 f7  60 90 3c 00")) == ("clamped", want)
    assert recover(midi("00 90 3c c0  00 f0 01 f7  60 3c 00" + "00 90 40 40" * 2))[0] == "repaired"


def test_most_of_a_file_must_be_sound():
    assert is_refused(midi("00 90 3c 40  60 80 3c 00" + 40 * "ff ff ff ff ff"))


# Limits


def test_what_breaks_a_limit_is_refused_with_the_strict_error():
    loud = midi("00 90 3c c0  60 80 3c 00  00 90 3e 40  60 80 3e 00", "00 ff 51 03 07 a1 20")
    assert recover(loud)[0] == "clamped"
    for limit in ({"max_bytes": 50}, {"max_notes": 1}, {"max_tracks": 1}, {"max_seconds": 0.5}, {"max_slow_bytes": 27}):
        assert is_refused(loud, Limits(**limit)), limit


@pytest.mark.parametrize("reason", sorted(salvage_reader.HOPELESS))
def test_what_broke_a_limit_is_not_tried_again(reason):
    assert is_refused(midi(SONG), error=MidiError(reason, "a limit"))


def test_without_an_error_of_strict_reading_there_is_one():
    with pytest.raises(MidiError) as caught:
        salvage_reader.recover(b"", limits=LIMITS)
    assert caught.value.reason == "malformed"


def test_looking_for_the_next_event_is_bounded(monkeypatch):
    num_bytes = 0

    def counted(data, begin, stop, **options):
        nonlocal num_bytes
        events = read_events(data, begin, stop, **options)
        num_bytes += events.stop - begin + 1
        return events

    monkeypatch.setattr(track_repair, "read_events", counted)
    track = "00 40" + 2000 * "00 b0 01 01 " + "ff ff ff ff ff"
    data = midi(*[track] * 60)
    assert is_refused(data)
    assert num_bytes < len(data) + track_repair.MAX_PROBE_BYTES + track_repair.MAX_TRIAL_BYTES + 2 * 8192


def test_chunks_that_are_looked_at_are_bounded(monkeypatch):
    monkeypatch.setattr(chunk_repair, "MAX_CHUNKS", 3)
    data = midi(SONG)
    chunks = data[:14] + 3 * b"abcd\0\0\0\0" + data[14:]
    assert list(chunk_repair.find_tracks(chunks, 14)) == []
    assert len(list(chunk_repair.find_tracks(chunks, 22))) == 1


# The sustain pedal, and the way through midi_file


def test_the_pedal_holds_what_is_salvaged():
    data = midi("00 b0 40 7f  00 90 3c c0  30 80 3c 00  30 b0 40 00")
    assert recover(data, apply_sustain=True) == ("clamped", [(0, 500, 60, 127, 0)])
    assert recover(data) == ("clamped", [(0, 250, 60, 127, 0)])


def test_parse_many_salvages_and_names_the_level():
    sound, loud, cut, bad = midi(SONG), midi("00 90 3c c0  60 80 3c 00"), midi(LONG)[:-40], b"<html>"
    silent_to_its_end = midi("00 ff 2f 00" + SONG)
    parsed = midi_file.parse_many([sound, loud, bad, cut, silent_to_its_end])
    assert sorted(parsed.rows.tolist()) == [0, 1, 3, 4]
    assert parsed.salvage_levels == {1: "clamped", 3: "repaired", 4: "repaired"}
    assert {row: error.reason for row, error in parsed.errors.items()} == {2: "no_header"}
    assert len(midi_file.parse_many([loud, cut], salvage=False).errors) == 2


def test_where_noise_makes_a_file_too_long_long_deltas_are_damage():
    noise = "00 f4" + 20 * "00 90 3c 40 " + 4 * "ff ff ff 7f 3c 00 "
    damaged = midi(3 * LONG, "00 90 3c 40  60 80 3c 00  ff ff ff 7f 90 3d 40  00 80 3d 00" + noise)
    assert recover(damaged)[1] == sorted(
        [(start + 10_000 * i, end + 10_000 * i, *rest) for i in range(3) for start, end, *rest in LONG_ROWS]
        + [(0, 500, 60, 64, 0)]
    )
