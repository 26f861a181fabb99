"""The music of a finished job as Parquet files with a data-set card (`midi_codec.parquet`)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from generation_jobs.output import manifest
from generation_jobs.output.manifest import Line
from generation_jobs.output.shards import Shards
from job_runtime import storage
from job_runtime.command import TO_CONTINUE, Interrupted, StopSignal
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import records
from midi_codec.music.notes import TIME_BASES, Notes
from midi_codec.parquet import export
from midi_codec.parquet.card import Description
from midi_codec.parquet.columns import Column, Row
from midi_codec.parquet.export import Source
from midi_codec.parquet.parquet_files import Split

SPLIT = "train"  # what the Hub calls the only split of a data set
ENDS = {True: "itself", False: "cut"}
COLUMNS = (
    Column("seed_id", "string", "the seed that the piece continues"),
    Column("sample", "int32", "which of the seed's pieces it is"),
    Column("rng_seed", "int64", "random number seed of the job"),
    Column("num_primer_notes", "int32", "the first notes of the lists, which are the seed's; the others are generated"),
    Column("log_likelihood", "float64", "of the generated notes under the model, in nats"),
    Column("ended", "string", "itself: the model ended the piece; steered: at a good place before a limit; cut: by it"),
    Column("bundle", "string", "hash of the model"),
    Column("manifest_line", "string", "all that the job recorded of the piece, as JSON: settings, checks, screening"),
)


def write(
    music: str,
    shards: Shards,
    folder: str,
    *,
    name: str,
    license: str,
    chosen: np.ndarray | None,
    stop: StopSignal,
) -> list[Split]:
    """Exports the pieces of a job that `merge` has checked, or the chosen ones.

    Args:
      chosen: `[samples]` bool; None for all.

    Raises:
      UserError: there is no piece. Interrupted: `stop` asked for it.
    """
    num_pieces = num_notes = num_left_out = 0
    for shard in range(len(shards)):
        for number, line in zip(shards.numbers(shard), manifest.read_shard(music, shards, shard), strict=True):
            is_taken = _is_taken(line, number, chosen)
            num_pieces += is_taken
            num_notes += line["num_notes"] if is_taken else 0
            num_left_out += line["path"] is None
    if not num_pieces:
        raise UserError(f"{music!r} has no piece to export: screening left out all {shards.num_samples:,} samples")
    provenance = {
        "Samples": f"{shards.num_samples:,}; {num_left_out:,} were left out by screening, {num_pieces:,} are here",
        "Made by": "`generation_jobs.generate`",
        "Settings of the job": storage.read_text(storage.join(music, manifest.JOB_FILE)),
    }
    described = Description(
        name=name,
        license=license,
        summary=f"{num_pieces:,} pieces of music that a neural network generated, as columns of notes.",
        provenance=provenance,
    )
    source = Source(SPLIT, num_notes, _rows(music, shards, chosen, stop))
    return export.write(folder, [source], own=COLUMNS, described=described)


def _is_taken(line: Line, number: int, chosen: np.ndarray | None) -> bool:
    return line["path"] is not None and (chosen is None or bool(chosen[number]))


def _rows(music: str, shards: Shards, chosen: np.ndarray | None, stop: StopSignal) -> Iterator[Row]:
    time_base = None
    for shard in progress(range(len(shards)), total=len(shards), unit="shards", label="exporting"):
        examples = records.read_records(storage.read_bytes(storage.join(music, shards.records(shard))))
        for number, line in zip(shards.numbers(shard), manifest.read_shard(music, shards, shard), strict=True):
            if stop.requested:
                raise Interrupted(TO_CONTINUE)
            if line["path"] is None:
                continue
            example = next(examples) if line["num_notes"] else None
            if example is not None and time_base is None:
                time_base = _grid(example, line)
            if _is_taken(line, number, chosen):
                yield Row(_values(line), _notes(example, time_base or TIME_BASES[0]))


def _grid(example: bytes, line: Line) -> str:
    """The grid of the job, which the hash of the notes tells."""
    return next(grid for grid in TIME_BASES if _notes(example, grid).piece_id == line["piece_id"])


def _notes(example: bytes | None, time_base: str) -> Notes:
    if example is not None:
        return records.deserialize_example(example, time_base=time_base).notes
    return Notes.empty(time_base)


def _values(line: Line) -> dict[str, object]:
    values = {column.name: line[column.name] for column in COLUMNS if column.name in line}
    return {
        **values,
        "piece_id": line["piece_id"],
        "ended": ENDS.get(line["ended"], line["ended"]),
        "manifest_line": json.dumps(line, separators=(",", ":")),
    }
