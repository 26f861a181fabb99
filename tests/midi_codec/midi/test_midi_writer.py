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
        4d 54 68 64 00 00 00 06  00 01 00 03 01 f4  # format 1, 3 tracks, 500 ticks a quarter note: 1 ms each
        4d 54 72 6b 00 00 00 12
        00 ff 51 03 07 a1 20                        # 500 ms a quarter note
        00 ff 01 03 6e c3 a9                        # the text, in UTF-8
        00 ff 2f 00
        4d 54 72 6b 00 00 00 10
        00 c0 05                                    # program 5
        00 90 3c 40  83 74 80 3c 00                 # pitch 60 for 500 ticks
        00 ff 2f 00
        4d 54 72 6b 00 00 00 0d
        81 7a 99 24 64  00 89 24 00                 # after 250 ticks a drum without length
        00 ff 2f 00
    """)


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
