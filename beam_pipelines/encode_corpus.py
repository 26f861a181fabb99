"""Turn a corpus of MIDI files into a dataset of TFRecord shards.

    python -m beam_pipelines.encode_corpus --input corpus/ --output dataset/

Without an engine, this process does the work, or several processes share it: each gets `--task-index` and
`--num-tasks`, and a last step gets neither. With `--runner`, or any other of Apache Beam's flags, the encode is a Beam
pipeline. The dataset is the same, byte for byte.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import importlib.metadata
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from beam_pipelines import settings_from_flags
from beam_pipelines.corpus import inputs as corpus_lib
from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.execution import encode_job, local_run, wait_for_tasks
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.output import claim, dataset_files, output_folder, summary_text
from beam_pipelines.settings.encode_settings import AUTO, Settings
from beam_pipelines.survey import time_base_choice
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.command_line.settings import add_number
from job_runtime.logs import masking
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo

PROGRAM = "python -m beam_pipelines.encode_corpus"


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--input", nargs="+", action="extend", metavar="PATH", help="folders, globs, files, archives or @lists")
    add("--output", metavar="FOLDER", help="an empty folder for the dataset, or the folder of a run to finish")
    add("--add-to", metavar="DATASET", help="an older dataset: encode only new inputs, and write a new version of it")
    add("--survey", action="store_true", help="write nothing; estimate the dataset and the time it would take")
    settings_from_flags.add_flags(parser)
    command.add_task_flags(parser)
    text = "as the last step: start after X minutes without a new part"
    add_number(group_of(parser, command.TASKS), "--wait-minutes", None, text, kind=float, at_least=0)
    group_of(parser, "Apache Beam", "--runner, or any other of Beam's flags, makes the encode a Beam pipeline")
    return parser


def main(argv: Sequence[str]) -> int:
    args, beam_flags, problems = make_parser().parse_with_unknown(argv)
    share = (0, 1)
    with command.collecting(problems):
        share = command.task_share(args)
    if args.survey:
        return _survey(args, beam_flags, problems)
    began, run_info = time.monotonic(), _run_info(argv)
    corpus, settings = _check(args, beam_flags, output_folder.work_folder(args.output or ""), problems)
    if settings.time_base == AUTO:
        settings = dataclasses.replace(settings, time_base=_choose_time_base(corpus, settings, args.output))
    existing, is_whole = _find_existing(args.output, settings)
    if existing is not None and is_whole:
        return _report_complete(args.output, existing)
    job = encode_job.make_job(corpus, settings, args.output)
    items = encode_job.list_work_items(corpus, settings)
    with command.StopSignal() as stop:
        if share[1] > 1:
            output_folder.mark(args.output, run_info)
            corpus.save_indexes()
            return _run_share(job, items, share, stop)
        if args.wait_minutes is not None:
            missing = wait_for_tasks.wait_for_parts(job, items, minutes=args.wait_minutes, stop=stop)
            print(f"{len(items) - missing:,} of {len(items):,} parts are there", flush=True)
        output_folder.mark(args.output, run_info)
        if template := _template_path(beam_flags):  # no process can hold a claim while a template's job runs
            _run(job, items, corpus, run_info, beam_flags, stop)
            print(f"template in {template}; a job made from it writes the dataset")
            return command.OK
        with claim.hold(args.output, settings.key, stop=stop):
            finished, is_whole = _find_existing(args.output, settings, is_quiet=True)
            if finished is not None and is_whole:  # by the same encode in another process, meanwhile
                return _report_complete(args.output, finished)
            job = dataclasses.replace(job, claim=settings.key)
            info = _run(job, items, corpus, run_info, beam_flags, stop)
            if info is None:
                raise UserError(output_folder.problems_of_too_few(args.output))
            seconds = time.monotonic() - began
            output_folder.write_run_info(args.output, {**run_info, "finished": _now(), "seconds": round(seconds, 1)})
            output_folder.delete_work(args.output)
    if existing is not None and existing.hash != info.hash:
        print(f"the dataset differs from the earlier one, {existing.hash}: another version of the programs made it")
    summary_text.print_summary(info, args.output)
    print(f"took {seconds:.1f} s, {info.inputs / seconds:,.0f} files per second")
    return command.OK


def _find_existing(output: str, settings: Settings, *, is_quiet: bool = False) -> tuple[DatasetInfo | None, bool]:
    """The dataset that is already in the folder, and whether all of its files are."""
    info = output_folder.find_dataset(output, settings)
    damage = dataset_files.find_damage(output, info) if info is not None else {}
    if damage and not is_quiet:
        print(f"{output} was complete and is now damaged; it is made again: {dataset_files.describe(damage)}")
    return info, not damage


def _report_complete(output: str, info: DatasetInfo) -> int:
    output_folder.delete_work(output)
    print(f"already complete: {output}")
    summary_text.print_summary(info, output)
    return command.OK


def _survey(args: argparse.Namespace, beam_flags: Sequence[str], problems: list[str]) -> int:
    from beam_pipelines.survey import estimate_text, read_sample

    with tempfile.TemporaryDirectory(prefix="survey-") as folder, command.StopSignal() as stop:
        corpus, settings = _check(args, beam_flags, folder, problems)
        corpus.save_indexes()
        choice = time_base_choice.choose(corpus, settings.limits)
        if settings.time_base == AUTO:
            settings = dataclasses.replace(settings, time_base=choice.time_base)
        print(estimate_text.format_estimate(read_sample.run(corpus, settings, stop=stop)))
        print(choice.reason)
    return command.OK


def _run(
    job: EncodeJob,
    items: Sequence[WorkItem],
    corpus: Corpus,
    run_info: Mapping[str, Any],
    beam_flags: Sequence[str],
    stop: StopSignal,
) -> DatasetInfo | None:
    """The whole encode; None if too little was kept, or if only a template was staged."""
    output_folder.prepare(job.output, run_info, will_write=job.file_names())
    corpus.save_indexes()
    if not beam_flags:
        return local_run.run(job, items, num_inputs=corpus.num_inputs, stop=stop)
    options = _import_beam_options()
    from beam_pipelines.execution import beam_run

    beam_run.run(job, items, options.make_options(beam_flags), num_inputs=corpus.num_inputs, stop=stop)
    if options.template_path(beam_flags):
        return None
    if storage.exists(storage.join(job.output, dataset_info.FILE_NAME)):
        return dataset_info.load(job.output)
    try:
        raise UserError(output_folder.problems_of_too_few(job.output))
    except FileNotFoundError as error:
        message = f"the pipeline ended and left no dataset in {job.output}; see the runner's log"
        raise RuntimeError(message) from error


def _run_share(job: EncodeJob, items: Sequence[WorkItem], share: tuple[int, int], stop: StopSignal) -> int:
    task_index, num_tasks = share
    done = local_run.run_share(job, items, task_index=task_index, num_tasks=num_tasks, stop=stop)
    print(f"task {task_index} of {num_tasks}: {done.num_inputs:,} inputs in {done.num_items:,} parts, all whole")
    print("when all tasks are done, the same command without --task-index and --num-tasks writes the dataset")
    return command.OK


def _check(
    args: argparse.Namespace, beam_flags: Sequence[str], work_folder: str, problems: list[str]
) -> tuple[Corpus, Settings]:
    """Finds the inputs and the settings, or reports everything that is wrong, before any work.

    Raises:
      UserError: all mistakes in the flags and paths at once.
    """
    corpus = _find_corpus(args, work_folder, problems)
    settings = settings_from_flags.make_settings(args, corpus, problems)
    if args.num_tasks is not None and args.num_tasks > 1 and beam_flags:
        problems.append(f"--num-tasks and Beam's {beam_flags[0].split('=')[0]} are both given, want one way to share")
    if args.add_to and args.output and args.add_to.rstrip("/") == args.output.rstrip("/"):
        problems.append(f"--output {args.output} is the dataset to add to, want a new folder")
    if args.wait_minutes is not None:
        problems += _problems_of_waiting(args, beam_flags)
    if args.survey and (beam_flags or args.num_tasks or args.add_to):
        problems.append("--survey reads a sample in this process, want no engine, no tasks and no --add-to with it")
    elif beam_flags:  # only then: importing Beam takes seconds
        options = _import_beam_options()
        problems += options.problems_in_flags(beam_flags)
        problems += [] if problems else options.problems_of_runner(beam_flags)
    if corpus is None or settings is None or problems:
        raise UserError(problems)
    for remark in settings.labels.remarks:
        print(remark, flush=True)
    return corpus, settings


def _choose_time_base(corpus: Corpus, settings: Settings, output: str) -> str:
    """The grid of a dataset of the same inputs that is in the folder already, or the one that suits the corpus."""
    if storage.exists(storage.join(output, dataset_info.FILE_NAME)):
        with contextlib.suppress(UserError):  # what is wrong with it is said later
            info = dataset_info.load(output)
            if info.settings["inputs_hash"] == settings.inputs_hash:
                return info.time_base
    choice = time_base_choice.choose(corpus, settings.limits)
    print(choice.reason, flush=True)
    return choice.time_base


def _problems_of_waiting(args: argparse.Namespace, beam_flags: Sequence[str]) -> Iterator[str]:
    if beam_flags or args.survey or (args.num_tasks or 1) > 1:
        yield "--wait-minutes is for the last step of tasks, want no engine, no --survey and no --num-tasks with it"


def _find_corpus(args: argparse.Namespace, work_folder: str, problems: list[str]) -> Corpus | None:
    if not args.output and not args.survey:
        problems.append("--output is missing, want a folder for the dataset")
    elif args.output:
        problems += storage.output_problems("--output", args.output)
    if not args.input:
        problems.append("--input is missing, want a folder, a glob or a file")
        return None
    if args.output and args.output.rstrip("/") in (path.rstrip("/") for path in args.input):
        problems.append(f"--output {args.output} is an --input too, want another folder")
        return None
    try:
        return corpus_lib.find(args.input, output=args.output, work_folder=work_folder)
    except UserError as error:
        problems += error.problems
        return None


def _template_path(beam_flags: Sequence[str]) -> str | None:
    return _import_beam_options().template_path(beam_flags) if beam_flags else None


def _import_beam_options() -> ModuleType:
    """Imports Beam, once the flags are parsed, and hides its warnings about itself."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    logging.getLogger().addFilter(_is_no_crcmod_warning)
    from beam_pipelines.execution import beam_options

    return beam_options


def _is_no_crcmod_warning(record: logging.LogRecord) -> bool:
    return "crcmod" not in record.getMessage()


def _run_info(argv: Sequence[str]) -> dict[str, Any]:
    packages = ("apache-beam", "symusic", "numpy")
    return {
        "started": _now(),
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "command": ["python", "-m", "beam_pipelines.encode_corpus", *masking.mask_arguments(argv)],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
