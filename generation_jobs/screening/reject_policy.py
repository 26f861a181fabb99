"""What happens to pieces that screening rejects: flags of `generation_jobs.generate`, and the files they name."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from typing import Any

from generation_jobs.memorisation import corpus_index, index_files
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.settings.requests import Result
from job_runtime.command import collecting
from job_runtime.command_line import settings
from job_runtime.command_line.flags import group_of
from job_runtime.command_line.settings import setting
from midi_codec.dataset import split_reader
from midi_codec.measures import thresholds
from midi_codec.measures.thresholds import Judgement, Screen
from trainer import box_model

KEEP, RETRY, DROP = "keep", "retry", "drop"
SCREENING = "screening"  # the group of flags in `--help`
DEFAULT_RETRIES = 3
MAX_RETRIES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """How pieces are judged, and how often a rejected piece is made again.

    Without a screen nothing is measured and nothing is rejected.
    """

    screen: Screen | None = None
    on_reject: str = setting(
        KEEP,
        "retry: make a rejected piece again from a fresh stream; drop: leave it out; keep: only report it",
        choices=(RETRY, KEEP, DROP),
        group=SCREENING,
    )
    max_retries: int = setting(
        0,
        "further attempts at a rejected piece",
        at_least=0,
        at_most=MAX_RETRIES,
        default_text=f"{DEFAULT_RETRIES} with {RETRY}, else 0",
        group=SCREENING,
    )

    def judge(self, result: Result) -> Judgement | None:
        return None if self.screen is None else self.screen.judge(result)

    def description(self) -> dict[str, Any]:
        """What the music depends on, as in `job.json`."""
        if self.screen is None:
            return {}
        return {
            "screen": hashlib.sha256(self.screen.to_json().encode()).hexdigest()[:32],
            "compare_with": self.screen.index.dataset if self.screen.index else None,
            "on_reject": self.on_reject,
            "max_retries": self.max_retries,
        }


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = group_of(parser, SCREENING).add_argument
    text = "thresholds that generation_jobs.screening wrote, or box: those of the model in the box: judge every piece"
    add("--screen", help=f"{text} (default: no screening)")
    text = (
        "dataset, index that generation_jobs.memorisation wrote, or box: measure the longest copied run of each piece"
    )
    add("--compare-with", help=f"{text} (default: not measured)")
    settings.add_flags(parser, Policy)


def load(args: argparse.Namespace, time_base: str | None) -> tuple[Policy, list[str]]:
    """The policy, and every mistake in its flags and files; `time_base` is the model's, None if it is unknown."""
    problems: list[str] = []
    values = settings.read_flags(Policy, args, problems)
    if args.screen is None:
        for flag, value in (("--on-reject", args.on_reject), ("--max-retries", args.max_retries)):
            if value is not None:
                problems.append(f"{flag} is given without --screen, want both or neither")
    if values.get("max_retries") and args.on_reject in (None, KEEP):
        problems.append(
            f"--max-retries is {values['max_retries']} with --on-reject {KEEP}, want 0, or --on-reject retry or drop"
        )
    index, screen = None, None
    with collecting(problems, "--compare-with"):
        index = None if args.compare_with is None else _index(box_model.resolve_data(args.compare_with, time_base))
    with collecting(problems, "--screen"):
        if args.screen is not None:
            screen = thresholds.load(box_model.resolve_data(args.screen, time_base, box_model.THRESHOLDS), index)
    for flag, loaded in (("--screen", screen), ("--compare-with", index)):
        if loaded is not None and time_base not in (None, loaded.time_base):
            problems.append(
                f"{flag} is on the grid of {loaded.time_base}, the model on that of {time_base}, want the same"
            )
    if screen is None and index is not None:
        screen = Screen({}, index.time_base, index.dataset, index)  # copied notes are measured, but nothing is rejected
    retries = DEFAULT_RETRIES if args.on_reject == RETRY else 0
    return Policy(**{"screen": screen, "max_retries": retries, **values}), problems


def _index(path: str) -> Index:
    if index_files.is_index(path):
        return Index.load(path)
    return corpus_index.build(path, split_reader.load_trainable(path))
