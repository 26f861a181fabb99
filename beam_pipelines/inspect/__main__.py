"""Shows what is in a dataset: counts, what was rejected and why, groups, histograms, and the notes of one piece.

python -m beam_pipelines.inspect dataset/
python -m beam_pipelines.inspect gs://bucket/dataset --html dataset.html
python -m beam_pipelines.inspect dataset/ --piece 24098186
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError

PROGRAM = "python -m beam_pipelines.inspect"
PAGE_SUFFIXES = (".html", ".htm")


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    _check(args)

    from beam_pipelines.inspect import contents_text, dataset_contents

    contents = dataset_contents.read(
        args.dataset, piece=args.piece, with_records=args.records, with_piece=args.html is not None
    )
    shows_piece_alone = args.piece is not None and args.html is None
    if args.html is not None:
        from beam_pipelines.inspect import page as inspect_page

        page = inspect_page.render(contents)
        storage.write_bytes(args.html, page)
        print(f"{args.html}: {len(page) / 1e6:.1f} MB")
    elif args.json:
        report = contents_text.to_dict(contents)
        if contents.piece is not None:
            report["piece"] = contents_text.piece_to_dict(contents.piece, contents.piece_split)
        _print(json.dumps(report))
    elif shows_piece_alone and contents.piece is not None:
        _print(contents_text.format_piece(contents.piece, contents.piece_split))
    else:
        _print(contents_text.format_contents(contents))
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("dataset", help=f"dataset folder that encode_corpus wrote, local, {' or '.join(storage.SCHEMES)}")
    add("--piece", metavar="ID", help="show this piece: its id, the first four digits or more, or its source")
    add("--html", metavar="PAGE", help="write a page with plots instead; a name that ends in .html")
    add("--json", action="store_true", help="print JSON instead of text")
    add(
        "--no-records",
        dest="records",
        action="store_false",
        help="look at dataset_info.json and the ledgers only, not at the shards: no groups, no notes per piece",
    )
    return parser


def _check(args: argparse.Namespace) -> None:
    """Looks at the flags alone.

    Raises:
      UserError: every mistake at once.
    """
    problems = []
    if args.html is not None and not args.html.lower().endswith(PAGE_SUFFIXES):
        problems.append(f"--html is {args.html!r}, want a name that ends in .html")
    elif args.html is not None:
        problems += storage.output_problems("--html", args.html, is_file=True)
    if args.html is not None and args.json:
        problems.append("--html and --json are both given, want one of them")
    if problems:
        raise UserError(problems)


def _print(text: str) -> None:
    """Prints names that are not UTF-8 too, with their odd bytes replaced; a reader may leave early, as `head` does."""
    try:
        print(text.encode("utf-8", "replace").decode(), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
