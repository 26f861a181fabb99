"""Checks what is salvaged from broken MIDI files against the tools that read some of them.

    python -m benchmarks.check_salvage FOLDER

FOLDER has a folder for each fault. Every file is read by `midi_file.parse_many`, and by symusic (with and without
`sanitize_data`), mido (`clip=True`) and pretty_midi, each in a child process that may die or hang. If a tool finds
notes, they are compared with ours (pitch, velocity, program; onset and end within 1 ms). If they differ, our events are
paired by both rules. If our rule gives our notes and the tool's rule its notes, the rule explains the difference and is
named; else the file is `unexplained`, and the exit status is 1.

Prints a table for docs/midi.md, then the differences, and JSON as its last line.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import sys
import time
from collections.abc import Sequence

from benchmarks.correctness.tool_notes import TOOLS, Verdict, judge
from benchmarks.harness import guarded
from midi_codec.midi import midi_file
from midi_codec.midi.salvage import salvage_reader

READ = ("strict", *salvage_reader.LEVELS)
COLUMNS = ("files", *READ, "refused", *TOOLS, "equal", "by rule", "unexplained")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--max-seconds", type=float, default=30.0, help="per file, for all tools together")
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.glob("*/*") if path.is_file())
    if not paths:
        parser.error(f"no file in the folders of {args.folder}")
    start = time.monotonic()
    outcomes = list(guarded.run_each(check_file, paths, max_seconds=args.max_seconds))
    rows = {fault: _count(paths, outcomes, fault) for fault in sorted({path.parent.name for path in paths})}
    total: collections.Counter[str] = sum(rows.values(), collections.Counter())
    print(_table(rows | {"**all**": total}))
    _print_details(paths, outcomes)
    summary = {name: total[name] for name in (*COLUMNS, "faults")}
    reasons = {name: count for name, count in sorted(total.items()) if name.startswith("refused ")}
    print(json.dumps({"check": "salvage", "seconds": round(time.monotonic() - start, 1), **summary, **reasons}))
    return 1 if total["unexplained"] or total["faults"] else 0


def check_file(path: pathlib.Path) -> tuple[str, str, dict[str, Verdict]]:
    """`(how we read it, the reason if we refuse it, a verdict per tool that finds notes)`."""
    data = path.read_bytes()
    parsed = midi_file.parse_many([data])
    how, reason = parsed.salvage_levels.get(0, "strict"), ""
    if parsed.errors:
        how, reason = "refused", parsed.errors[0].reason
    return how, reason, judge(data, None if parsed.errors else parsed.batch.piece(0), how)


def _count(paths: Sequence[pathlib.Path], outcomes: Sequence[guarded.Outcome], fault: str) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    for path, outcome in zip(paths, outcomes, strict=True):
        if path.parent.name != fault:
            continue
        counts["files"] += 1
        if outcome.fault:
            counts["faults"] += 1
            continue
        how, reason, verdicts = outcome.value
        counts[how] += 1
        if reason:
            counts[f"refused {reason}"] += 1
        counts.update(verdicts.keys())
        if verdicts:
            worst = max(verdicts.values(), key=lambda verdict: verdict.severity)
            counts[worst.kind] += 1
    return counts


def _table(rows: dict[str, collections.Counter[str]]) -> str:
    lines = ["| fault | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for fault, counts in rows.items():
        cells = [str(counts[name] or "") for name in COLUMNS]
        reasons = {name.split()[1]: counts[name] for name in sorted(counts) if name.startswith("refused ")}
        if reasons:
            cells[COLUMNS.index("refused")] = ", ".join(f"{count} `{name}`" for name, count in reasons.items())
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _print_details(paths: Sequence[pathlib.Path], outcomes: Sequence[guarded.Outcome]) -> None:
    rules: collections.Counter[str] = collections.Counter()
    for path, outcome in zip(paths, outcomes, strict=True):
        name = f"{path.parent.name}/{path.name}"
        if outcome.fault:
            print(f"{name}: {outcome.fault}")
            continue
        for tool, verdict in outcome.value[2].items():
            if verdict.kind == "by rule":
                rules[f"{tool}: {verdict.rule}"] += 1
            if verdict.kind == "unexplained" or outcome.value[0] == "refused":
                print(f"{name}: {outcome.value[0]} {outcome.value[1]}; {tool}: {verdict.kind} {verdict.rule}")
    for rule, count in sorted(rules.items()):
        print(f"{count:6,} {rule}")


if __name__ == "__main__":
    sys.exit(main())
