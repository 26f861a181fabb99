import io

import mido
import numpy as np
import pytest

from midi_codec.midi import midi_file, midi_writer
from midi_codec.midi.exact_reader import channel_sounds, file_messages, note_pairing, track_events, track_reader
from midi_codec.midi.midi_header import MidiError, read_header
from midi_codec.music.notes import Notes
from tests.midi_codec.midi_bytes import hexdump, midi

LIMITS = midi_file.DEFAULT_LIMITS


def events_of(track: str) -> track_events.TrackEvents:
    data = hexdump(track)
    return track_events.read_events(data, 0, len(data))


def messages(events: track_events.TrackEvents) -> list[tuple[int, str]]:
    return [(tick, f"{message:06x}") for tick, message in zip(events.ticks, events.messages, strict=True)]


def pairs(track: str) -> list[tuple[int, ...]]:
    """(start, end, pitch, velocity, program, channel) of each note, by key, then in file order."""
    messages = file_messages.join([events_of(track)])
    notes = note_pairing.pair_notes(messages)
    program, channel = channel_sounds.programs(messages, notes.row), messages.channel[notes.row]
    columns = (notes.start, notes.end, notes.pitch, notes.velocity, program, channel)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_events_of_every_kind_are_skipped():
    events = events_of("""
        00 c0 05            # program change
        00 90 3c 40         # note on
        01 a0 3c 01         # aftertouch of a key, of a channel; control; pitch bend: not kept
        01 d0 01
        01 b0 07 64
        01 e0 00 40
        01 f0 03 43 10 f7   # system exclusive, and its continuation
        01 f7 02 43 f7
        01 f1 00            # system common
        01 f2 00 00
        01 f3 00
        01 f6
        01 f8               # real time
        01 fe
        01 ff 58 04 04 02 18 08
        01 ff 51 03 07 a1 20
        81 00 80 3c 00
        00 ff 2f 00
        00 90 3c 40         # after the end
    """)
    assert messages(events) == [(0, "c00500"), (0, "903c40"), (142, "803c00")]
    assert (events.tempo_ticks.tolist(), events.tempo_microseconds.tolist()) == ([14], [500_000])
    assert (events.last_tick, events.damage) == (142, None)


def test_running_status_goes_on_over_meta_and_system_messages():
    events = events_of("00 90 3c 40  01 ff 01 01 61  01 3c 00  01 f0 01 f7  01 3e 40  01 f8  01 3e 00")
    assert messages(events) == [(0, "903c40"), (2, "903c00"), (4, "903e40"), (6, "903e00")]


def test_deltas_of_one_to_four_septets():
    events = events_of("7f 90 3c 40  ff 7f 3c 00  ff ff 7f 3c 40  ff ff ff 7f 3c 00")
    assert [tick for tick, _ in messages(events)] == list(np.cumsum([127, 2**14 - 1, 2**21 - 1, 2**28 - 1]))


def test_ticks_do_not_wrap():
    events = events_of(40 * "ff ff ff 7f 90 3c 40 ")
    assert events.last_tick == 40 * (2**28 - 1) > 2**32


@pytest.mark.parametrize(
    "track, num_messages, damage",
    [
        ("00 90 3c 40  00 90 3c", 1, "at byte 4: the track ends inside a message"),
        ("00 90 3c 40  00", 1, "at byte 4: the track ends after a delta"),
        ("00 90 3c 40  80", 1, "at byte 4: a length without an end"),
        ("00 90 3c 40  80 80 80 80 00", 1, "at byte 4: a length without an end"),
        ("00 3c 40", 0, "at byte 0: data byte 0x3c without a status before it"),
        ("00 90 80 40", 0, "at byte 0: data byte 0x80 in a message 0x90, want at most 0x7f"),
        ("00 90 3c ff", 0, "at byte 0: data byte 0xff in a message 0x90, want at most 0x7f"),
        ("00 ff", 0, "at byte 0: the track ends inside a meta event"),
        ("00 ff 01", 0, "at byte 0: a length without an end"),
        ("00 ff 01 05 61", 0, "at byte 0: a meta event of 5 bytes, 1 are left"),
        ("00 f0 05 61", 0, "at byte 0: a system message of 5 bytes, 1 are left"),
        ("00 f2 00", 0, "at byte 0: a system message of 2 bytes, 1 are left"),
        ("00 f5", 0, "at byte 0: undefined status 0xf5"),
    ],
)
def test_damage_is_named_and_what_came_before_is_kept(track, num_messages, damage):
    events = events_of(track)
    assert (len(events.messages), events.damage) == (num_messages, damage)
    data = midi(track)
    data = data[:18] + (len(data) - 26).to_bytes(4, "big") + data[22:-4]  # without the end of track
    with pytest.raises(MidiError, match=r"malformed MIDI: track 0, at byte \d+: ") as caught:
        track_reader.read(data, read_header(data, LIMITS), LIMITS)
    assert caught.value.reason == "malformed"


def test_orphan_ends_double_note_ons_and_a_note_without_an_end():
    track = "00 80 3c 00  00 90 3c 40  01 90 3c 41  01 80 3c 00  01 80 3c 00  00 80 3c 00  01 90 40 01"
    assert pairs(track) == [(0, 2, 60, 64, 0, 0), (1, 3, 60, 65, 0, 0), (4, 4, 64, 1, 0, 0)]


def test_only_the_key_that_lacks_an_end_is_played():
    track = "00 90 3c 40  00 90 3e 40  01 90 3c 41  00 90 3e 41  01 80 3c 00  00 80 3e 00  01 80 3e 00"
    assert [(pitch, start, end) for start, end, pitch, *_ in pairs(track)] == [
        (60, 0, 1),
        (60, 1, 2),
        (62, 0, 2),
        (62, 1, 3),
    ]


def test_an_end_before_the_notes_of_a_key_does_not_count_against_them():
    # with the first end counted, the key would have as many ends as notes
    assert [row[:2] for row in pairs("00 80 3c 00  01 90 3c 40  01 90 3c 41  01 80 3c 00  01 ff 01 00")] == [
        (1, 2),
        (2, 3),
    ]


def test_program_is_the_one_at_the_start_of_the_note():
    track = "00 c0 05  00 90 3c 40  01 c0 06  01 80 3c 00  00 90 3c 40  00 99 3c 40  01 80 3c 00  00 89 3c 00"
    assert [(program, channel) for *_, program, channel in pairs(track)] == [(5, 0), (6, 0), (128, 9)]


def test_an_empty_track_has_no_notes():
    assert pairs("") == []
    assert pairs("00 80 3c 00") == []


def _stop(note: tuple[int, int], tick: int, strokes: list[int]) -> tuple[int, int, int]:
    start, velocity = note
    return start, min([tick, *(stroke for stroke in strokes if stroke > start)]), velocity


def paired_one_by_one(events: track_events.TrackEvents) -> list[tuple[int, int, int, int]]:
    """(channel << 7 | pitch, start, end, velocity) by the rules of docs/midi.md, message by message."""
    keys: dict[int, list[tuple[int, int]]] = {}
    for tick, message in zip(events.ticks, events.messages, strict=True):
        velocity = message & 0x7F if message >> 20 == 9 else 0
        keys.setdefault((message >> 16 & 0x0F) << 7 | message >> 8 & 0x7F, []).append((tick, velocity))
    notes = []
    for key, messages in keys.items():
        sounding, ended = [], []
        for tick, velocity in messages:
            if velocity:
                sounding.append((tick, velocity))
            elif sounding:
                ended.append((key, sounding[0][0], tick, sounding.pop(0)[1]))
        if sounding:
            ended, sounding = [], []
            strokes = [tick for tick, velocity in messages if velocity]
            for tick, velocity in messages:
                if velocity:
                    sounding.append((tick, velocity))
                    continue
                stopped = [note for note in sounding if note[0] < tick] or sounding
                sounding = [note for note in sounding if note not in stopped]
                ended += [(key, *_stop(note, tick, strokes)) for note in stopped]
            last = min(events.last_tick, events.ticks[-1])
            ended += [(key, *_stop(note, last, strokes)) for note in sounding]
        notes += ended
    return sorted(notes)


@pytest.mark.parametrize("key", range(40))
def test_pairing_against_a_loop(key):
    random = np.random.Generator(np.random.Philox(key))
    events = track_events.TrackEvents()
    for tick in np.sort(random.integers(0, 50, 60)):
        status = int(random.choice([0x80, 0x90, 0x90, 0x81, 0x91]))
        events.ticks.append(int(tick))
        events.messages.append(status << 16 | int(random.integers(60, 64)) << 8 | int(random.integers(0, 3)))
    events.last_tick = 55
    messages = file_messages.join([events])
    notes = note_pairing.pair_notes(messages)
    keys = messages.channel[notes.row] << 7 | notes.pitch
    columns = (keys, notes.start, notes.end, notes.velocity)
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == paired_one_by_one(events)


def test_the_sustain_pedal_holds_the_notes_of_its_channel():
    data = midi(
        "00 b0 40 7f  00 90 3c 40  00 91 3e 40  10 80 3c 00  00 81 3e 00  20 b0 40 00",
        "00 90 40 40  10 80 40 00  00 b1 40 40  00 91 43 40  10 81 43 00  20 ff 01 00",  # never let go
    )
    header = read_header(data, LIMITS)
    plain, held = (track_reader.read(data, header, LIMITS, apply_sustain=asked) for asked in (False, True))
    assert dict(zip(plain.pitch.tolist(), plain.end.tolist(), strict=True)) == {60: 16, 62: 16, 64: 16, 67: 32}
    assert dict(zip(held.pitch.tolist(), held.end.tolist(), strict=True)) == {60: 48, 62: 32, 64: 48, 67: 32}


def test_tempos_merge_by_tick_then_track():
    data = midi(
        "05 ff 51 03 00 00 01  00 ff 51 03 00 00 00", "05 ff 51 03 00 00 02  05 ff 51 03 00 00 03", "00 90 3c 40"
    )
    ticks, microseconds = track_reader.read_tempos(data, read_header(data, LIMITS), LIMITS)
    assert (ticks.tolist(), microseconds.tolist()) == ([5, 5, 10], [1, 2, 3])


@pytest.mark.parametrize("key", range(10))
def test_mido_reads_the_same_events(key):
    generator = np.random.default_rng(key)
    notes = Notes.from_columns(
        pitch=generator.integers(0, 128, 50),
        velocity=generator.integers(1, 128, 50),
        start=generator.integers(0, 100_000, 50),
        duration=generator.integers(0, 30_000, 50),
        program=generator.integers(0, 129, 50),
    )
    data = midi_writer.serialize(notes, texts=["text"])
    header = read_header(data, LIMITS)
    tracks = mido.MidiFile(file=io.BytesIO(data)).tracks
    assert len(tracks) == len(header.tracks)
    for track, bounds in zip(tracks, header.tracks, strict=True):
        tick, want = 0, []
        for event in track:
            tick += event.time
            if event.type in ("note_on", "note_off", "program_change"):
                want.append((tick, bytes(event.bytes()).ljust(3, b"\0").hex()))
        assert messages(track_events.read_events(data, *bounds)) == want
