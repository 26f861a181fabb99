import io

import mido
import numpy as np
import pretty_midi
import pytest
import symusic

from midi_codec.midi import channels, midi_file, midi_writer
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, Notes
from tests.midi_codec.midi.test_midi_writer import one_program
from tests.midi_codec.midi_bytes import hexdump

Sounding = tuple[int, int, int, int]  # start, end, program, pitch; in ticks of the grid
FILE_TICKS = 20  # per tick of the grid of beats


def piece(*rows: tuple[int, int, int, int]) -> Notes:
    """Of (start, duration, program, pitch) on the beats grid."""
    start, duration, program, pitch = np.array(rows).T
    velocity = np.full(len(rows), 64)
    return Notes.from_columns(
        pitch=pitch, velocity=velocity, start=start, duration=duration, program=program, time_base=BEATS
    )


def names_of_tracks(data: bytes) -> list[str]:
    return [track.name for track in mido.MidiFile(file=io.BytesIO(data)).tracks]


def as_rows(notes: Notes) -> list[Sounding]:
    columns = (notes.start, notes.end, notes.program, notes.pitch)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def heard(data: bytes) -> tuple[list[Sounding], list[tuple[int, Sounding]]]:
    """What a player makes of a file: it knows channels and no tracks. All notes, and those of each channel."""
    found, sounding, programs, now = [], dict[tuple[int, int], list[tuple[int, int]]](), [0] * 16, 0
    for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(data)).tracks):
        now += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on":
            program = DRUM_PROGRAM if message.channel == 9 else programs[message.channel]
            sounding.setdefault((message.channel, message.note), []).append((now, program))
        elif message.type == "note_off":
            begin, program = sounding[message.channel, message.note].pop(0)
            found.append((message.channel, (begin // FILE_TICKS, now // FILE_TICKS, program, message.note)))
    return sorted(row for _, row in found), found


def by_track(data: bytes) -> list[tuple[int, Sounding]]:
    """The channel of each note, which its track tells from those of other tracks."""
    file = mido.MidiFile(file=io.BytesIO(data))
    found = []
    for track in file.tracks:
        alone = mido.MidiFile(ticks_per_beat=file.ticks_per_beat, tracks=[track])
        buffer = io.BytesIO()
        alone.save(file=buffer)
        found += heard(buffer.getvalue())[1]
    return found


def shared(data: bytes) -> list[tuple[int, int]]:
    """Spans of ticks in which a channel has notes of more than one program."""
    found = by_track(data)
    spans = []
    for index, (channel, (begin, end, program, _)) in enumerate(found):
        for other, (begin_of_other, end_of_other, another, _) in found[:index]:
            low, high = max(begin, begin_of_other), min(end, end_of_other)
            if channel == other and program != another and low < high:
                spans.append((low, high))
    return spans


@pytest.mark.parametrize(
    "starts, ends, want",
    [
        ([0, 10], [10, 20], [0, 0]),  # one after the other
        ([0, 10, 20], [10, 20, 30], [0, 0, 0]),
        ([0, 5], [10, 15], [0, 1]),
        ([0, 2], [10, 4], [0, 1]),  # one inside the other
        ([0, 8, 12, 22], [10, 15, 20, 30], [0, 1, 0, 0]),  # a chain needs two layers, not three
        ([0, 0, 0], [0, 0, 9], [0, 0, 0]),  # notes without length do not sound
        ([0, 5, 5, 10], [10, 5, 5, 10], [0, 1, 1, 0]),  # unless something sounds already
    ],
)
def test_layers(starts, ends, want):
    same = np.full(len(starts), 60)
    layers = channels.assign_layers(same, same, np.array(starts), np.array(ends))
    assert layers.tolist() == want
    other_pitch = channels.assign_layers(same, np.arange(len(starts)), np.array(starts), np.array(ends))
    assert not other_pitch.any()


def read_with_symusic(data: bytes) -> list[Sounding]:
    tracks = symusic.Score.from_midi(data).tracks  # type: ignore[attr-defined]  # made at run time
    return sorted(
        (
            note.time // FILE_TICKS,
            note.end // FILE_TICKS,
            DRUM_PROGRAM if track.is_drum else track.program,
            note.pitch,
        )
        for track in tracks
        for note in track.notes
    )


def read_with_pretty_midi(data: bytes) -> list[Sounding]:
    read = pretty_midi.PrettyMIDI(io.BytesIO(data))
    return sorted(
        (
            read.time_to_tick(note.start) // FILE_TICKS,
            read.time_to_tick(note.end) // FILE_TICKS,
            DRUM_PROGRAM if one.is_drum else one.program,
            note.pitch,
        )
        for one in read.instruments
        for note in one.notes
    )


def random_piece(key: int, *, programs: int, latest: int = 400) -> Notes:
    generator = np.random.default_rng(key)
    chosen = generator.choice(DRUM_PROGRAM + 1, programs, replace=False)
    rows = [
        (int(generator.integers(0, latest)), int(generator.integers(1, 90)), int(program), int(pitch))
        for program, pitch in zip(generator.choice(chosen, 150), generator.integers(58, 64, 150), strict=True)
    ]
    return piece(*rows)


@pytest.mark.parametrize("programs", [1, 2, 8, 16, 40, 129])
@pytest.mark.parametrize("key", range(4))
def test_every_reader_reads_the_same(key, programs):
    notes = random_piece(key, programs=programs)
    data = midi_writer.serialize(notes)
    assert midi_file.parse(data, time_base=BEATS) == notes
    assert read_with_symusic(data) == as_rows(notes)
    assert read_with_pretty_midi(data) == as_rows(notes)


@pytest.mark.parametrize("programs", [1, 2, 8, 15])
@pytest.mark.parametrize("key", range(4))
def test_programs_that_have_channels_enough_never_share_one(key, programs):
    assert shared(midi_writer.serialize(random_piece(key, programs=programs))) == []


@pytest.mark.parametrize("key", range(6))
def test_more_programs_share_channels_only_while_more_than_fifteen_sound(key):
    notes = random_piece(key, programs=60, latest=300 if key < 3 else 1200)
    num_sounding = np.zeros(int(notes.end.max()) + 1, int)
    for program in np.unique(notes.program[notes.program != DRUM_PROGRAM]):
        sounds = np.zeros(len(num_sounding), bool)
        for begin, end in zip(notes.start[notes.program == program], notes.end[notes.program == program], strict=True):
            sounds[begin:end] = True
        num_sounding += sounds
    spans = shared(midi_writer.serialize(notes))
    assert all((num_sounding[low:high] > 15).all() for low, high in spans)
    assert bool(spans) == bool((num_sounding > 15).any()) == (key < 3)


def test_a_player_hears_programs_that_take_turns():
    rows = [(24 * turn, 24, turn % 40, 60) for turn in range(100)]  # each begins when the one before it ends
    assert heard(midi_writer.serialize(piece(*rows)))[0] == as_rows(piece(*rows))


def test_a_piece_of_one_program_is_one_track():
    notes = piece((0, 24, 5, 60), (0, 24, 5, 64), (24, 24, 5, 60))
    assert midi_writer.serialize(notes, title="T", texts=["a"], markers=[(24, "M")]) == hexdump("""
        4d 54 68 64 00 00 00 06  00 01 00 01 01 e0  # format 1, 480 ticks per quarter note
        4d 54 72 6b 00 00 00 46
        00 ff 03 10 45 6c 65 63 74 72 69 63 20 50 69 61 6e 6f 20 32  # Electric Piano 2
        00 ff 01 01 61
        00 ff 51 03 07 a1 20
        00 c0 05
        00 90 3c 40  00 90 40 40
        83 60 ff 06 01 4d
        00 80 3c 00  00 80 40 00  00 90 3c 40
        83 60 80 3c 00
        00 ff 2f 00
    """)


def test_a_key_struck_again_while_it_sounds_takes_a_second_channel_of_the_track():
    data = midi_writer.serialize(piece((0, 30, 5, 60), (10, 10, 5, 60), (40, 10, 5, 60), (45, 20, 5, 62)))
    assert [(channel, row[:2]) for channel, row in heard(data)[1]] == [
        (1, (10, 20)),
        (0, (0, 30)),
        (0, (40, 50)),
        (0, (45, 65)),
    ]
    assert names_of_tracks(data) == ["Electric Piano 2"]


def test_drums_that_overlap_take_a_second_track():
    data = midi_writer.serialize(piece((0, 30, DRUM_PROGRAM, 36), (10, 10, DRUM_PROGRAM, 36), (40, 10, 0, 60)))
    assert names_of_tracks(data) == ["", "Acoustic Grand Piano", "Drums", "Drums (2)"]


def test_second_voices_without_a_channel_left_stay_on_their_programs_own():
    rows = [(start, 30, program, 60) for program in range(14) for start in (0, 10)]
    found = heard(midi_writer.serialize(piece(*rows)))[1]
    used: dict[int, set[int]] = {}
    for channel, (_, _, program, _) in found:
        used.setdefault(program, set()).add(channel)
    assert used[0] == {0, 15} and all(len(used[program]) == 1 for program in range(1, 14))
    assert len(set().union(*used.values())) == 15


def test_drums_take_no_channel_of_the_others():
    rows = [(start, 30, program, 60) for program in (*range(15), DRUM_PROGRAM) for start in (0, 10)]
    found = by_track(midi_writer.serialize(piece(*rows)))
    assert {channel for channel, (_, _, program, _) in found if program == DRUM_PROGRAM} == {9}
    assert len({(channel, program) for channel, (_, _, program, _) in found}) == 16
    assert sorted(row for _, row in found) == as_rows(piece(*rows))


def test_program_changes_stand_where_the_channel_is_taken_over():
    rows = [(0, 100, program, 60) for program in range(15)]
    data = midi_writer.serialize(piece(*rows, (100, 50, 20, 62), (200, 50, 3, 64)))
    changes = []
    for track in mido.MidiFile(file=io.BytesIO(data)).tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "program_change" and now:
                changes.append((now // FILE_TICKS, message.channel, message.program))
    assert changes == [(100, 0, 20)]  # 3 goes on where it was, 20 takes the channel of 0
    assert shared(data) == []


def test_many_notes_without_length_are_kept():
    notes = piece(*((5, 0, program, 60) for program in range(40)))
    assert midi_file.parse(midi_writer.serialize(notes), time_base=BEATS) == notes
    assert heard(midi_writer.serialize(notes))[0] == as_rows(notes)


def test_no_notes_need_no_channel():
    assert len(mido.MidiFile(file=io.BytesIO(midi_writer.serialize(one_program(0)))).tracks) == 1
