"""Many files at once: each gives what it gives alone."""

import dataclasses

import numpy as np
import pytest

from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import Limits, MidiError
from midi_codec.midi.salvage import salvage_reader
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.midi_codec.midi_bytes import midi, rows

NOTE = "00 90 3c 40  60 80 3c 00 "
TWO_TEMPOS = "00 ff 51 03 03 d0 90  60 ff 51 03 07 a1 20  00 ff 51 03 0f 42 40 "  # two of them at one tick
FILES = {
    "sound": midi(NOTE),
    "empty": b"",
    "no end": midi("00 90 3c 40  60 90 40 41  60 80 40 00  60 ff 01 00"),  # for the track reader
    "silent": midi("00 ff 01 00"),
    "tempos": midi(TWO_TEMPOS + NOTE),
    "refused": midi("00 90 3c 40  60 80 bc 00"),
    "drums": midi("00 99 24 40  60 89 24 00", division=480),
    "escape": midi("00 90 3c 40  30 f7 03 90 3e 40  30 80 3c 00"),
    "late": midi(8 * "ff ff ff 7f ff 01 00" + NOTE),
    "late, reader's": midi(16 * "ff ff ff 7f ff 01 00" + NOTE),
    "frames": midi(NOTE, division=0xE728),
    "last": midi("83 60 90 30 20  60 80 30 00"),
}


def outcomes(parsed: midi_file.Parsed) -> dict[int, Notes | str]:
    found: dict[int, Notes | str] = {row: parsed.batch.piece(index) for index, row in enumerate(parsed.rows.tolist())}
    assert parsed.rows.tolist() == sorted(found)
    return found | {row: error.reason for row, error in parsed.errors.items()}


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("group_bytes", [1, 150, 1 << 19])
def test_a_file_is_what_it_is_alone(monkeypatch, time_base, group_bytes):
    monkeypatch.setattr(midi_file, "GROUP_BYTES", group_bytes)
    alone: list[Notes | str] = []
    for data in FILES.values():
        try:
            alone.append(midi_file.parse(data, time_base=time_base))
        except MidiError as error:
            alone.append(error.reason)
    wanted = ["Notes", "empty", "Notes", "no_notes", "Notes", "malformed", "Notes", "Notes"]
    assert [each if isinstance(each, str) else "Notes" for each in alone[:8]] == wanted
    files = list(FILES.values())
    for key in range(5):
        order = np.random.default_rng(key).permutation(len(files))
        parsed = midi_file.parse_many([files[row] for row in order], time_base=time_base, salvage=False)
        assert outcomes(parsed) == {place: alone[row] for place, row in enumerate(order.tolist())}
        assert parsed.salvage_levels == {}


def test_limits_hold_for_each_file():
    limits = Limits(max_notes=2, max_tempo_changes=1, max_seconds=3.0)
    files = [midi(NOTE), midi(3 * NOTE), midi(2 * NOTE), midi(TWO_TEMPOS + NOTE), midi("87 68 ff 01 00" + NOTE)]
    parsed = midi_file.parse_many(files, limits=limits, salvage=False)
    assert parsed.rows.tolist() == [0, 2]
    assert {row: str(error) for row, error in parsed.errors.items()} == {
        1: "3 notes, want at most 2",
        3: "3 tempo changes, want at most 1",
        4: "lasts 6 s, want at most 3",
    }


def test_tempos_of_two_files_do_not_contradict_each_other():
    files = [midi("00 ff 51 03 03 d0 90 " + NOTE), midi("00 ff 51 03 07 a1 20 " + NOTE)]
    parsed = midi_file.parse_many(files, limits=Limits(max_slow_bytes=1), salvage=False)
    assert (parsed.errors, parsed.batch.tempo.tolist()) == ({}, [240.0, 120.0])


def test_no_files():
    parsed = midi_file.parse_many([])
    assert (len(parsed.batch), parsed.rows.tolist(), parsed.errors, parsed.salvage_levels) == (0, [], {}, {})
    with pytest.raises(ValueError, match="time_base is 'bars'"):
        midi_file.parse_many([], time_base="bars")


def test_what_is_refused_is_salvaged_when_asked():
    files = [midi(NOTE), FILES["refused"], midi("00 ff 01 00"), b"no MIDI", midi(NOTE)]
    parsed = midi_file.parse_many(files)
    assert parsed.rows.tolist() == [0, 1, 4]
    assert list(parsed.salvage_levels) == [1] and parsed.salvage_levels[1] in salvage_reader.LEVELS
    assert {row: error.reason for row, error in parsed.errors.items()} == {2: "no_notes", 3: "no_header"}
    assert rows(parsed.batch.piece(0)) == rows(parsed.batch.piece(2)) == [(0, 500, 60, 64, 0)]
    strict = midi_file.parse_many(files, salvage=False)
    assert (strict.rows.tolist(), strict.salvage_levels, strict.errors[1].reason) == ([0, 4], {}, "malformed")


def test_salvaged_notes_beyond_the_grid_are_the_strict_error(monkeypatch):
    """`recover` looks at milliseconds; on the other grid the piece may still be too long."""
    real = salvage_reader.recover(FILES["refused"], limits=midi_file.DEFAULT_LIMITS)
    late = dataclasses.replace(real, ticks=dataclasses.replace(real.ticks, end=real.ticks.end + 2**40))
    monkeypatch.setattr(salvage_reader, "recover", lambda *_, **__: late)
    parsed = midi_file.parse_many([FILES["refused"]])
    assert (parsed.errors[0].reason, parsed.salvage_levels, len(parsed.batch)) == ("malformed", {}, 0)
