"""Turn a corpus of MIDI files into a dataset of TFRecord shards, with Apache Beam.

    python -m beam_pipelines.encode_corpus --input corpus/ --output dataset/

Every flag that is not listed here goes to Beam, such as --runner, --direct_num_workers or --project.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import logging
import platform
import time
import warnings
from collections.abc import Sequence
from typing import Any

from beam_pipelines import corpus as corpus_lib
from beam_pipelines import ledger, output_folder, splits
from beam_pipelines.corpus import Corpus
from beam_pipelines.settings import Settings, default_num_shards
from beam_pipelines.splits import SplitRule
from midi_codec import command, dataset_info, storage
from midi_codec.command import UserError
from midi_codec.dataset_info import SPLITS, DatasetInfo
from midi_codec.midi_header import Limits
from midi_codec.notes import MILLISECONDS, TIME_BASES

PROGRAM = "python -m beam_pipelines.encode_corpus"


def make_parser() -> argparse.ArgumentParser:
    limits = Limits()
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--input", nargs="+", action="extend", metavar="PATH", help="folders, globs or files, local, gs:// or s3://")
    add("--output", metavar="FOLDER", help="where the dataset goes; an empty folder, or one of a run to finish")
    add("--time-base", metavar="GRID", default=MILLISECONDS, help=f"{' or '.join(TIME_BASES)} (%(default)s)")
    add("--split-percents", metavar="TRAIN,VALIDATION,TEST", help="shares of the splits (90,5,5)")
    add("--split-regex", metavar="REGEX", help="read the split from the path instead; its group gives the name")
    add("--num-shards", metavar="N", help="shards a split (one for each 1,000 inputs)")
    add("--max-notes", metavar="N", default=str(limits.max_notes), help="reject a file with more notes (%(default)s)")
    add("--max-seconds", metavar="X", default=f"{limits.max_seconds:g}", help="reject a longer file (%(default)s)")
    add("--max-bytes", metavar="N", default=str(limits.max_bytes), help="reject a larger file, unread (%(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    args, beam_flags = make_parser().parse_known_args(argv)
    began, run_info = time.monotonic(), _run_info(argv)
    corpus, settings = _check(args, beam_flags)
    if info := output_folder.find_dataset(args.output, settings):
        print(f"already complete: {args.output}")
        _print_summary(info, args.output)
        return command.OK
    pipeline = _import_pipeline()
    with command.StopSignal() as stop:
        output_folder.prepare(args.output, run_info, will_write=pipeline.file_names(corpus, settings))
        pipeline.run(corpus, pipeline.make_options(beam_flags), output=args.output, settings=settings, stop=stop)
    info = _load_result(args.output)
    seconds = time.monotonic() - began
    output_folder.write_run_info(args.output, {**run_info, "finished": _now(), "seconds": round(seconds, 1)})
    _print_summary(info, args.output)
    print(f"took {seconds:.1f} s, {info.inputs / seconds:,.0f} files a second")
    return command.OK


def _check(args: argparse.Namespace, beam_flags: Sequence[str]) -> tuple[Corpus, Settings]:
    """Finds the inputs and the settings, or says everything that is wrong, before any work.

    Raises:
      UserError: all mistakes in the flags and paths at once.
    """
    problems: list[str] = []
    corpus = _find_corpus(args, problems)
    rule = _split_rule(args, corpus.sources if corpus else (), problems)
    limits = _limits(args, problems)
    num_shards = default_num_shards(len(corpus.sources) if corpus else 0)
    if args.num_shards is not None:
        num_shards = _whole_number("--num-shards", args.num_shards, problems)
        if num_shards > 99_999:
            problems.append(f"--num-shards is {num_shards}, want at most 99999")
    if args.time_base not in TIME_BASES:
        problems.append(f"--time-base is {args.time_base!r}, want {' or '.join(TIME_BASES)}")
    if beam_flags:  # only then: importing Beam takes seconds
        problems += _import_pipeline().problems_in_flags(beam_flags)
    if corpus is None or problems:
        raise UserError(problems)
    settings = Settings(
        inputs_hash=corpus.hash, time_base=args.time_base, split_rule=rule, num_shards=num_shards, limits=limits
    )
    return corpus, settings


def _find_corpus(args: argparse.Namespace, problems: list[str]) -> Corpus | None:
    if not args.output:
        problems.append("--output is missing, want a folder for the dataset")
    if not args.input:
        problems.append("--input is missing, want a folder, a glob or a file")
        return None
    try:
        return corpus_lib.find(args.input, output=args.output)
    except UserError as error:
        problems += error.problems
        return None


def _split_rule(args: argparse.Namespace, sources: Sequence[str], problems: list[str]) -> SplitRule:
    if args.split_regex is not None and args.split_percents is not None:
        problems.append("--split-percents and --split-regex are both given, want one of them")
    percents = splits.DEFAULT_PERCENTS
    if args.split_percents is not None:
        try:
            percents = splits.parse_percents(args.split_percents)
        except ValueError as error:
            problems.append(str(error))
    if args.split_regex is None:
        return SplitRule(percents=percents)
    problems += splits.problems_in_regex(args.split_regex, sources)
    return SplitRule(regex=args.split_regex)


def _limits(args: argparse.Namespace, problems: list[str]) -> Limits:
    return Limits(
        max_notes=_whole_number("--max-notes", args.max_notes, problems),
        max_bytes=_whole_number("--max-bytes", args.max_bytes, problems),
        max_seconds=_positive("--max-seconds", args.max_seconds, problems),
    )


def _whole_number(flag: str, text: str, problems: list[str]) -> int:
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    problems.append(f"{flag} is {text!r}, want a whole number from 1")
    return 1


def _positive(flag: str, text: str, problems: list[str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    problems.append(f"{flag} is {text!r}, want a number above 0")
    return 1.0


def _import_pipeline() -> Any:
    """Beam, imported once the flags are parsed; what it says about itself while it loads helps nobody."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    logging.getLogger().addFilter(lambda record: "crcmod" not in record.getMessage())
    from beam_pipelines import pipeline

    return pipeline


def _load_result(output: str) -> DatasetInfo:
    """What the pipeline published.

    Raises:
      UserError: nothing was kept; names the top reasons.
    """
    if storage.exists(storage.join(output, dataset_info.FILE_NAME)):
        return dataset_info.load(output)
    try:
        rejects = ledger.read_rejects(output)
    except FileNotFoundError as error:
        raise RuntimeError(f"the pipeline ended and left no dataset in {output}; see the runner's log") from error
    raise ledger.nothing_kept(output, rejects)


def _run_info(argv: Sequence[str]) -> dict[str, Any]:
    packages = ("apache-beam", "symusic", "numpy")
    return {
        "started": _now(),
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "command": ["python", "-m", "beam_pipelines.encode_corpus", *argv],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _print_summary(info: DatasetInfo, output: str) -> None:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in info.rejects.items())
    rejects = f"{sum(info.rejects.values()):,} rejects" + (f" ({reasons})" if reasons else "")
    print(f"{info.inputs:,} inputs, {info.other_files:,} other files")
    print(f"  {info.examples:,} examples, {sum(info.duplicates.values()):,} duplicates, {rejects}")
    for split in SPLITS:
        part = info.splits[split]
        counts = f"{part.num_pieces:>9,} pieces  {part.num_notes:>13,} notes  {part.seconds / 3600:>9,.1f} hours"
        print(f"  {split:<10}  {counts}  {len(part.shard_lengths):>5} shards")
    print(f"dataset {info.hash} in {output}")


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
