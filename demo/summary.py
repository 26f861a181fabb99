"""The summary of a run: what was made, how good the model is, where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from generation_jobs import compare, evaluate
from generation_jobs.measures.music_doubts import doubts
from generation_jobs.output import generated_music
from generation_jobs.output.generated_music import GeneratedPiece, Overview
from generation_jobs.report import training_run
from job_runtime import storage
from job_runtime.command_line.numerals import counted
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import SPLITS

REPORT = "report.html"
FIRST_REPORT = "first/report.html"  # by the model in the box


def text(folder: str) -> str:
    """A plain-text summary of what the steps left in `folder`."""
    dataset = storage.join(folder, "dataset")
    info = dataset_info.load(dataset)
    run = training_run.Run(storage.join(folder, "training"))
    pieces = generated_music.read(storage.join(folder, "music"), time_base=info.time_base)
    comparisons = evaluate.compare(pieces, dataset, info, "validation")
    runs = compare.longest_runs(pieces, dataset, info)
    warnings = [
        *run.doubts(),
        *doubts(comparisons, is_still_improving=run.is_still_improving),
        *(runs.doubts() if runs else ()),
    ]  # the report says the same
    page = storage.join(folder, REPORT)
    return "\n".join(
        [
            "",
            f"learned from  {_learned_from(info)}",
            f"the model     {_quality(run.metrics)}",
            f"generated     {_generated(pieces)}",
            *([f"copied        {runs}"] if runs else []),
            f"              {storage.join(folder, 'music/midi')} holds the MIDI files",
            f"look at       {page} in a browser: hear the music, see what was learned",
            *(f"but           {sentence}" for sentence in warnings),
        ]
    )


def _learned_from(info: dataset_info.DatasetInfo) -> str:
    train = info.splits[SPLITS[0]]
    minutes = sum(split.seconds for split in info.splits.values()) / 60
    held_out = sum(split.num_pieces for split in info.splits.values()) - train.num_pieces
    num_unused = info.inputs - info.examples
    unused = f"; {counted(num_unused, 'file')} not used" if num_unused else ""
    return f"{train.num_pieces:,} pieces, {held_out:,} more held out, {minutes:,.0f} minutes in all{unused}"


def _quality(metrics: Mapping[str, Any]) -> str:
    baselines = [f"{name} {score['nll']:.2f}" for name, score in reversed(metrics["baselines"].items())]
    return f"{metrics['validation_nll']:.2f} nats per note on held-out pieces (lower is better); {', '.join(baselines)}"


def _generated(pieces: Sequence[GeneratedPiece]) -> str:
    minutes = sum(piece.line["seconds"] for piece in pieces) / 60
    ways = ", ".join(f"{count} {way}" for way, count in Overview(pieces).ways.items())
    return f"{len(pieces)} pieces, {minutes:,.0f} minutes; they ended: {ways}"
