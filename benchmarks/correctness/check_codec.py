"""Checks `midi_file.parse` against pretty_midi on whole folders of MIDI files.

    python -m benchmarks.check_codec FOLDER [FOLDER ...] [--num-processes 2]

A file counts as `agree` if both read the same notes (pitch, velocity, program; onset and end within 1 ms). If not,
mido's events are paired twice, by our rules and by pretty_midi's. The file is `excepted` only if the first pairing
gives exactly `parse`'s notes and the second exactly pretty_midi's: then only the rules in docs/midi.md differ. Any
other file is `unexplained`, and the exit status is 1. The last line is JSON.
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

import mido
import numpy as np

from benchmarks.correctness import tool_notes
from benchmarks.correctness.tool_notes import DRUM_CHANNEL, TOLERANCE_SECONDS, Pairing
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import MidiError
from midi_codec.music.notes import DRUM_PROGRAM

NOTES = ("note_on", "note_off")
GRID_TOLERANCE_SECONDS = 0.00051  # our grid rounds by half a millisecond


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--num-processes", type=int, default=2)
    args = parser.parse_args()
    paths = sorted(path for folder in args.folders for path in folder.rglob("*.mid"))
    if not paths:
        parser.error(f"no .mid file below {', '.join(map(str, args.folders))}")
    counts: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(args.num_processes) as pool:
        for path, outcome in zip(paths, pool.map(check_file, paths, chunksize=8), strict=True):
            counts.update(outcome)
            if "unexplained" in outcome or "rejected" in outcome:
                print(f"{path}: {dict(outcome)}")
    for name, count in sorted(counts.items()):
        print(f"{count:12,} {name}")
    seconds = round(time.monotonic() - start, 1)
    print(json.dumps({"check": "codec", "folders": [path.name for path in args.folders], "seconds": seconds, **counts}))
    return 1 if counts["unexplained"] else 0


def check_file(path: pathlib.Path) -> dict[str, int]:
    """Counters of one file: its outcome, its notes, and its exceptions."""
    data = path.read_bytes()
    outcome = {"files": 1}
    try:
        notes = midi_file.parse(data)
    except MidiError as error:
        return outcome | {"rejected": 1, f"rejected {error.reason}": 1, **_oracle_of_reject(data)}
    outcome["notes"] = len(notes)
    ours = tool_notes.note_table(notes)
    midi = mido.MidiFile(file=io.BytesIO(data))
    theirs = tool_notes.pretty_midi_notes(mido_object=midi)  # leaves absolute ticks in `midi`
    outcome["notes of pretty_midi"] = len(theirs)
    if tool_notes.agree(ours, theirs, TOLERANCE_SECONDS, sort_decimals=3):
        return outcome | {"agree": 1}
    exceptions: collections.Counter[str] = collections.Counter()
    paired = _pair(midi, tool_notes.end_as_we_do, range(len(midi.tracks)), exceptions, by_channel=True)
    if not tool_notes.agree(ours, paired, GRID_TOLERANCE_SECONDS, sort_decimals=3):
        return outcome | {"unexplained": 1, "unexplained: not our rules": 1}
    by_their_rules = _pair(midi, tool_notes.end_as_pretty_midi_does, range(1), collections.Counter())
    if not tool_notes.agree(theirs, by_their_rules, 1e-6, sort_decimals=3):
        return outcome | {"unexplained": 1, "unexplained: not pretty_midi's rules": 1}
    return outcome | {"excepted": 1} | {f"exception: {name}": count for name, count in exceptions.items()}


def _oracle_of_reject(data: bytes) -> dict[str, int]:
    try:
        table = tool_notes.pretty_midi_notes(io.BytesIO(data))
    except Exception as error:  # noqa: BLE001 any exception is a result
        return {f"rejected, and pretty_midi raises {type(error).__name__}": 1}
    return {"rejected, and pretty_midi reads no note": 1} if not len(table) else {"unexplained": 1}


def _program_of_others(changes: list, track: mido.MidiTrack, note: mido.Message) -> int:
    """The latest program that another track sets for the note's channel, up to its tick."""
    programs = [
        event.program
        for event, source in changes
        if event.channel == note.channel and event.time <= note.time and source is not track
    ]
    return programs[-1] if programs else 0


def _pair(
    midi: mido.MidiFile,
    end_notes: Pairing,
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
    return tool_notes.in_seconds(rows, tempos, midi.ticks_per_beat)


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


if __name__ == "__main__":
    sys.exit(main())
