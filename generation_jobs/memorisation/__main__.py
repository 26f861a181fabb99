"""Writes the index that finds the longest run of notes that a piece shares with a dataset, in any key.

    python -m generation_jobs.memorisation --data dataset --output train.index

It is an index of the training split, a folder of 15 bytes per note; without one, `generation_jobs.compare` builds it in
temporary files. Several tasks may share the work (--num-tasks); the command without a task then finishes it.
docs/memorisation.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence

from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.memorisation.index_build import Build
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.flags import Parser
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import split_reader
from trainer import box_model

PROGRAM = "python -m generation_jobs.memorisation"


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--data", required=True, help="a dataset folder, as encode_corpus wrote it")
    parser.add_argument("--output", required=True, help="folder of the index")
    command.add_task_flags(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    problems = storage.output_problems("--output", args.output)
    task_index, num_tasks = 0, 1
    with command.collecting(problems):
        task_index, num_tasks = command.task_share(args)
    with command.collecting(problems, "--data"):
        data = box_model.resolve_data(args.data, None)
        info = split_reader.load_trainable(data)
    if problems:
        raise UserError(problems)
    with StopSignal() as stop:
        shards = progress(list(split_reader.read_shards(data, info, "train")), unit="shards", label="indexing")
        build = Build(args.output, shards, info.time_base, info.hash, is_stopped=lambda: stop.requested)
        if num_tasks > 1 and not build.is_done:
            is_sorted = build.make_share(task_index, num_tasks)
            later = "" if is_sorted else "; its buckets can be sorted once the other tasks have made their parts"
            print(f"task {task_index} of {num_tasks} has made its parts in {args.output}{later}")
            return command.OK
        if not build.is_done:
            build.finish()
    index = Index.load(args.output)
    print(f"{len(index.text):,} notes of {index.num_pieces:,} pieces in {args.output}")
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
