"""The notes that other tools find in a MIDI file, and whether a named rule explains how ours differ."""

from __future__ import annotations

import collections
import dataclasses
import io
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import mido
import numpy as np
import pretty_midi
from symusic.core import ScoreTick

from midi_codec.midi import midi_file
from midi_codec.midi.exact_reader.track_events import NOTE_ON, PROGRAM_CHANGE, TrackEvents
from midi_codec.midi.salvage import salvage_reader
from midi_codec.music.notes import DRUM_PROGRAM, Notes

TOLERANCE_SECONDS = 0.001
DRUM_CHANNEL = 9
Message = tuple[int, int, int]  # tick, velocity (0 ends), program of the channel
Note = tuple[int, int, int, int]  # velocity, program, start, end in ticks
Pairing = Callable[[list[Message], int], list[Note]]


@dataclasses.dataclass(frozen=True)
class Verdict:
    kind: str  # equal, by rule, unexplained
    rule: str = ""

    @property
    def severity(self) -> int:
        return ("equal", "by rule", "unexplained").index(self.kind)


def judge(data: bytes, notes: Notes | None, level: str) -> dict[str, Verdict]:
    """A verdict on our notes for each tool that finds any."""
    verdicts = {}
    for tool, read in TOOLS.items():
        try:
            theirs = read(data)
        except Exception:  # noqa: BLE001 any exception means that it cannot read the file
            continue
        if len(theirs):
            verdicts[tool] = _compare(tool, data, notes, level, theirs)
    return verdicts


def note_table(notes: Notes) -> np.ndarray:
    """`[n, 5]`: pitch, velocity, program, start and end in seconds."""
    seconds = notes.seconds_per_tick
    columns = [notes.pitch, notes.velocity, notes.program, notes.start * seconds, notes.end * seconds]
    return np.stack(columns, axis=1, dtype=float)


def _compare(tool: str, data: bytes, notes: Notes | None, level: str, theirs: np.ndarray) -> Verdict:
    if notes is None:
        return _explain_refusal(theirs)
    ours = note_table(notes)
    if agree(ours, theirs):
        return Verdict("equal")
    if tool == "mido" and agree(ours, _read_mido(data, past_end=False)):
        return Verdict("by rule", "events after an end of track")
    for rule, paired in _by_rules(tool, data, ours):
        if agree(paired, theirs):
            return Verdict("by rule", rule)
    if level == salvage_reader.REPAIRED and _is_cut(ours, theirs):
        return Verdict("by rule", "what follows a repair that was not accepted")
    return Verdict("unexplained")


def _is_cut(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether theirs contain all our notes except those that sound when the last of ours end."""
    for note in ours[ours[:, 4] < ours[:, 4].max() - TOLERANCE_SECONDS]:
        same = (theirs[:, :3] == note[:3]).all(axis=1)
        if not (np.abs(theirs[same, 3:] - note[3:]) <= TOLERANCE_SECONDS).all(axis=1).any():
            return False
    return True


def _explain_refusal(theirs: np.ndarray) -> Verdict:
    if theirs[:, 4].max() > midi_file.DEFAULT_LIMITS.max_seconds:
        return Verdict("by rule", "longer than Limits.max_seconds")
    return Verdict("unexplained", "refused")


def _by_rules(tool: str, data: bytes, ours: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """Yields (rule, notes): our events paired by the tool's rules, if our own rules give our notes from them."""
    damaged = salvage_reader.read_damaged(data, midi_file.DEFAULT_LIMITS)
    if damaged is None:
        return
    division = damaged.header.division
    tracks = [track.events for track in damaged.tracks]
    if not agree(ours, _pair(tracks, end_as_we_do, division)):
        return
    claimed = int.from_bytes(data[10:12], "big")
    if tool == "mido":
        yield "tracks beyond those the header claims", _pair(tracks[:claimed], end_as_we_do, division)
    elif tool == "pretty_midi":
        yield "pairing, and tempos of track 0 only", _pair(tracks[:claimed], end_as_pretty_midi_does, division, True)
        tracks, division = _mido_tracks(data)
        yield "the same, and events after an end of track", _pair(tracks, end_as_pretty_midi_does, division, True)
    else:
        yield "a key that lacks an end", _pair(tracks, end_as_symusic_does, division)
        yield (
            "a key that lacks an end, and tracks beyond those the header claims",
            _pair(tracks[:claimed], end_as_symusic_does, division),
        )


def _pair(tracks: list[TrackEvents], end_notes: Pairing, division: int, first_tempos: bool = False) -> np.ndarray:
    rows, tempos = [], []
    last_note = max((tick for events in tracks for tick, _ in _note_messages(events)), default=0)
    for index, events in enumerate(tracks):
        for pitch, messages in _messages_by_key(events):
            rows += [(pitch, *note) for note in end_notes(messages, min(events.last_tick, last_note))]
        if index == 0 or not first_tempos:
            tempos += list(zip(events.tempo_ticks, events.tempo_microseconds, strict=True))
    return in_seconds(rows, tempos, division)


def _note_messages(events: TrackEvents) -> list[tuple[int, int]]:
    return [row for row in zip(events.ticks, events.messages, strict=True) if row[1] >> 20 <= NOTE_ON >> 4]


def _messages_by_key(events: TrackEvents) -> Iterable[tuple[int, list[Message]]]:
    program = [0] * 16
    keys: dict[int, list[Message]] = collections.defaultdict(list)
    for tick, message in zip(events.ticks, events.messages, strict=True):
        kind, channel, first = message >> 16 & 0xF0, message >> 16 & 0x0F, message >> 8 & 0x7F
        if kind == PROGRAM_CHANGE:
            program[channel] = first
        elif kind <= NOTE_ON:
            sounds_as = DRUM_PROGRAM if channel == DRUM_CHANNEL else program[channel]
            keys[channel << 7 | first].append((tick, message & 0x7F if kind == NOTE_ON else 0, sounds_as))
    return [(key & 0x7F, messages) for key, messages in keys.items()]


def end_as_symusic_does(messages: list[Message], _last_tick: int) -> list[Note]:
    """First in, first out; notes without an end are dropped."""
    ended: list[Note] = []
    sounding: collections.deque[Message] = collections.deque()
    for tick, velocity, program in messages:
        if velocity:
            sounding.append((tick, velocity, program))
        elif sounding:
            start, start_velocity, start_program = sounding.popleft()
            ended.append((start_velocity, start_program, start, tick))
    return ended


def end_as_we_do(messages: list[Message], last_tick: int) -> list[Note]:
    """First in, first out; if a key lacks an end, its notes stop at any end or when it is struck again."""
    ended = end_as_symusic_does(messages, last_tick)
    if len(ended) == sum(velocity > 0 for _, velocity, _ in messages):
        return ended
    ended, sounding = [], []
    strokes = [tick for tick, velocity, _ in messages if velocity]
    for tick, velocity, program in [*messages, (last_tick, 0, -1)]:
        if velocity:
            sounding.append((velocity, program, tick))
            continue
        stopped = [note for note in sounding if note[2] < tick or program < 0] or sounding
        sounding = [note for note in sounding if note not in stopped]
        ended += [(*note, min([tick, *(stroke for stroke in strokes if stroke > note[2])])) for note in stopped]
    return ended


def end_as_pretty_midi_does(messages: list[Message], _last_tick: int) -> list[Note]:
    """An end closes all earlier notes; notes of that tick continue if there were any, else they are lost.

    The program is the one at the end.
    """
    ended: list[Note] = []
    sounding: list[tuple[int, int]] = []
    for tick, velocity, program in messages:
        if velocity:
            sounding.append((tick, velocity))
            continue
        earlier = [note for note in sounding if note[0] != tick]
        ended += [(start_velocity, program, start, tick) for start, start_velocity in earlier]
        sounding = [note for note in sounding if note[0] == tick] if earlier else []
    return ended


def _read_symusic(data: bytes, *, sanitize: bool = False) -> np.ndarray:
    score = ScoreTick.from_midi(data, sanitize)
    rows = [
        (note.pitch, note.velocity, DRUM_PROGRAM if track.is_drum else track.program, note.time, note.end)
        for track in score.tracks
        for note in track.notes
    ]
    return in_seconds(rows, [(tempo.time, tempo.mspq) for tempo in score.tempos], score.ticks_per_quarter)


def _read_mido(data: bytes, *, past_end: bool = True) -> np.ndarray:
    """Pairs mido's events by our rules, with the tempos of all tracks."""
    tracks, division = _mido_tracks(data, past_end=past_end)
    return _pair(tracks, end_as_we_do, division)


def _mido_tracks(data: bytes, *, past_end: bool = True) -> tuple[list[TrackEvents], int]:
    """mido's events, and the ticks per quarter note."""
    midi = mido.MidiFile(file=io.BytesIO(data), clip=True)
    tracks = []
    for track in midi.tracks:
        events = TrackEvents()
        for event in track:
            events.last_tick += event.time
            if event.type == "end_of_track" and not past_end:
                break
            if event.type in ("note_on", "note_off", "program_change"):
                status, first, *second = event.bytes()
                events.ticks.append(events.last_tick)
                events.messages.append(status << 16 | first << 8 | (second[0] if second else 0))
            elif event.type == "set_tempo":
                events.tempo_ticks.append(events.last_tick)
                events.tempo_microseconds.append(event.tempo)
        tracks.append(events)
    return tracks, midi.ticks_per_beat


def _read_pretty_midi(data: bytes) -> np.ndarray:
    return pretty_midi_notes(io.BytesIO(data))


def pretty_midi_notes(file: io.BytesIO | None = None, **arguments: Any) -> np.ndarray:
    """The notes of `pretty_midi.PrettyMIDI` with these arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pretty = pretty_midi.PrettyMIDI(file, **arguments)
    rows = [
        (note.pitch, note.velocity, DRUM_PROGRAM if part.is_drum else part.program, note.start, note.end)
        for part in pretty.instruments
        for note in part.notes
    ]
    return np.array(rows, dtype=float).reshape(-1, 5)


def in_seconds(rows: list[tuple], tempos: list[tuple[int, int]], division: int) -> np.ndarray:
    """`[n, 5]` pitch, velocity, program, start and end in seconds, from rows in ticks."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    changes = [(0, 500_000), *sorted((tempo for tempo in tempos if tempo[1]), key=lambda tempo: tempo[0])]
    at = np.array([tick for tick, _ in changes], dtype=float)
    seconds_per_tick = np.array([microseconds for _, microseconds in changes]) / 1e6 / division
    begins = np.concatenate([[0.0], np.cumsum(np.diff(at) * seconds_per_tick[:-1])])
    change = np.searchsorted(at, table[:, 3:], side="right") - 1
    table[:, 3:] = begins[change] + (table[:, 3:] - at[change]) * seconds_per_tick[change]
    return table


def agree(
    left: np.ndarray, right: np.ndarray, tolerance_seconds: float = TOLERANCE_SECONDS, *, sort_decimals: int = 12
) -> bool:
    """Whether two tables hold the same notes, with times within the tolerance; they are sorted by rounded times."""
    if len(left) != len(right):
        return False
    left, right = (notes[np.lexsort(np.round(notes, sort_decimals).T[::-1])] for notes in (left, right))
    return bool(
        np.array_equal(left[:, :3], right[:, :3]) and (np.abs(left[:, 3:] - right[:, 3:]) <= tolerance_seconds).all()
    )


TOOLS: dict[str, Callable[[bytes], np.ndarray]] = {
    "symusic": _read_symusic,
    "sanitized": lambda data: _read_symusic(data, sanitize=True),
    "mido": _read_mido,
    "pretty_midi": _read_pretty_midi,
}
