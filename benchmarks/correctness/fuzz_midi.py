"""Reads thousands of mutated MIDI files, and keeps those that break a promise.

    python -m benchmarks.fuzz_midi FOLDER --files 100000 --key 1 [--offenders FOLDER]

Damages MIDI files of FOLDER (`mutations`; the same key gives the same files), and reads each strictly and by all levels
of `salvage`, on both time bases, in child processes. The promises: valid notes, or a `MidiError` with a known reason;
at most one second of processor time and 200 MB per file; no crash.

Prints figures, and JSON as the last line; the exit status is 1 if a promise was broken. Offending files are written to
a folder, named by key and number.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
import time

import numpy as np

from benchmarks.correctness.mutations import mutated
from benchmarks.harness import guarded
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import REASONS
from midi_codec.midi.salvage import salvage_reader
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, TIME_BASES, check_columns

MAX_SECONDS, MAX_MEGABYTES = 1.0, 200.0
COLUMNS = ("pitch", "velocity", "start", "duration", "program")


@dataclasses.dataclass(frozen=True)
class Fuzz:
    """Makes and reads the files; can be passed to a child process."""

    sources: list[bytes]
    key: int

    def __call__(self, number: int) -> str:
        return examine(self.data(number))

    def data(self, number: int) -> bytes:
        return mutated(self.sources, (self.key, number))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--key", type=int, default=1)
    parser.add_argument("--max-sources", type=int, default=200)
    parser.add_argument("--offenders", type=pathlib.Path, help="folder for files that break a promise")
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    if not paths:
        parser.error(f"no MIDI file below {args.folder}")
    step = max(1, len(paths) // args.max_sources)
    fuzz = Fuzz([path.read_bytes() for path in paths[::step]], args.key)
    start = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    slowest = largest = (0.0, -1)
    numbers = range(args.first, args.first + args.files)
    for number, outcome in zip(numbers, guarded.run_each(fuzz, numbers), strict=True):
        problem = outcome.fault or _too_costly(outcome)
        counts[outcome.value or "fault"] += 1
        slowest, largest = max(slowest, (outcome.seconds, number)), max(largest, (outcome.megabytes, number))
        if problem:
            counts["offenders"] += 1
            print(f"file {number}: {problem}", flush=True)
            if args.offenders:
                args.offenders.mkdir(parents=True, exist_ok=True)
                (args.offenders / f"{args.key}-{number}.mid").write_bytes(fuzz.data(number))
    for name, count in sorted(counts.items()):
        print(f"{count:10,} {name}")
    figures = {
        "check": "fuzz",
        "files": args.files,
        "key": args.key,
        "sources": len(fuzz.sources),
        "seconds": round(time.monotonic() - start, 1),
        "slowest_seconds": round(slowest[0], 3),
        "slowest_file": slowest[1],
        "largest_megabytes": round(largest[0], 1),
        "largest_file": largest[1],
        "offenders": counts["offenders"],
    }
    print(json.dumps(figures))
    return 1 if counts["offenders"] else 0


def examine(data: bytes) -> str:
    """Reads a file on all grids; returns how it was read, or the reason why not, on the milliseconds grid.

    Raises:
      AssertionError: the notes are invalid, or the reason is not one of `REASONS`.
    """
    outcomes = {}
    for time_base in TIME_BASES:
        parsed = midi_file.parse_many([data], time_base=time_base)
        assert len(parsed.batch) + len(parsed.errors) == 1, "neither a piece nor an error"
        if parsed.errors:
            reason = parsed.errors[0].reason
            assert reason in REASONS, f"unknown reason {reason!r}"
            outcomes[time_base] = f"refused: {reason}"
        else:
            level = parsed.salvage_levels.get(0, "strict")
            assert level in ("strict", *salvage_reader.LEVELS), f"unknown level {level}"
            outcomes[time_base] = level
            check_notes(parsed.batch)
    return outcomes[MILLISECONDS]


def check_notes(batch: NoteBatch) -> None:
    """Checks that the one piece of a batch is what `Notes` promises.

    Raises:
      AssertionError, ValueError: it is not.
    """
    notes = batch.piece(0)
    columns = {name: getattr(notes, name) for name in COLUMNS}
    check_columns(columns)
    limits = midi_file.DEFAULT_LIMITS
    assert 0 < len(notes) <= limits.max_notes, f"{len(notes)} notes"
    assert np.isfinite(notes.tempo) and notes.tempo > 0, f"tempo {notes.tempo}"
    assert batch.time_base != MILLISECONDS or notes.end.max() <= limits.max_seconds * 1000, "too long"
    again = type(notes).from_columns(**columns, tempo=notes.tempo, time_base=notes.time_base)
    assert again == notes, "not in the total order"


def _too_costly(outcome: guarded.Outcome) -> str:
    if outcome.seconds > MAX_SECONDS:
        return f"took {outcome.seconds:.2f} s"
    return f"took {outcome.megabytes:.0f} MB" if outcome.megabytes > MAX_MEGABYTES else ""


if __name__ == "__main__":
    sys.exit(main())
