"""Reads and checks seed lists, as `generate` does before it loads a model: processor seconds, and whether all mistakes
are found.

    python -m benchmarks.seed_lists [--num-seeds 100000]

One seed in a hundred is wrong, in one of six ways: a value out of range, a duplicate id, an unknown key (in CSV a row
with too many cells), an unknown musical key, limits that leave no pitch of the model, notes of a file without a name.
Every mistake must be reported for its line, and nothing else. The last line is JSON.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness import machine
from generation_jobs.decoder import bundles
from generation_jobs.seeds import primers, seed_json, seed_list, setting_conflicts
from generation_jobs.settings.requests import Settings
from job_runtime import command, problem_report
from midi_codec.fields import FieldTable
from trainer import box_model

WRONG_EVERY = 100  # one seed in this many is wrong
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
    parser = command.make_parser("python -m benchmarks.seed_lists", __doc__)
    parser.add_argument("--num-seeds", type=int, default=100_000, help="of each list (default: %(default)s)")
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
    """Every seed has settings; with `has_notes` also a tempo and sixteen notes."""
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
            record |= WRONG[number // WRONG_EVERY % len(WRONG)]
        records.append(record)
    return records


def is_wrong(number: int) -> bool:
    return number % WRONG_EVERY == WRONG_EVERY - 1


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
      RuntimeError: the reported lines are not those that were made wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"seeds.{form}")
        path.write_bytes(data)
        times = [time.process_time()]
        seeds = seed_list.read(str(path))
        times.append(time.process_time())
        read_primers, primer_problems = primers.load(seeds.seeds, folder=seeds.folder, table=table)
        times.append(time.process_time())
        _, conflicts = setting_conflicts.find(Settings(), seeds.seeds, read_primers, table)
        times.append(time.process_time())
    problems = sorted([*seeds.problems, *primer_problems, *conflicts])
    num_lines = data.count(b"\n") - (form == "csv")
    wrong_lines = {line - 1 - (form == "csv") for line, _ in problems}
    if wrong_lines != {number for number in range(num_lines) if is_wrong(number)}:
        raise RuntimeError(f"{form}: the reported lines are not those that were made wrong")
    read_seconds, primer_seconds, conflict_seconds = np.diff(times).round(2).tolist()
    return {
        "bytes": len(data),
        "wrong_lines": len(wrong_lines),
        "sentences": len(problem_report.sentences("seeds", problems)),
        "read_seconds": read_seconds,
        "primers_seconds": primer_seconds,
        "conflicts_seconds": conflict_seconds,
        "seconds": round(times[-1] - times[0], 2),
    }


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.seed_lists", main))
