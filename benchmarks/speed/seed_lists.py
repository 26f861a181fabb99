"""Reading and checking a seed list, as `generate` does before it loads a model: processor seconds, and whether all is
found.

    python -m benchmarks.seed_lists [--num-seeds 100000]

One seed in a hundred is wrong, in six ways by turns: a value out of range, an id that was there before, an unknown key
(in CSV a row of too many cells), no key of music, limits that leave no pitch of the model's, notes of a file that is
not named. Every one must be found in its line, and nothing else. The last line is JSON.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

if not __package__:  # run as a file: the rooms lie some folders up
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

from benchmarks.harness import machine
from generation_jobs.decoder import box_model, bundles
from generation_jobs.seeds import primers, seed_json, seed_list, setting_conflicts
from generation_jobs.settings.requests import Settings
from job_runtime import command, problem_report
from midi_codec.fields import FieldTable

EVERY = 100  # seeds, one of which is wrong
NUM_NOTES = 16
SETTINGS = {"top_p": 0.95, "min_pitch": 40, "max_polyphony": 4, "max_step": "2 seconds", "num_samples": 200}
KEYS = ("D minor", "C major", "Bb major")
WRONG: tuple[dict[str, Any], ...] = (
    {"temperature": -1},
    {"id": "seed-0"},
    {"colour": 3},
    {"pitch_classes": "H minor"},
    {"min_pitch": 90, "max_pitch": 20},
    {"from_note": 3},
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed_lists", description=__doc__.splitlines()[0])
    parser.add_argument("--num-seeds", type=int, default=100_000, help="of each list (%(default)s)")
    args = parser.parse_args(argv)
    table = bundles.load([box_model.folder()])[0].fields
    lists: dict[str, dict[str, float]] = {}
    for has_notes in (False, True):
        records = make_records(args.num_seeds, has_notes=has_notes)
        for form in ("jsonl", "csv"):
            name = f"{form}_{'notes' if has_notes else 'settings'}"
            lists[name] = measure(serialize(records, form), form, table)
            print(f"{name:<16}{json.dumps(lists[name])}", flush=True)
    report = {"benchmark": "seed_lists", "num_seeds": args.num_seeds, "lists": lists}
    print(json.dumps({**report, "machine": machine.describe(["numpy"], {})}), flush=True)
    return command.OK


def make_records(num_seeds: int, *, has_notes: bool) -> list[dict[str, Any]]:
    """Settings of every seed; tempos and sixteen notes of its own where there are notes."""
    rng = np.random.default_rng(0)
    times = {"start_beats": (np.arange(NUM_NOTES) / 4).tolist(), "duration_beats": [0.25] * NUM_NOTES}
    records = []
    for number in range(num_seeds):
        record = {
            "id": f"seed-{number}",
            "pitch_classes": KEYS[number % 3],
            "temperature": number % 97 / 100,
            **SETTINGS,
        }
        if has_notes:
            pitch, velocity = rng.integers(1, 128, (2, NUM_NOTES)).tolist()
            record |= {"tempo": 60 + number % 90, "notes": {"pitch": pitch, "velocity": velocity, **times}}
        if is_wrong(number):
            record |= WRONG[number // EVERY % len(WRONG)]
        records.append(record)
    return records


def is_wrong(number: int) -> bool:
    return number % EVERY == EVERY - 1


def serialize(records: Sequence[dict[str, Any]], form: str) -> bytes:
    if form == "jsonl":
        return seed_json.serialize(records)
    columns = [key for key in dict.fromkeys(key for record in records for key in record) if key != "colour"]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        cells = [record[key] if key == "id" else json.dumps(record[key]) if key in record else "" for key in columns]
        writer.writerow([*cells, "3"] if "colour" in record else cells)
    return file.getvalue().encode()


def measure(data: bytes, form: str, table: FieldTable) -> dict[str, float]:
    """Processor seconds of each part.

    Raises:
      RuntimeError: other lines are found wrong than were made so.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"seeds.{form}")
        path.write_bytes(data)
        times = [time.process_time()]
        seeds = seed_list.read(str(path))
        times.append(time.process_time())
        read_primers, more = primers.load(seeds.seeds, folder=seeds.folder, table=table)
        times.append(time.process_time())
        _, of_seeds = setting_conflicts.find(Settings(), seeds.seeds, read_primers, table)
        times.append(time.process_time())
    problems = sorted([*seeds.problems, *more, *of_seeds])
    num_lines = data.count(b"\n") - (form == "csv")
    found = {line - 1 - (form == "csv") for line, _ in problems}
    if found != {number for number in range(num_lines) if is_wrong(number)}:
        raise RuntimeError(f"{form}: other lines are found wrong than were made so")
    read, primer, misfit = np.diff(times).round(2).tolist()
    return {
        "bytes": len(data),
        "wrong_lines": len(found),
        "sentences": len(problem_report.sentences("seeds", problems)),
        "read_seconds": read,
        "primers_seconds": primer,
        "misfits_seconds": misfit,
        "seconds": round(times[-1] - times[0], 2),
    }


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.seed_lists", main))
