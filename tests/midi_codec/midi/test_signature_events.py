import pytest

from midi_codec.midi import midi_file
from midi_codec.midi.exact_reader import track_reader
from midi_codec.midi.midi_header import Limits, read_header
from midi_codec.midi.midi_ticks import TickBatch, to_batch
from midi_codec.music.notes import BEATS, MILLISECONDS
from midi_codec.music.signatures import Signatures
from tests.midi_codec.midi_bytes import midi

NOTES = "60 90 3c 40 60 80 3c 00 8c 00 90 3e 40 60 80 3e 00"  # at quarters 1 and 18


def both_readers(data: bytes, time_base: str = BEATS) -> Signatures:
    """The signatures, after checking that the fast reader and the exact one agree."""
    header = read_header(data, Limits())
    exact = TickBatch.of_one(track_reader.read(data, header, Limits()), header.division)
    want = to_batch(exact, time_base=time_base, limits=Limits())[0].signatures[0]
    fast = midi_file.parse(data, time_base=time_base).signatures
    assert fast == want
    return fast


@pytest.mark.parametrize(
    "events, times, keys",
    [
        ("00 ff 58 04 03 02 18 08  00 ff 59 02 fd 00", "3/4@0", "Eb major@0"),
        ("00 ff 58 04 06 03 24 08  00 ff 59 02 04 01", "6/8@0", "C# minor@0"),
        ("00 ff 58 04 01 02 18 08  60 ff 58 04 04 02 18 08", "1/4@0, 4/4@24", ""),  # an upbeat
        ("00 ff 58 04 04 02 18 08  60 ff 58 04 04 02 18 08", "4/4@0", ""),
        ("00 ff 58 04 04 07 18 08  00 ff 59 02 08 00", "", ""),  # 4/128; eight sharps
        ("00 ff 58 04 04 08 18 08  00 ff 59 02 01 00", "", ""),  # readers differ
        ("00 ff 58 05 04 02 18 08 00  00 ff 59 02 01 00", "", ""),
        ("00 ff 58 04 04 02 18 08  00 ff 59 01 01", "", ""),
        ("", "", ""),
    ],
)
def test_signatures_of_a_file(events, times, keys):
    found = both_readers(midi(events + NOTES, NOTES))
    assert (found.times_text, found.keys_text) == (times, keys)


def test_signatures_of_several_tracks():
    own = [f"00 ff 59 02 {sharps} 00 {NOTES}" for sharps in ("02", "00", "00")]
    assert both_readers(midi("00 ff 58 04 03 02 18 08 81 40 ff 58 04 02 02 18 08", *own)) == Signatures.parse(
        "3/4@0, 2/4@48", "C major@0"
    )


def test_signatures_after_the_last_note_do_not_count():
    assert both_readers(midi(NOTES + "00 ff 58 04 03 02 18 08 01 ff 58 04 02 02 18 08")).times_text == "3/4@456"


def test_signatures_on_the_grid_of_milliseconds():
    data = midi("00 ff 58 04 03 02 18 08 60 ff 51 03 0f 42 40 60 ff 58 04 02 02 18 08" + NOTES)
    assert both_readers(data, MILLISECONDS).times_text == "3/4@0, 2/4@1500"  # 500 ms, then 1,000 ms per quarter


def test_a_damaged_file_keeps_its_signatures():
    data = midi("00 ff 58 04 03 02 18 08" + NOTES.replace("3c 40", "3c c0"))
    parsed = midi_file.parse_many([data], time_base=BEATS)
    assert parsed.salvage_levels == {0: "clamped"}
    assert parsed.batch.signatures == [Signatures.parse("3/4@0")]


def test_an_odd_signature_concerns_its_own_file_alone():
    sound = midi("00 ff 58 04 03 02 18 08" + NOTES)
    odd = midi("00 ff 58 04 03 08 18 08" + NOTES)
    cut = sound + b"\xff\x58"  # after the tracks; the next file's bytes are no part of an event
    parsed = midi_file.parse_many([sound, odd, cut, odd, sound], time_base=BEATS)
    assert [each.times_text for each in parsed.batch.signatures] == ["3/4@0", "", "3/4@0", "", "3/4@0"]
