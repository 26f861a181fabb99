"""All jobs with a million small pieces: processor time, memory and disk of each, and what a whole corpus would take.

    python -m benchmarks.rehearsal --folder SCRATCH
    python -m benchmarks.rehearsal --folder SCRATCH --files 1000000 --shares 0.1 1 --stages corpus list encode
    python -m benchmarks.rehearsal --folder SCRATCH --made-up --pieces 1000000

It makes a corpus of tar archives, lists all of it, encodes two shares of it as two tasks and a last step, trains fifty
steps on the larger one, generates pieces as tasks, and runs what reads them. A straight line through the two encodes
gives the time and memory for all files, and for several pods: each lists everything and makes its share of the parts;
one more lists again, plans, and writes the shards. Start the same command again after an interruption: stages that are
done are kept. At the end everything but the figures is deleted. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.harness import machine, made_up_music, midi_tars, processes
from benchmarks.harness.processes import Usage
from generation_jobs.seeds import seed_json
from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.settings import add_number
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo

NUM_TARS = 100
NUM_PODS = (1, 4, 16, 64)
SAMPLES_PER_SEED = 10
WINDOW = 128
TRAINING = {
    "units": 64, "layers": 1, "head-units": 32, "context-units": 0, "attention": "none", "batch-size": 64,
    "window": WINDOW, "samples": 0, "patience": "none",
}  # fmt: skip
_ENCODE_STEPS = {  # one task of one would be the whole encode
    "task_0": ("--task-index", 0, "--num-tasks", 2),
    "task_1": ("--task-index", 1, "--num-tasks", 2),
    "last": (),
}
SPLITS = "98,1,1"  # of a large corpus, one percent is enough to validate


class Rehearsal:
    """The stages in a folder, and the figures of those that are done."""

    def __init__(self, args: argparse.Namespace, stop: StopSignal):
        self._args, self._stop = args, stop
        self._folder = pathlib.Path(args.folder).resolve()
        self._figures = self._folder / "figures"
        self.corpus, self.music = self._folder / "corpus", self._folder / "music"
        self.sizes = sorted(round(NUM_TARS * share) * (args.files // NUM_TARS) for share in args.shares)

    def check(self) -> None:
        """Raises UserError for numbers that do not divide, or if the folder is of another rehearsal."""
        step = NUM_TARS * midi_tars.DAMAGED_EVERY
        problems = [f"--files is {self._args.files}, want a multiple of {step}"] if self._args.files % step else []
        for share in self._args.shares:
            if not (0 < share <= 1 and abs(NUM_TARS * share - round(NUM_TARS * share)) < 1e-9):
                problems.append(f"--shares has {share}, want hundredths, 0.01 to 1")
        if problems:
            raise UserError(problems)
        settings = {name: value for name, value in vars(self._args).items() if name not in ("folder", "stages")}
        known = self._figures / "settings.json"
        if known.exists() and json.loads(known.read_text()) != settings:
            raise UserError(f"{self._folder} holds a rehearsal with {known.read_text()}, want another --folder")
        self._figures.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(settings))

    def run(self) -> dict[str, Any]:
        """Figures by stage and command."""
        stages: dict[str, Callable[[], dict[str, Any]]] = {
            "corpus": self._make_corpus, "list": self._list, "encode": self._encode, "train": self._train,
            "generate": self._generate, "merge": self._merge, "evaluate": self._evaluate, "compare": self._compare,
            "report": self._report, "inspect": self._inspect,
        }  # fmt: skip
        unknown = [f"--stages: {name!r} is not a stage, want {', '.join(stages)}" for name in self._args.stages]
        if problems := [text for name, text in zip(self._args.stages, unknown, strict=True) if name not in stages]:
            raise UserError(problems)
        return {name: stage() for name, stage in stages.items() if name in (self._args.stages or stages)}

    def clean(self) -> None:
        for path in self._folder.iterdir():
            if path != self._figures:
                shutil.rmtree(path)

    def dataset(self, size: int) -> pathlib.Path:
        return self._folder / f"dataset-{size}"

    def _command(self, name: str, arguments: Sequence[Any], folder: pathlib.Path) -> dict[str, Any]:
        """Runs it, unless it is done; after an interruption, what was needed before it is added."""
        path = self._figures / f"{name}.json"
        known = json.loads(path.read_text()) if path.exists() else {"starts": 0, "is_done": False}
        if not known["is_done"]:
            before = Usage(**{key: value for key, value in known.items() if key not in ("starts", "is_done")})
            log = self._figures / f"{name}.txt"
            usage, is_done = processes.run([str(each) for each in arguments], folder=folder, log=log, stop=self._stop)
            usage = before.then(usage)
            known = {"starts": known["starts"] + 1, "is_done": is_done, **dataclasses.asdict(usage)}
            storage.write_bytes(str(path), json.dumps(known).encode())
            print(f"{name:<24}{json.dumps(known)}", flush=True)
            if not is_done:
                raise Interrupted(command.TO_CONTINUE)
        return {key: value for key, value in known.items() if key != "is_done"}

    def _make_corpus(self) -> dict[str, Any]:
        path = self._figures / "corpus.json"
        if not path.exists():
            self.corpus.mkdir(exist_ok=True)
            started, per_tar, notes = time.process_time(), self._args.files // NUM_TARS, 0
            for key in progress(range(NUM_TARS), unit="archives", label="making the corpus"):
                notes += midi_tars.write_tar(self.corpus / f"{key:04d}.tar", key=key, num_files=per_tar)
                if self._stop.requested:
                    raise Interrupted(command.TO_CONTINUE)
            size = sum(entry.stat().st_size for entry in self.corpus.iterdir())
            figures = {
                "files": per_tar * NUM_TARS,
                "notes": notes,
                "processor_seconds": round(time.process_time() - started, 2),
                "disk_megabytes": size >> 20,
            }
            storage.write_bytes(str(path), json.dumps(figures).encode())
        return json.loads(path.read_text())

    def _list(self) -> dict[str, Any]:
        """A task that makes a single part of all files does next to nothing but list them."""
        output = self._folder / "listing"
        share = ["--task-index", 0, "--num-tasks", self._args.files]
        return self._command("list", self._encode_command(self._args.files, output, *share), output)

    def _encode(self) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for size in self.sizes:
            output = self.dataset(size)
            figures[str(size)] = {}
            for name, flags in _ENCODE_STEPS.items():
                usage = self._command(f"encode-{size}-{name}", self._encode_command(size, output, *flags), output)
                figures[str(size)][name] = usage
            info = dataset_info.load(str(output))
            check_counts(info, size)
            figures[str(size)]["notes"] = sum(split.num_notes for split in info.splits.values())
        return figures

    def _encode_command(self, size: int, output: pathlib.Path, *flags: Any) -> list[Any]:
        archives = self._folder / f"archives-{size}" / "list.txt"
        archives.parent.mkdir(exist_ok=True)
        per_tar = self._args.files // NUM_TARS
        archives.write_text("".join(f"{self.corpus}/{key:04d}.tar\n" for key in range(size // per_tar)))
        given = ["--input", f"@{archives}", "--output", output, "--split-percents", SPLITS]
        return ["beam_pipelines.encode_corpus", *given, *flags]

    @property
    def _data(self) -> pathlib.Path:
        return self.dataset(self.sizes[-1])

    def _train(self) -> dict[str, Any]:
        if self._args.made_up:
            return {}
        notes = dataset_info.load(str(self._data)).splits["train"].num_notes
        epochs = self._args.steps * TRAINING["batch-size"] * WINDOW / notes
        flags = [part for name, value in TRAINING.items() for part in (f"--{name}", value)]
        output = self._folder / "run"
        given = ["trainer.task", "--data", self._data, "--output", output, "--epochs", epochs]
        return self._command("train", [*given, "--evaluate-every", epochs, *flags], output)

    def _generate(self) -> dict[str, Any]:
        if self._args.made_up:
            made_up_music.write(self.music, self._args.pieces, self._stop)
            return {}
        seeds = self._folder / "seeds" / "seeds.jsonl"
        seeds.parent.mkdir(exist_ok=True)
        num_seeds = -(-self._args.pieces // SAMPLES_PER_SEED)
        seeds.write_bytes(seed_json.serialize({"id": f"seed-{number:07d}"} for number in range(num_seeds)))
        given = ["generation_jobs.generate", "--bundle", self._folder / "run" / "bundle", "--seeds", seeds]
        given += ["--samples-per-seed", SAMPLES_PER_SEED, "--pieces-per-shard", 512, "--output", self.music]
        given += ["--max-notes", self._args.notes, "--avoid-loops", "false", "--num-tasks", self._args.tasks]
        return {
            str(task): self._command(f"generate-{task}", [*given, "--task-index", task], self.music)
            for task in range(self._args.tasks)
        }

    def _merge(self) -> dict[str, Any]:
        return self._command("merge", ["generation_jobs.merge", "--output", self.music], self.music)

    def _evaluate(self) -> dict[str, Any]:
        return self._compare_with_corpus("evaluate")

    def _compare(self) -> dict[str, Any]:
        return self._compare_with_corpus("compare")

    def _compare_with_corpus(self, name: str) -> dict[str, Any]:
        output = self._folder / name
        given = [f"generation_jobs.{name}", "--music", self.music, "--data", self._data]
        return self._command(name, [*given, "--output", output / f"{name}.json"], output)

    def _report(self) -> dict[str, Any]:
        output = self._folder / "report"
        given = ["generation_jobs.report", "--music", self.music, "--data", self._data]
        return self._command("report", [*given, "--output", output / "report.html"], output)

    def _inspect(self) -> dict[str, Any]:
        output, data = self._folder / "inspect", self._data
        if self._args.made_up:
            data = self._folder / "made-up-dataset"
            made_up_music.write_dataset(data, self._args.pieces)
        given = ["beam_pipelines.inspect", data, "--html", output / "dataset.html"]
        return self._command("inspect", given, output)


def check_counts(info: DatasetInfo, size: int) -> None:
    """Raises RuntimeError unless exactly the copies and the damaged files of the corpus were left out."""
    wanted = {"exact": size // midi_tars.COPY_EVERY, "near": 0}
    damaged = size // midi_tars.DAMAGED_EVERY
    if (
        info.inputs != size
        or info.duplicates != wanted
        or sum(info.rejects.values()) != damaged
        or info.groups["groups"]
    ):
        found = f"{info.inputs} inputs, duplicates {info.duplicates}, rejects {info.rejects}, groups {info.groups}"
        raise RuntimeError(f"{found}; want {size} inputs, duplicates {wanted}, {damaged} rejects and no groups")


def extrapolate(encode: Mapping[str, Any], listing: Usage, files: int) -> dict[str, Any]:
    """What an encode of all files takes, from that of two shares: time in minutes of a processor, and memory.

    Listing is measured with all files. Both tasks and the last step begin with it, so the line through the tasks has it
    twice, and that through the last step once.
    """
    sizes = sorted(map(int, encode))
    small, large = (encode[str(size)] for size in (sizes[0], sizes[-1]))

    def line(name: str, key: str) -> float:
        low, high = small[name][key], large[name][key]
        return low + (high - low) * (files - sizes[0]) / (sizes[-1] - sizes[0])

    first, second, last = (line(name, "processor_seconds") for name in _ENCODE_STEPS)
    listed = listing.processor_seconds
    parts = max(first + second - 2 * listed, 0.0)
    pods = {str(num): round((listed + parts / num + last) / 60, 2) for num in NUM_PODS}
    return {
        "files": files,
        "minutes_by_pods": pods,
        "megabytes": round(max(line(name, "megabytes") for name in _ENCODE_STEPS)),
        "disk_megabytes": round(max(line(name, "disk_megabytes") for name in _ENCODE_STEPS)),
    }


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.rehearsal", __doc__)
    parser.add_argument("--folder", required=True, help="for everything, on a local disk; 3 GB per million files")
    add_number(parser, "--files", 1_000_000, "of the corpus, a multiple of 20,000", at_least=NUM_TARS)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.02, 0.1], help="of it to encode, ascending")
    add_number(parser, "--steps", 50, "of training", at_least=1)
    add_number(parser, "--pieces", 20_000, "to generate", at_least=1)
    add_number(parser, "--notes", 32, "the most of a generated piece", at_least=1)
    add_number(parser, "--tasks", 4, "that generate them", at_least=1)
    parser.add_argument("--made-up", action="store_true", help="pieces are made with arrays, nothing is trained")
    parser.add_argument("--stages", nargs="*", default=[], help="only these; keeps what is in the folder")
    args = parser.parse_args(argv)
    with StopSignal() as stop:
        rehearsal = Rehearsal(args, stop)
        rehearsal.check()
        stages = rehearsal.run()
    report: dict[str, Any] = {"benchmark": "rehearsal", "settings": vars(args), "stages": stages}
    if "encode" in stages and "list" in stages and len(rehearsal.sizes) > 1:
        listing = Usage(**{key: value for key, value in stages["list"].items() if key != "starts"})
        report["extrapolated"] = extrapolate(stages["encode"], listing, args.files)
    if not args.stages:
        rehearsal.clean()
    print(json.dumps({**report, "machine": machine.describe(["numpy", "tensorflow", "symusic"], {})}), flush=True)
    return command.OK


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.rehearsal", main))
