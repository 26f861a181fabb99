import pickle
from typing import Any

import numpy as np
import pytest

from midi_codec.midi import midi_file, midi_writer
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.fast_reader import symusic_reader
from midi_codec.midi.midi_header import Limits, MidiError, read_header
from midi_codec.music.notes import BEATS, Notes
from tests.midi_codec.midi_bytes import hexdump, midi, rows

ONE_NOTE = hexdump("""
    4d 54 68 64 00 00 00 06  00 00 00 01 00 60  # MThd, format 0, 1 track, 96 ticks a quarter note
    4d 54 72 6b 00 00 00 0c                     # MTrk, 12 bytes
    00 90 3c 40                                 # note on, pitch 60, velocity 64
    60 80 3c 00                                 # 96 ticks later, 0.5 s at 120 a minute: note off
    00 ff 2f 00                                 # end of track
""")


def reason_of(data: bytes, **limits) -> str:
    with pytest.raises(MidiError) as caught:
        midi_file.parse(data, limits=Limits(**limits))
    assert str(caught.value)
    return caught.value.reason


def goes_to_track_reader(data: bytes) -> bool:
    header = read_header(data, midi_file.DEFAULT_LIMITS)
    return symusic_reader.read_many([data], [header], midi_file.DEFAULT_LIMITS).left == [0]


# What a sound file says.


def test_one_note():
    notes = midi_file.parse(ONE_NOTE)
    assert rows(notes) == [(0, 500, 60, 64, 0)]
    assert (notes.tempo, notes.time_base) == (120.0, "milliseconds")
    assert rows(midi_file.parse(ONE_NOTE, time_base=BEATS)) == [(0, 24, 60, 64, 0)]
    with pytest.raises(ValueError, match="time_base is 'bars'"):
        midi_file.parse(ONE_NOTE, time_base="bars")


def test_leading_silence_is_kept_and_halves_round_up():
    # at 500 ticks a quarter note and 0.5 s a quarter note, a tick is a millisecond; at 1000, half of one
    track = "83 74 90 3c 40   01 80 3c 00"  # on at 500, off at 501
    assert rows(midi_file.parse(midi(track, division=500))) == [(500, 501, 60, 64, 0)]
    assert rows(midi_file.parse(midi("01 90 3c 40  02 80 3c 00", division=1000))) == [(1, 2, 60, 64, 0)]
    # 96 ticks a quarter note and 24 grid ticks: 2 ticks are half a grid tick
    assert rows(midi_file.parse(midi("02 90 3c 40  04 80 3c 00"), time_base=BEATS)) == [(1, 2, 60, 64, 0)]


def test_velocity_zero_and_running_status():
    assert rows(midi_file.parse(midi("00 90 3c 40  60 3c 00  00 3e 41  60 3e 00"))) == [
        (0, 500, 60, 64, 0),
        (500, 1000, 62, 65, 0),
    ]


def test_program_is_the_channels_and_drums_are_128():
    data = midi(
        "00 c0 05  00 90 3c 40  60 80 3c 00",  # channel 1, program 5
        "00 90 3d 40  60 80 3d 00",  # channel 1 of another track: the same
        "00 c9 07  00 99 24 40  60 89 24 00",  # channel 10: drums, whatever program it names
        "00 90 3e 40  30 c0 08  30 80 3e 00",  # the one at the start of the note: its own comes later
    )
    assert rows(midi_file.parse(data)) == [
        (0, 500, 36, 64, 128),
        (0, 500, 60, 64, 5),
        (0, 500, 61, 64, 5),
        (0, 500, 62, 64, 5),
    ]


def test_tempo_changes_count_on_any_track():
    data = midi(
        "00 ff 58 04 04 02 18 08",
        "00 90 3c 40  30 ff 51 03 03 d0 90  30 80 3c 00",  # after 48 ticks 250 ms a quarter note, not 500
    )
    notes = midi_file.parse(data)
    assert rows(notes) == [(0, 375, 60, 64, 0)]
    assert notes.tempo == 120.0


def test_tempo_is_the_one_at_the_first_onset():
    data = midi("00 ff 51 03 0f 42 40  60 ff 51 03 03 d0 90  00 90 3c 40  60 80 3c 00  00 ff 51 03 07 a1 20")
    notes = midi_file.parse(data)
    assert notes.tempo == 240.0
    assert rows(notes) == [(1000, 1250, 60, 64, 0)]


def test_equal_notes_in_other_tracks_give_equal_columns():
    first, second = "00 90 3c 40  60 80 3c 00", "00 91 40 41  30 81 40 00"
    assert midi_file.parse(midi(first, second)) == midi_file.parse(midi(second, first))


# Pairing of note-ons and note-offs, one rule a test; each is a row of the table in docs/midi.md.


def test_double_note_ons_end_first_in_first_out():
    data = midi("00 90 3c 40  60 90 3c 50  60 80 3c 00  60 80 3c 00")
    assert rows(midi_file.parse(data)) == [(0, 1000, 60, 64, 0), (500, 1500, 60, 80, 0)]
    assert not goes_to_track_reader(data)


def test_notes_of_length_zero_are_kept():
    assert rows(midi_file.parse(midi("60 90 3c 40  00 80 3c 00"))) == [(500, 500, 60, 64, 0)]


def test_note_without_an_end_ends_with_the_last_note():
    data = midi("00 90 3c 40  60 90 40 41  60 80 40 00  60 ff 01 00")
    assert goes_to_track_reader(data)
    assert rows(midi_file.parse(data)) == [(0, 1000, 60, 64, 0), (500, 1000, 64, 65, 0)]


def test_missing_end_does_not_shift_the_ends_of_later_notes():
    # the first of three notes has no end: the next stroke stops it, the third is untouched
    data = midi("00 90 3c 40  60 90 3c 50  60 80 3c 00  60 90 3c 60  60 80 3c 00")
    assert rows(midi_file.parse(data)) == [(0, 500, 60, 64, 0), (500, 1000, 60, 80, 0), (1500, 2000, 60, 96, 0)]


def test_orphan_ends_are_ignored():
    assert rows(midi_file.parse(midi("00 80 3c 00  00 90 3c 40  60 80 3c 00  00 80 3c 00"))) == [(0, 500, 60, 64, 0)]


def test_an_end_on_another_track_or_channel_is_not_the_notes_end():
    later = "60 90 40 41  60 80 40 00"
    want = [(0, 1000, 60, 64, 0), (500, 1000, 64, 65, 0)]
    assert rows(midi_file.parse(midi("00 90 3c 40" + later, "30 80 3c 00"))) == want
    assert rows(midi_file.parse(midi("00 90 3c 40  30 81 3c 00  30 90 40 41  60 80 40 00"))) == want


# What symusic would misread in silence.


@pytest.mark.parametrize(
    "track, want",
    [
        ("00 90 3c 40  30 f7 03 90 3e 40  30 80 3c 00", [(0, 500, 60, 64, 0)]),  # an escape
        ("00 f0 02 43 7f  30 f7 02 43 f7  00 90 3c 40  60 80 3c 00", [(250, 750, 60, 64, 0)]),  # sysex in two parts
        ("00 ff 51 02 03 d0  00 90 3c 40  60 80 3c 00", [(0, 500, 60, 64, 0)]),  # a tempo of two bytes says nothing
        ("00 ff 51 04 03 d0 90 00  00 90 3c 40  60 80 3c 00", [(0, 250, 60, 64, 0)]),  # of four: its first three
        ("00 ff 51 03 00 00 00  00 90 3c 40  60 80 3c 00", [(0, 500, 60, 64, 0)]),  # time does not stand still
    ],
)
def test_the_track_reader_gets_what_symusic_misreads(track, want):
    assert goes_to_track_reader(midi(track))
    assert rows(midi_file.parse(midi(track))) == want


def test_bytes_f7_that_are_no_status_stay_with_symusic():
    track = "00 f0 05 7e 7f 09 01 f7  81 77 90 3c 40  f7 00 80 3c 00"  # end of sysex; inside a delta
    assert not goes_to_track_reader(midi(track))
    assert rows(midi_file.parse(midi(track, division=500))) == [(247, 15479, 60, 64, 0)]


def test_sums_of_deltas_beyond_int32_do_not_wrap():
    # 16 of the longest deltas are 2^32 - 16: in int32, the note would begin at tick 80
    silence = 16 * "ff ff ff 7f ff 01 00"
    track = silence + "60 90 3c 40  81 48 80 3c 00"
    data = midi("00 ff 51 03 00 00 01" + track, division=1)  # 1 us a tick
    assert goes_to_track_reader(data)
    assert rows(midi_file.parse(data)) == [(4294967, 4294968, 60, 64, 0)]  # 4,294,967.376 and .576 ms
    assert reason_of(midi(track)) == "too_long"
    assert goes_to_track_reader(midi("00 90 3c 40" + 8 * "ff ff ff 7f 3c 40" + "00 3c 00"))  # wraps below zero


def test_what_only_the_slow_reader_can_read_is_bounded():
    data = midi("00 90 3c 40  60 90 3c 40  60 80 3c 00")  # the one without an end
    with pytest.raises(MidiError, match="16 bytes that only the slow reader reads, want at most 15") as caught:
        midi_file.parse(data, limits=Limits(max_slow_bytes=15))
    assert caught.value.reason == "too_costly"
    assert len(midi_file.parse(data, limits=Limits(max_slow_bytes=16))) == 2
    tempos = midi("00 ff 51 03 03 d0 90  00 ff 51 03 03 d0 91", "00 90 3c 40  60 80 3c 00")
    assert reason_of(tempos, max_slow_bytes=17) == "too_costly"
    assert len(midi_file.parse(tempos, limits=Limits(max_slow_bytes=18))) == 1


def test_tempo_events_are_not_taken_for_long_deltas():
    tempos = 40 * "9e 00 ff 51 03 06 ef 91 "  # the last byte of a tempo, then a delta of 3,840: EF 91 9E 00
    data = midi(tempos + "00 90 3c 40  60 80 3c 00", division=480)
    assert not goes_to_track_reader(data)
    assert len(midi_file.parse(data)) == 1


def test_times_that_no_integer_holds_are_too_long():
    silence = 4096 * "ff ff ff 7f ff 01 00" + "00 90 3c 40  60 80 3c 00"
    assert reason_of(midi("00 ff 51 03 ff ff ff" + silence), max_seconds=1e30) == "too_long"
    fast = midi("00 ff 51 03 00 00 01" + 20 * "ff ff ff 7f ff 01 00" + "00 90 3c 40  01 80 3c 00", division=1)
    assert len(midi_file.parse(fast)) == 1
    with pytest.raises(MidiError, match=r"ends at tick [\d,]+ of the grid, want at most 2,147,483,647"):
        midi_file.parse(fast, time_base=BEATS)


def test_of_many_tempos_at_one_tick_the_last_counts():
    tempos = "".join(f"00 ff 51 03 {500_000 + change:06x}" for change in range(100))
    notes = midi_file.parse(midi(tempos, "00 ff 51 03 03 d0 90  00 90 3c 40  60 80 3c 00"))
    assert rows(notes) == [(0, 250, 60, 64, 0)]


def test_more_tracks_than_the_header_says_are_read():
    track = "00 90 3c 40  60 80 3c 00"
    data = midi(track, track.replace("3c", "3e"), num_tracks=1)
    assert midi_file.parse(data).pitch.tolist() == [60, 62]


def test_events_after_the_end_of_track_are_not_read():
    data = midi("00 90 3c 40  60 80 3c 00  00 ff 2f 00  00 90 3e 40  60 80 3e 00")
    assert midi_file.parse(data).pitch.tolist() == [60]


def test_end_of_track_bytes_that_are_text_do_not_fool_the_reader():
    text = "00 ff 01 03 ff 2f 00"  # a track whose last event is a text made of these bytes
    whole = midi("00 90 3c 40  60 80 3c 00" + text)[:-4]
    data = whole[:18] + (len(whole) - 22).to_bytes(4, "big") + whole[22:]
    assert rows(midi_file.parse(data)) == [(0, 500, 60, 64, 0)]


def test_bytes_between_and_after_the_tracks():
    first, second = midi("00 90 3c 40  60 80 3c 00"), midi("00 90 3e 40  60 80 3e 00")
    chunk, junk = b"XFIH\0\0\0\2ab", b"\0\1\2\3\0\0\0\2ab"
    two = first[:10] + b"\0\2" + first[12:]
    assert midi_file.parse(two + chunk + second[14:]).pitch.tolist() == [60, 62]
    assert midi_file.parse(two).pitch.tolist() == [60]  # the header is wrong, and all bytes are read
    assert midi_file.parse(first + junk).pitch.tolist() == [60]
    assert reason_of(two + junk + second[14:]) == "damaged_chunk"
    assert reason_of(first[:21] + b"\x04" + first[22:]) == "damaged_chunk"  # the track says 4 of its 12 bytes


def test_a_longer_header_is_skipped():
    assert rows(midi_file.parse(ONE_NOTE[:7] + b"\x08" + ONE_NOTE[8:14] + b"ab" + ONE_NOTE[14:])) == [
        (0, 500, 60, 64, 0)
    ]


# What cannot be used.


@pytest.mark.parametrize(
    "reason, data",
    [
        ("empty", b""),
        ("no_header", b"RIFF" + ONE_NOTE),
        ("no_header", b"MT"),
        ("truncated", ONE_NOTE[:10]),
        ("truncated", ONE_NOTE[:-1]),
        ("damaged_chunk", ONE_NOTE[:19]),
        ("no_tracks", ONE_NOTE[:14]),
        ("bad_header_length", ONE_NOTE[:7] + b"\x05" + ONE_NOTE[8:]),
        ("multi_song", midi("00 90 3c 40  60 80 3c 00", midi_format=2)),
        ("bad_format", midi("00 90 3c 40  60 80 3c 00", midi_format=9)),
        ("zero_division", midi("00 90 3c 40  60 80 3c 00", division=0)),
        ("smpte_division", midi("00 90 3c 40  60 80 3c 00", division=0xE728)),
        ("no_notes", midi("00 ff 51 03 07 a1 20")),
        ("no_notes", midi("00 80 3c 00")),
        ("malformed", midi("00 3c 40")),  # data without a status
        ("malformed", midi("00 90 bc 40")),  # a data byte above 0x7f
        ("malformed", midi("80 80 80 80 00 90 3c 40")),  # a delta of five septets
        ("malformed", midi("00 ff 01 7f 61")),  # a text longer than its track
        ("malformed", midi("00 f4")),  # an undefined status
    ],
)
def test_reasons(reason, data):
    assert reason_of(data) == reason


def test_limits_hold_to_the_unit():
    two = midi("00 90 3c 40  60 80 3c 00  00 90 3e 40  60 80 3e 00", "00 ff 51 03 07 a1 20  60 ff 51 03 07 a1 21")
    exact: dict[str, Any] = dict(max_bytes=len(two), max_tracks=2, max_notes=2, max_seconds=1.1, max_tempo_changes=2)
    assert len(midi_file.parse(two, limits=Limits(**exact))) == 2
    reasons = {name: reason_of(two, **exact | {name: limit * 0.9}) for name, limit in exact.items()}
    assert reasons == {
        "max_bytes": "too_large",
        "max_tracks": "too_many_tracks",
        "max_notes": "too_many_notes",
        "max_seconds": "too_long",
        "max_tempo_changes": "too_many_tempo_changes",
    }
    with pytest.raises(ValueError, match="max_notes is 0, want more than 0"):
        Limits(max_notes=0)


def test_error_keeps_its_reason_across_processes():
    error = pickle.loads(pickle.dumps(MidiError("no_notes", "the file holds no note")))
    assert (error.reason, str(error)) == ("no_notes", "the file holds no note")


# Both readers give the same, on files of all kinds.


def random_notes(generator: np.random.Generator, num_notes: int) -> Notes:
    """Crowded enough that pitches overlap, on a few programs and drums."""
    return Notes.from_columns(
        pitch=generator.integers(58, 66, num_notes),
        velocity=generator.integers(1, 128, num_notes),
        start=generator.integers(0, 4000, num_notes),
        duration=generator.integers(0, 600, num_notes),
        program=generator.choice([0, 5, 128], num_notes),
    )


@pytest.mark.parametrize("key", range(20))
def test_readers_agree(key):
    data = midi_writer.serialize(random_notes(np.random.default_rng(key), 60))
    header = read_header(data, midi_file.DEFAULT_LIMITS)
    fast = symusic_reader.read_many([data], [header], midi_file.DEFAULT_LIMITS).ticks
    exact = track_reader.read(data, header, midi_file.DEFAULT_LIMITS)
    assert len(fast) == 1
    for name in ("start", "end", "pitch", "velocity", "program"):
        assert sorted(getattr(fast, name).tolist()) == sorted(getattr(exact, name).tolist())
    assert fast.tempo_ticks.tolist() == exact.tempo_ticks.tolist()
    assert fast.tempo_microseconds.tolist() == exact.tempo_microseconds.tolist()


@pytest.mark.parametrize("key", range(400))
def test_damaged_files_are_notes_or_midi_errors(key):
    generator = np.random.default_rng([2, key])
    data = bytearray(midi_writer.serialize(random_notes(generator, 20), texts=["a text"]))
    for _ in range(generator.integers(1, 6)):
        position = int(generator.integers(len(data)))
        match generator.integers(4):
            case 0:
                data[position] = generator.integers(256)
            case 1:
                data[position] ^= 1 << int(generator.integers(8))
            case 2:
                del data[position : position + int(generator.integers(1, 9))]
            case 3:
                data[position:position] = generator.bytes(int(generator.integers(1, 9)))
        if not data:
            break
    for time_base in ("milliseconds", "beats"):
        try:
            notes = midi_file.parse(bytes(data), time_base=time_base)
        except MidiError as error:
            assert error.reason.isidentifier()
        else:
            assert len(notes) > 0
            assert midi_file.parse(midi_writer.serialize(notes), time_base=time_base) == notes
