"""What settings of training are worth on corpora of several sizes: the experiments behind the plan of docs/train.md.

    python -m benchmarks.corpus_sizes --output sizes --corpus tunes=my/tunes --corpus drums=my/drums \\
        --num-files 20 --num-files 100 --training "--max-minutes 4" --training "--max-minutes 4 --dropout 0.5"

Each corpus is cut to each number of files (the smaller cut is a part of the larger one), encoded as `make run` does,
and trained with each set of flags of `trainer.task`. `results.jsonl` in the folder gets a line for each experiment:
nats per note in all and by field, of the model and of the baselines, and the settings as they were resolved. The same
command continues: finished experiments are not repeated, an interrupted training resumes.

    OUTPUT/NAME-20/corpus, dataset, training-HASH/
    OUTPUT/results.jsonl
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from trainer import bundle, task
from trainer import config as config_lib
from trainer.run_output import run_folder

PROGRAM = "python -m benchmarks.corpus_sizes"
ENCODING = ("--time-base", "auto", "--split-percents", "80,10,10")
MIDI_SUFFIXES = (".mid", ".midi")
POLL_SECONDS = 0.2


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    corpora = read_corpora(args.corpus or [], problems)
    for text in args.training or []:
        check_training(text, problems)
    problems += [f"--num-files is {number}, want 3 or more" for number in args.num_files or [] if number < 3]
    if problems:
        raise UserError(problems)
    results = pathlib.Path(args.output, "results.jsonl")
    with StopSignal() as stop:
        for (name, files), number, training in itertools.product(corpora.items(), args.num_files, args.training):
            cut = pathlib.Path(args.output, f"{name}-{number}")
            key = {"corpus": name, "num_files": number, "training": training}
            if key in [{each: line[each] for each in key} for line in read_lines(results)]:
                print(f"{name}, {number} files, {training}: already done", flush=True)
                continue
            make_cut(cut / "corpus", files, number)
            dataset, run = cut / "dataset", cut / f"training-{hashlib.sha256(training.encode()).hexdigest()[:8]}"
            if not (dataset / dataset_info.FILE_NAME).exists():
                flags = ["--input", str(cut / "corpus"), "--output", str(dataset), *ENCODING]
                run_command("beam_pipelines.encode_corpus", flags, stop)
            flags = ["--data", str(dataset), "--output", str(run), *shlex.split(training)]
            run_command("trainer.task", flags, stop)
            line = key | figures(dataset, run)
            add_line(results, line)
            print(f"{name}, {number} files, {training}: {line['nll']:.4f} nats per note", flush=True)
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--output", required=True, help="a folder for everything; a finished experiment in it is not repeated")
    add("--corpus", action="append", required=True, metavar="NAME=FOLDER", help="MIDI files; may be given again")
    add("--num-files", action="append", type=int, required=True, metavar="N", help="size of a cut; may be given again")
    add("--training", action="append", required=True, metavar="FLAGS", help="of trainer.task; may be given again")
    return parser


def read_corpora(texts: Sequence[str], problems: list[str]) -> dict[str, list[str]]:
    """The MIDI files of each named folder, in an order that depends only on their paths below it."""
    corpora: dict[str, list[str]] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        root = pathlib.Path(folder)
        found = [path for path in root.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES] if folder else []
        if not name or "/" in name or not found:
            problems.append(f"--corpus is {text!r}, want NAME=FOLDER with MIDI files in the folder")
        by_hash = sorted(found, key=lambda path: hashlib.sha256(os.fsencode(path.relative_to(root))).digest())
        corpora[name] = [str(path.resolve()) for path in by_hash]
    return corpora


def check_training(text: str, problems: list[str]) -> None:
    """Adds what `trainer.task` would say of the flags."""
    args, found = task.make_parser().parse(["--data", "d", "--output", "o", *shlex.split(text)])
    with command.collecting(found):
        config_lib.read_given(args)
    problems += [f"--training {text!r}: {problem}" for problem in found]


def make_cut(folder: pathlib.Path, files: Sequence[str], number: int) -> None:
    """Links to the first files, by their number and name."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, path in enumerate(files[:number]):
        link = folder / f"{index:04d} {os.path.basename(path)}"
        if not link.is_symlink():
            link.symlink_to(path)


def run_command(module: str, flags: Sequence[str], stop: StopSignal) -> None:
    """Runs one of our commands to its end; passes on a request to stop.

    Raises:
      Interrupted: of this process or the command.
      RuntimeError: the command ended with another status than 0.
    """
    line = [sys.executable, "-m", module, *flags]
    print(shlex.join(["python", *line[1:]]), flush=True)
    process, is_terminated = subprocess.Popen(line), False
    while True:
        try:
            status = process.wait(POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if stop.requested and not is_terminated:
                process.terminate()
                is_terminated = True
    if status == command.INTERRUPTED or stop.requested:
        raise Interrupted
    if status != command.OK:
        raise RuntimeError(f"{module} ended with status {status}; its messages are above")


def figures(dataset: pathlib.Path, run: pathlib.Path) -> dict[str, Any]:
    """What is known after a training."""
    info = dataset_info.load(str(dataset))
    metrics = bundle.load_description(str(run / "bundle"))["metrics"]
    last = read_lines(run / "metrics.jsonl")[-1]
    return {
        "dataset": info.hash,
        "time_base": info.time_base,
        "splits": {name: [split.num_pieces, split.num_notes] for name, split in info.splits.items()},
        "steps": last["step"],
        "passes": last["epoch"],
        "seconds": last["seconds"],
        "best_step": metrics["step"],
        "nll": metrics["validation_nll"],
        "by_field": metrics["validation_nll_by_field"],
        "last_nll": last["validation_nll"],
        "baselines": {
            name: {"nll": score["nll"], "by_field": score["by_field"]} for name, score in metrics["baselines"].items()
        },
        "settings": run_folder.saved(str(run)),
    }


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_line(path: pathlib.Path, line: dict[str, Any]) -> None:
    text = "".join(json.dumps(each) + "\n" for each in [*read_lines(path), line])
    storage.write_bytes(str(path), text.encode())


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
