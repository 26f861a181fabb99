import dataclasses
import io

import mido
import music21
import numpy as np
import pretty_midi
import pytest

from generation_jobs.output import piece_bytes
from midi_codec.dataset import records
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes
from midi_codec.music.signatures import Signatures

KNOWN = Signatures.parse("3/4@-24", "G major")
TUNE = [67, 69, 71, 72, 74, 76, 78, 79, 74, 71, 67]  # G major


def make_tune(time_base: str = BEATS) -> Notes:
    num_notes = len(TUNE) + 1
    return Notes.from_columns(
        pitch=np.array([*TUNE, 38]),
        velocity=np.full(num_notes, 80),
        start=24 * np.arange(num_notes),
        duration=np.full(num_notes, 24),
        program=np.array([73] * len(TUNE) + [DRUM_PROGRAM]),
        tempo=100.0,
        time_base=time_base,
    )


def make_line(notes: Notes, known: Signatures = KNOWN, *, num_given: int = 4) -> piece_bytes.Line:
    return {
        "seed_id": "opus-1",
        "sample": 7,
        "path": "midi/opus-1/opus-1-00007.mid",
        "piece_id": notes.piece_id,
        "bundle": "0123456789abcdef",
        "num_primer_notes": num_given,
        "signatures": piece_bytes.describe_signatures(notes, known),
    }


@pytest.mark.parametrize("time_base", [BEATS, MILLISECONDS])
@pytest.mark.parametrize("known", [KNOWN, Signatures()])
def test_a_piece_is_read_back(known, time_base):
    notes = make_tune(time_base)
    line = make_line(notes, known)
    found, read = piece_bytes.parse_midi(piece_bytes.serialize_midi(line, notes), time_base=time_base)
    assert found == line and read == notes


@pytest.mark.parametrize(
    "known, want",
    [
        (KNOWN, {"time": "3/4@-24", "time_from": "primer", "key": "G major@0", "key_from": "primer"}),
        (Signatures(), {"time": None, "time_from": None, "key": "G major@0", "key_from": "estimate"}),
        (
            Signatures.parse("2/2"),
            {"time": "2/2@0", "time_from": "primer", "key": "G major@0", "key_from": "estimate"},
        ),
    ],
)
def test_a_line_says_where_signatures_are_from(known, want):
    assert piece_bytes.describe_signatures(make_tune(MILLISECONDS), known) == want


def test_what_a_sequencer_shows():
    notes = make_tune()
    file = mido.MidiFile(file=io.BytesIO(piece_bytes.serialize_midi(make_line(notes), notes)))
    assert (file.type, file.ticks_per_beat) == (1, 480)
    assert [track.name for track in file.tracks] == ["opus-1 7", "Flute", "Drums"]
    about, now = [], 0
    for message in file.tracks[0]:
        now += message.time
        if message.type not in ("track_name", "sequencer_specific", "end_of_track"):
            about.append((now, message.type, {k: v for k, v in message.dict().items() if k not in ("type", "time")}))
    metre = {"numerator": 3, "denominator": 4, "clocks_per_click": 24, "notated_32nd_notes_per_beat": 8}
    assert about == [
        (0, "text", {"text": "opus-1 7; model 01234567; time from primer; key from primer"}),
        (0, "set_tempo", {"tempo": 600_000}),
        (0, "time_signature", metre),
        (0, "key_signature", {"key": "G"}),
        (480 * 5, "marker", {"text": "Primer ends"}),  # four notes, after a rest of one beat
    ]


def test_pretty_midi_reads_the_music():
    notes = make_tune()
    read = pretty_midi.PrettyMIDI(io.BytesIO(piece_bytes.serialize_midi(make_line(notes), notes)))
    assert [(each.name, each.program, each.is_drum) for each in read.instruments] == [
        ("Flute", 73, False),
        ("Drums", 0, True),
    ]
    assert [(each.pitch, each.start) for each in read.instruments[0].notes] == [
        (pitch, pytest.approx(0.6 * (1 + index))) for index, pitch in enumerate(TUNE)
    ]
    assert [(each.numerator, each.denominator, each.time) for each in read.time_signature_changes] == [(3, 4, 0.0)]
    assert [pretty_midi.key_number_to_key_name(each.key_number) for each in read.key_signature_changes] == ["G Major"]


def test_music21_reads_the_bars():
    notes = make_tune()
    flute = music21.converter.parseData(piece_bytes.serialize_midi(make_line(notes), notes), format="midi").parts[0]
    assert [each.ratioString for each in flute.recurse().getElementsByClass("TimeSignature")] == ["3/4"]
    assert {each.sharps for each in flute.recurse().getElementsByClass("KeySignature")} == {1}
    bars = [[note.pitch.midi for note in bar.notes] for bar in flute.getElementsByClass("Measure")]
    assert bars == [TUNE[:2], TUNE[2:5], TUNE[5:8], TUNE[8:]]


@pytest.mark.parametrize("num_given, ticks", [(0, []), (4, [2400]), (12, [480 * 13])])
def test_where_the_primer_ends(num_given, ticks):
    notes = make_tune()
    data = piece_bytes.serialize_midi(make_line(notes, num_given=num_given), notes)
    found, now = [], 0
    for message in mido.MidiFile(file=io.BytesIO(data)).tracks[0]:
        now += message.time
        found += [now] if message.type == "marker" else []
    assert found == ticks


def test_a_file_that_is_cut_off_says_so():
    notes = make_tune()
    data = piece_bytes.serialize_midi(make_line(notes), notes)
    begin = data.index(b'{"')
    for size in range(begin, data.index(b"}", begin)):
        with pytest.raises(ValueError, match=r"^it is cut off, or bytes of it were changed$"):
            piece_bytes.parse_midi(data[:size], time_base=BEATS)


def test_a_file_of_job_format_2_is_read():
    notes = make_tune()
    line = {key: value for key, value in make_line(notes).items() if key != "signatures"}
    data = piece_bytes.serialize_midi(line, notes)
    begin = data.index(b"\xff\x7f")
    assert data[begin : begin + 5].endswith(b"\x7d")
    as_text = data[:begin] + b"\xff\x01" + data[begin + 2 :]
    assert piece_bytes.parse_midi(as_text, time_base=BEATS) == (line, notes)


def test_a_record_has_the_signatures():
    notes = make_tune()
    record = records.serialize_columns(
        piece_id=notes.piece_id,
        group_id="opus-1",
        source="midi/opus-1/opus-1-00007.mid",
        notes=dataclasses.replace(notes, signatures=KNOWN),
        provenance=piece_bytes.dumps(make_line(notes)),
    )
    assert piece_bytes.serialize_example(make_line(notes), notes) == record
