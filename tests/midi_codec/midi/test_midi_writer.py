import dataclasses
import io
import warnings

import numpy as np
import pretty_midi
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from midi_codec.midi import midi_file, midi_writer
from midi_codec.midi.midi_header import Limits, MidiError
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MAX_TEMPO_MICROSECONDS, MILLISECONDS, Notes, canonical_tempo
from midi_codec.music.signatures import Signatures
from tests.midi_codec.midi_bytes import hexdump

LAST_TICK = 2**31 - 1
NO_LIMITS = Limits(max_seconds=1e12)  # a grid has room for pieces that last for years
QUICK = settings(deadline=None, max_examples=150)


def one_program(num_notes: int, **columns) -> Notes:
    defaults = {"pitch": 60, "velocity": 64, "start": 0, "duration": 1, "program": 0}
    given_columns = {name: columns.get(name, np.full(num_notes, value)) for name, value in defaults.items()}
    return Notes.from_columns(**given_columns)


@st.composite
def notes_of_all_kinds(draw) -> Notes:
    """Crowded or spread, on either grid, at any tempo a file can say."""
    latest = draw(st.sampled_from([0, 3, 20, 1000, 2**21, 2**28 + 1, LAST_TICK]))
    longest = draw(st.sampled_from([0, 2, 30, 2**14, 2**28]))
    row = st.tuples(
        st.integers(60, 62) | st.integers(0, 127),
        st.integers(1, 127),
        st.integers(0, latest),
        st.integers(0, longest),
        st.sampled_from([0, 7, DRUM_PROGRAM]) | st.integers(0, DRUM_PROGRAM),
    )
    pitch, velocity, start, duration, program = np.array(draw(st.lists(row, min_size=1, max_size=40))).T
    microseconds = draw(st.sampled_from([1, 999, 500_000, 857_142, MAX_TEMPO_MICROSECONDS]) | st.integers(1, 2**24 - 1))
    return Notes.from_columns(
        pitch=pitch,
        velocity=velocity,
        start=start,
        duration=np.minimum(duration, LAST_TICK - start),
        program=program,
        tempo=canonical_tempo(microseconds),
        time_base=draw(st.sampled_from([MILLISECONDS, BEATS])),
    )


@QUICK
@given(notes_of_all_kinds())
@example(one_program(2, start=np.array([0, LAST_TICK - 1])))
@example(one_program(2, start=np.array([0, 2**29 - 1])))
def test_reading_back_is_exact(notes):
    assert midi_file.parse(midi_writer.serialize(notes), time_base=notes.time_base, limits=NO_LIMITS) == notes


@QUICK
@given(st.integers(1, MAX_TEMPO_MICROSECONDS), st.integers(0, 2**20))
@example(MAX_TEMPO_MICROSECONDS, 1)
@example(999, 1)
def test_every_millisecond_survives_every_tempo(microseconds, first):
    starts = np.arange(first, first + 200)
    notes = Notes.from_columns(
        pitch=np.full(200, 60),
        velocity=np.full(200, 1),
        start=starts,
        duration=np.ones(200, int),
        program=np.zeros(200, int),
        tempo=canonical_tempo(microseconds),
    )
    assert midi_file.parse(midi_writer.serialize(notes), limits=NO_LIMITS) == notes


def test_bytes_of_a_small_piece():
    notes = Notes.from_columns(
        pitch=np.array([60, 36]),
        velocity=np.array([64, 100]),
        start=np.array([0, 250]),
        duration=np.array([500, 0]),
        program=np.array([5, DRUM_PROGRAM]),
    )
    assert midi_writer.serialize(notes, texts=["né"]) == hexdump("""
        4d 54 68 64 00 00 00 06  00 01 00 03 01 f4  # format 1, 3 tracks, 500 ticks per quarter note: 1 ms each
        4d 54 72 6b 00 00 00 12
        00 ff 01 03 6e c3 a9                        # the text, in UTF-8
        00 ff 51 03 07 a1 20                        # 500 ms per quarter note
        00 ff 2f 00
        4d 54 72 6b 00 00 00 24
        00 ff 03 10 45 6c 65 63 74 72 69 63 20 50 69 61 6e 6f 20 32  # Electric Piano 2
        00 c0 05                                    # program 5
        00 90 3c 40  83 74 80 3c 00                 # pitch 60 for 500 ticks
        00 ff 2f 00
        4d 54 72 6b 00 00 00 16
        00 ff 03 05 44 72 75 6d 73                  # Drums
        81 7a 99 24 64  00 89 24 00                 # after 250 ticks a drum without length
        00 ff 2f 00
    """)


def test_bytes_of_a_piece_with_all_that_a_sequencer_shows():
    notes = dataclasses.replace(
        Notes.from_columns(
            pitch=np.array([60, 36]),
            velocity=np.array([64, 100]),
            start=np.array([0, 24]),
            duration=np.array([24, 12]),
            program=np.array([40, DRUM_PROGRAM]),
            tempo=60.0,
            time_base=BEATS,
        ),
        signatures=Signatures.parse("6/8@-36, 3/4@36", "Eb major"),
    )
    assert midi_writer.serialize(notes, title="T", markers=[(24, "M")], data="D") == hexdump("""
        4d 54 68 64 00 00 00 06  00 01 00 03 01 e0  # 480 ticks per quarter note
        4d 54 72 6b 00 00 00 33
        00 ff 03 01 54                              # the title
        00 ff 7f 02 7d 44                           # data, after the number for private use
        00 ff 51 03 0f 42 40
        00 ff 58 04 06 03 24 08                     # 6/8, from the bar line 36 ticks before the first note
        00 ff 59 02 fd 00                           # three flats
        89 30 ff 06 01 4d                           # the marker, a beat after the first note
        81 70 ff 58 04 03 02 18 08                  # 3/4
        00 ff 2f 00
        4d 54 72 6b 00 00 00 21
        00 ff 03 06 56 69 6f 6c 69 6e               # Violin
        00 ff 59 02 fd 00
        00 c0 28
        85 50 90 3c 40  83 60 80 3c 00
        00 ff 2f 00
        4d 54 72 6b 00 00 00 17
        00 ff 03 05 44 72 75 6d 73                  # Drums
        89 30 99 24 64  81 70 89 24 00
        00 ff 2f 00
    """)


def test_signatures_are_read_back():
    notes = dataclasses.replace(
        one_program(3, start=np.array([500, 900, 1300]), duration=np.array([9, 9, 1000])),
        signatures=Signatures.parse("4/4, 3/8@700", "A minor, C major@1234"),
    )
    assert midi_file.parse(midi_writer.serialize(notes)).signatures == notes.signatures


def test_a_first_bar_line_before_the_notes_moves_them():
    notes = dataclasses.replace(one_program(2, start=np.array([0, 9])), signatures=Signatures.parse("4/4@-750"))
    read = midi_file.parse(midi_writer.serialize(notes))
    assert read.start.tolist() == [750, 759] and read.signatures.times_text == "4/4@0"
    again = read.from_first_onset()
    assert again == notes and again.signatures == notes.signatures


@pytest.mark.parametrize(
    "tempo, division",
    [(60e6, 1), (1000.0, 480), (126.0, 480), (120.0, 500), (119.0, 960), (60.0, 1920), (31.25, 1920), (3.6, 30720)],
)
def test_divisions_on_the_grid_of_milliseconds(tempo, division):
    data = midi_writer.serialize(dataclasses.replace(one_program(1), tempo=tempo))
    assert int.from_bytes(data[12:14], "big") == division


def test_no_notes_make_a_file_that_parse_refuses():
    data = midi_writer.serialize(one_program(0), texts=["nothing"])
    with pytest.raises(MidiError) as caught:
        midi_file.parse(data)
    assert caught.value.reason == "no_notes"


def test_a_tempo_that_no_event_can_say_is_refused():
    notes = Notes.from_columns(
        pitch=np.array([60]),
        velocity=np.array([1]),
        start=np.array([0]),
        duration=np.array([1]),
        program=np.array([0]),
        tempo=1.0,
    )
    with pytest.raises(ValueError, match=r"tempo is 1.0, want 3.58 to 60e6"):
        midi_writer.serialize(notes)


def test_programs_beyond_the_channels_share_them():
    programs = np.arange(0, DRUM_PROGRAM + 1)
    notes = one_program(len(programs), program=programs)
    assert midi_file.parse(midi_writer.serialize(notes)) == notes


def test_long_silence_is_bridged():
    deltas, track, message = midi_writer._fill_long_deltas(
        np.array([2**28 - 1, 2**29 - 1, 2**30]), np.array([0, 0, 1]), np.zeros((3, 3), np.uint8)
    )
    assert deltas.tolist() == [2**28 - 1, 2**28 - 1, 1, 2**28 - 1, 2**28 - 1, 2**28 - 1, 2**28 - 1, 4]
    assert track.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert message[:, 0].tolist() == [0, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0]


def read_with_pretty_midi(data: bytes) -> Notes:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of files it may misread
        return Notes.from_pretty_midi(pretty_midi.PrettyMIDI(io.BytesIO(data)))


@pytest.mark.parametrize("key", range(25))
def test_pretty_midi_reads_the_same(key):
    generator = np.random.default_rng(key)
    notes = Notes.from_columns(
        pitch=generator.integers(58, 64, 80),
        velocity=generator.integers(1, 128, 80),
        start=generator.integers(0, 5000, 80),
        duration=generator.integers(0, 900, 80) * generator.integers(0, 2, 80),
        program=generator.integers(120, DRUM_PROGRAM + 1, 80),
        tempo=canonical_tempo(int(generator.integers(200_000, 2_000_000))),
    )
    with_length = notes.take(np.flatnonzero(notes.duration))
    read = read_with_pretty_midi(midi_writer.serialize(notes))
    assert 0 < len(with_length) < len(notes)
    assert read == with_length  # it drops notes of length zero, and nothing else
