"""Checks `midi_file.parse` against pretty_midi on whole folders of MIDI files.

    python -m benchmarks.check_codec FOLDER [FOLDER ...] [--num-processes 2]

Every file is read by both. Where the notes agree (pitch, velocity, program; onset and end within 1 ms) it
counts as `agree`. Where they do not, the events as mido reads them are paired twice, by our rules and
by pretty_midi's; the file is `excepted` only when the first gives exactly `parse`'s notes and the second
exactly pretty_midi's, so that the difference lies in the rules listed in docs/midi.md and nowhere else.
Anything left is `unexplained`, and makes the exit status 1. The last line is JSON.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import io
import json
import pathlib
import sys
import time
import warnings

import mido
import numpy as np
import pretty_midi

from midi_codec.midi import midi_file
from midi_codec.music.notes import DRUM_PROGRAM

DRUM_CHANNEL = 9
NOTES = ("note_on", "note_off")
TOLERANCE_SECONDS = 0.001
COLUMNS = ("pitch", "velocity", "program", "start", "end")  # of a table of notes; times in seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--num-processes", type=int, default=2)
    args = parser.parse_args()
    paths = sorted(path for folder in args.folders for path in folder.rglob("*.mid"))
    if not paths:
        parser.error(f"no .mid file below {', '.join(map(str, args.folders))}")
    counts: collections.Counter[str] = collections.Counter()
    begun = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(args.num_processes) as pool:
        for path, outcome in zip(paths, pool.map(check_file, paths, chunksize=8), strict=True):
            counts.update(outcome)
            if "unexplained" in outcome or "rejected" in outcome:
                print(f"{path}: {dict(outcome)}")
    for name, count in sorted(counts.items()):
        print(f"{count:12,} {name}")
    seconds = round(time.monotonic() - begun, 1)
    print(json.dumps({"check": "codec", "folders": [path.name for path in args.folders], "seconds": seconds, **counts}))
    return 1 if counts["unexplained"] else 0


def check_file(path: pathlib.Path) -> dict[str, int]:
    """Counters of one file: its outcome, its notes, and what the exceptions were."""
    data = path.read_bytes()
    outcome = {"files": 1}
    try:
        notes = midi_file.parse(data)
    except midi_file.MidiError as error:
        return outcome | {"rejected": 1, f"rejected {error.reason}": 1, **_oracle_of_reject(data)}
    outcome["notes"] = len(notes)
    seconds = notes.seconds_per_tick
    ours = np.stack(
        [notes.pitch, notes.velocity, notes.program, notes.start * seconds, notes.end * seconds], axis=1, dtype=float
    )
    midi = mido.MidiFile(file=io.BytesIO(data))
    theirs = _pretty_midi_table(midi)  # leaves absolute ticks in `midi`
    outcome["notes of pretty_midi"] = len(theirs)
    if _agree(ours, theirs, TOLERANCE_SECONDS):
        return outcome | {"agree": 1}
    exceptions: collections.Counter[str] = collections.Counter()
    paired = _pair(midi, _end_as_we_do, range(len(midi.tracks)), exceptions, by_channel=True)
    if not _agree(ours, paired, 0.00051):  # our grid rounds by half a millisecond
        return outcome | {"unexplained": 1, "unexplained: not our rules": 1}
    if not _agree(theirs, _pair(midi, _end_as_pretty_midi_does, range(1), collections.Counter()), 1e-6):
        return outcome | {"unexplained": 1, "unexplained: not pretty_midi's rules": 1}
    return outcome | {"excepted": 1} | {f"exception: {name}": count for name, count in exceptions.items()}


def _oracle_of_reject(data: bytes) -> dict[str, int]:
    try:
        table = _pretty_midi_table(mido.MidiFile(file=io.BytesIO(data)))
    except Exception as error:  # noqa: BLE001 whatever it raises is its answer
        return {f"rejected, and pretty_midi raises {type(error).__name__}": 1}
    return {"rejected, and pretty_midi reads no note": 1} if not len(table) else {"unexplained": 1}


def _pretty_midi_table(midi: mido.MidiFile) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pretty = pretty_midi.PrettyMIDI(mido_object=midi)
    rows = [
        (note.pitch, note.velocity, DRUM_PROGRAM if part.is_drum else part.program, note.start, note.end)
        for part in pretty.instruments
        for note in part.notes
    ]
    return np.array(rows, dtype=float).reshape(-1, len(COLUMNS))


def _agree(left: np.ndarray, right: np.ndarray, tolerance_seconds: float) -> bool:
    if len(left) != len(right):
        return False
    left, right = (table[np.lexsort(np.round(table, 3).T[::-1])] for table in (left, right))
    return bool(
        np.array_equal(left[:, :3], right[:, :3]) and (np.abs(left[:, 3:] - right[:, 3:]) <= tolerance_seconds).all()
    )


def _program_of_others(changes: list, track: mido.MidiTrack, note: mido.Message) -> int:
    """What other tracks say of its channel, up to its tick: in the order of time, then of tracks."""
    said = [
        event.program
        for event, source in changes
        if event.channel == note.channel and event.time <= note.time and source is not track
    ]
    return said[-1] if said else 0


def _pair(
    midi: mido.MidiFile,
    end_notes,
    tempo_tracks: range,
    exceptions: collections.Counter[str],
    *,
    by_channel: bool = False,
) -> np.ndarray:
    """A table of the notes in a mido file whose times are absolute ticks."""
    rows = []
    changes = [(event, track) for track in midi.tracks for event in track if event.type == "program_change"]
    changes.sort(key=lambda change: change[0].time)
    last_note = max((event.time for track in midi.tracks for event in track if event.type in NOTES), default=0)
    for track in midi.tracks:
        program: list[int | None] = [None] * 16
        keys = collections.defaultdict(list)
        last_tick = min(track[-1].time if track else 0, last_note)
        for event in track:
            if event.type == "program_change":
                program[event.channel] = event.program
            elif event.type in NOTES:
                velocity = event.velocity if event.type == "note_on" else 0
                sounds_as = program[event.channel]
                if sounds_as is None:
                    sounds_as = _program_of_others(changes, track, event) if by_channel else 0
                sounds_as = DRUM_PROGRAM if event.channel == DRUM_CHANNEL else sounds_as
                keys[event.channel, event.note].append((event.time, velocity, sounds_as))
        for (_, pitch), messages in keys.items():
            _count_exceptions(messages, exceptions)
            rows += [(pitch, *note) for note in end_notes(messages, last_tick)]
    tempos = [
        (event.time, event.tempo) for track in tempo_tracks for event in midi.tracks[track] if event.type == "set_tempo"
    ]
    outside = sum(event.type == "set_tempo" for track in midi.tracks[1:] for event in track)
    if outside:
        exceptions["tempo changes outside track 0"] += outside
    table = np.array(rows, dtype=float).reshape(-1, len(COLUMNS))
    table[:, 3:] = _seconds(table[:, 3:], tempos, midi.ticks_per_beat)
    return table


def _count_exceptions(messages: list[tuple[int, int, int]], exceptions: collections.Counter[str]) -> None:
    sounding: collections.deque[tuple[int, int]] = collections.deque()
    for tick, velocity, program in messages:
        if velocity:
            exceptions["double note-ons"] += bool(sounding)
            sounding.append((tick, program))
        elif sounding:
            start, start_program = sounding.popleft()
            exceptions["notes of length zero"] += start == tick
            exceptions["notes with a program change inside"] += start_program != program
    exceptions["notes without an end"] += len(sounding)


def _end_as_we_do(messages, last_tick):
    """First in, first out; a key that lacks an end is played instead, and stops when it is struck again."""
    ended: list[tuple[int, int, int, int]] = []
    sounding: collections.deque[tuple[int, int, int]] = collections.deque()
    for tick, velocity, program in messages:
        if velocity:
            sounding.append((velocity, program, tick))
        elif sounding:
            ended.append((*sounding.popleft(), tick))
    if not sounding:
        return ended
    ended, open_notes = [], []
    strokes = [tick for tick, velocity, _ in messages if velocity]
    for tick, velocity, program in [*messages, (last_tick, 0, None)]:
        if velocity:
            open_notes.append((velocity, program, tick))
            continue
        stopped = [note for note in open_notes if note[2] < tick or program is None] or open_notes
        open_notes = [note for note in open_notes if note not in stopped]
        ended += [(*note, min([tick, *(stroke for stroke in strokes if stroke > note[2])])) for note in stopped]
    return ended


def _end_as_pretty_midi_does(messages, _last_tick):
    """An end closes all that began earlier; what began at that tick goes on if there was any, else is lost.

    The program is the one at the end.
    """
    ended, open_notes = [], []
    for tick, velocity, program in messages:
        if velocity:
            open_notes.append((tick, velocity))
            continue
        earlier = [note for note in open_notes if note[0] != tick]
        ended += [(start_velocity, program, start, tick) for start, start_velocity in earlier]
        open_notes = [note for note in open_notes if note[0] == tick] if earlier else []
    return ended


def _seconds(ticks: np.ndarray, tempos: list[tuple[int, int]], ticks_per_beat: int) -> np.ndarray:
    changes = [(0, 500_000), *sorted(tempos, key=lambda tempo: tempo[0])]
    at = np.array([tick for tick, _ in changes], dtype=float)
    seconds_per_tick = np.array([microseconds for _, microseconds in changes]) / 1e6 / ticks_per_beat
    begins = np.concatenate([[0.0], np.cumsum(np.diff(at) * seconds_per_tick[:-1])])
    change = np.searchsorted(at, ticks, side="right") - 1
    return begins[change] + (ticks - at[change]) * seconds_per_tick[change]


if __name__ == "__main__":
    sys.exit(main())
