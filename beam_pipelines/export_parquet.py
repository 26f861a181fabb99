"""Exports a dataset as Parquet files with a data-set card, for other programs.

    python -m beam_pipelines.export_parquet --data dataset --output export --license cc-by-4.0

The folder has the layout of the Hugging Face Hub: `datasets.load_dataset("export")` reads it, and so does every program
that reads Parquet. docs/build_a_dataset.md says what is in it. For generated music there is
`python -m generation_jobs.merge --export parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from job_runtime import command
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo
from midi_codec.parquet import export
from midi_codec.parquet.card import Description
from midi_codec.parquet.columns import Column, Row
from midi_codec.parquet.export import Source, plain

PROGRAM = "python -m beam_pipelines.export_parquet"
COLUMNS = (
    Column("group_id", "string", "pieces with the same id belong together, such as versions of one work"),
    Column("source", "string", "path of the MIDI file in the corpus"),
)


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--data", required=True, help="a dataset folder, as encode_corpus wrote it")
    parser.add_argument("--output", required=True, help="a folder for the export; an earlier export is replaced")
    export.add_flags(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    problems += export.problems("--output", args.output, args.license, args.name)
    with command.collecting(problems):
        info = dataset_info.load(args.data) if args.data else None
    if problems or info is None:
        raise UserError(problems)
    described = describe(info, name=export.title(args.name, args.output), license=args.license)
    with StopSignal() as stop:
        sources = [Source(split, info.splits[split].num_notes, _rows(args.data, info, split, stop)) for split in SPLITS]
        splits = export.write(args.output, sources, own=(*COLUMNS, *label_columns(info)), described=described)
    print(export.describe(args.output, splits))
    return command.OK


def _rows(root: str, info: DatasetInfo, split: str, stop: StopSignal) -> Iterator[Row]:
    for piece in split_reader.read_split(root, info, split, label="exporting"):
        if stop.requested:
            raise Interrupted(command.TO_CONTINUE)
        texts = {name: plain(getattr(piece, name)) for name in ("piece_id", "group_id", "source")}
        yield Row({**texts, **{f"label_{name}": piece.labels.get(name) for name in info.labels}}, piece.notes)


def label_columns(info: DatasetInfo) -> list[Column]:
    """A column for each label."""
    return [Column(f"label_{name}", "string", f"the label {name}; null where there is none") for name in info.labels]


def describe(info: DatasetInfo, *, name: str, license: str) -> Description:
    counts = {
        "Kept": {"pieces": info.examples},
        "Rejects": info.rejects,
        "Duplicates": info.duplicates,
        "Salvaged": info.salvaged,
    }
    return Description(
        name=name,
        license=license,
        summary=f"{info.examples:,} pieces of music as columns of notes, from {info.inputs:,} MIDI files.",
        provenance={
            "Dataset": f"`{info.hash}`, as `beam_pipelines.encode_corpus` wrote it (format {info.format_version})",
            "Files": f"{info.inputs:,} MIDI files, and {info.other_files:,} that are none",
            **{title: _listed(count) for title, count in counts.items()},
            "Settings of the encode": json.dumps(info.settings, indent=1, sort_keys=True),
        },
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "none"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
