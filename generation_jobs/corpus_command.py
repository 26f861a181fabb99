"""The common parts of the commands that compare generated music with a dataset: flags, input checks and output."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any

from generation_jobs.memorisation import corpus_index
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.output.generated_music import Overview
from generation_jobs.output.manifest import JOB_FILE
from job_runtime import command, json_text, storage
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer import box_model

FORMAT_VERSION = 1


def make_parser(program: str, doc: str | None, *, index_help: str) -> Parser:
    parser = command.make_parser(program, doc)
    add = parser.add_argument
    add("--music", required=True, help="the output folder of generation_jobs.generate")
    add(
        "--data",
        required=True,
        help="a dataset to compare with, as encode_corpus wrote it; box: that of the model in the box",
    )
    held_out = dataset_info.SPLITS[1:]
    add("--split", choices=held_out, default="validation", help="split to compare the same way (default: %(default)s)")
    add("--index", help=index_help)
    add("--output", help="JSON file to write, with every piece (default: standard output, without the pieces)")
    return parser


def load(args: argparse.Namespace, problems: list[str]) -> tuple[DatasetInfo | None, Index | None]:
    """The dataset's info and the index; what is wrong with a flag is added to `problems`."""
    if args.output:
        problems += storage.output_problems("--output", args.output, is_file=True)
    info, index = None, None
    with command.collecting(problems, "--data"):
        args.data = resolve_data(args.data, args.music)
        info = split_reader.load_trainable(args.data)
    with command.collecting(problems, "--index"):
        if args.index == box_model.BOX:
            data = resolve_data(args.index, args.music)
            index = corpus_index.build(data, split_reader.load_trainable(data))
        elif args.index:
            index = Index.load(args.index)
    return info, index


def resolve_data(data: str, music: str) -> str:
    """The path of a dataset; for `box` that of the model in the box which made the music, or else that on beats.

    Raises:
      UserError: the box has none.
    """
    if data != box_model.BOX:
        return data
    try:
        job = json_text.load(storage.join(music, JOB_FILE), dict[str, Any])
    except (FileNotFoundError, UserError):
        job = {}  # what is wrong with the music is said elsewhere
    return box_model.resolve_data(data, box_model.time_base_of(str(job.get("bundle"))))


def describe(args: argparse.Namespace, info: DatasetInfo, overview: Overview) -> dict[str, Any]:
    """The first fields of the result."""
    return {
        "format_version": FORMAT_VERSION,
        "music": args.music,
        "bundles": sorted(overview.bundles),
        "dataset": info.hash,
        "split": args.split,
    }


def write(args: argparse.Namespace, table: Iterable[str], result: dict[str, Any], figures: Iterable[dict]) -> None:
    """Prints the table; then prints the result as one line of JSON, or writes it with each piece's figures."""
    print("\n".join(table))
    if args.output:
        storage.write_parts(args.output, _with_pieces(result, figures))
        print(args.output)
    else:
        print(json.dumps(result))


def _with_pieces(result: dict[str, Any], figures: Iterable[dict]) -> Iterator[bytes]:
    """`json.dumps(result | {"pieces": list(figures)}, indent=1)` and the end of the line, piece by piece."""
    head, tail = json.dumps(result | {"pieces": []}, indent=1).rsplit("[]", 1)
    yield f"{head}[".encode()
    end = ""
    for figure in figures:
        text = json.dumps(figure, indent=1).replace("\n", "\n  ")
        yield f"{end and ','}\n  {text}".encode()
        end = "\n "
    yield f"{end}]{tail}\n".encode()
