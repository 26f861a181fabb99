"""From music to new music: pieces by the model in the box, then corpus, dataset, model, pieces, report.

    python -m demo.run                            the Bach chorales that music21 carries
    python -m demo.run --corpus my/midi           your own music: a folder or a glob, local or in a bucket
    python -m demo.run --quick                    little music and little training, to see that it works

`make run` calls this. Every step prints its command, so that you can run it yourself. Finished steps are not repeated,
and an interrupted step resumes when you start again.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_pipelines.settings.encode_settings import AUTO, TIME_BASE_CHOICES
from demo import summary
from demo.steps import StepFailed, Steps
from job_runtime import command, storage
from job_runtime.command import StopSignal
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import BEATS, MILLISECONDS, TICKS_PER_SECOND, TIME_BASES
from trainer import box_model, bundle

if TYPE_CHECKING:
    from beam_pipelines.corpus.inputs import Corpus

PROGRAM = "make run"
MIN_FILES = 3
NUM_FIRST_PIECES = 10  # by the model in the box, before anything is trained
NUM_PIECES, QUICK_PIECES = 64, 16
QUICK_CHORALES = 48
SECONDS, FEWEST_NOTES, MOST_NOTES, QUICK_NOTES = 24, 400, 800, 100  # of a piece: bands play 400 notes in 15 seconds
LONGEST_SHARE, FEW_LONGER = 0.12, 0.001  # of a piece's length, and of the corpus's notes
# The trainer chooses the other settings for the corpus and these minutes.
OWN_TRAINING = ("--max-minutes", "4")
# Chorales are not learned by heart in this time: on a slow machine the minutes end their training, on a fast one the
# epochs.
CHORALE_TRAINING = (*OWN_TRAINING, "--epochs", "40", "--patience", "none")
QUICK_TRAINING = ("--max-minutes", "0.6")
BOX_NOTES = 10_000  # `box_helps`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, and where."""

    folder: str  # of everything that is made
    corpus: str | None  # the user's own; None: the chorales
    time_base: str
    split_percents: str
    training: tuple[str, ...]
    num_pieces: int  # to generate
    max_notes: int | None  # per piece; None: as the corpus's density asks
    num_chorales: int | None = None  # None: all

    def path(self, name: str) -> str:
        return storage.join(self.folder, name)


def main(argv: Sequence[str]) -> int:
    plan = make_plan(make_parser().parse_args(argv))
    own_corpus = None if plan.corpus is None else _find(plan.corpus, plan)
    with StopSignal() as stop:
        try:
            steps = Steps(plan.folder, 8, stop)
            if own_corpus is None:
                _first_pieces(plan, stop)
            _encode(plan, own_corpus, steps)
            if own_corpus is not None:  # encoded first, because that shows within seconds whether it can be used
                _first_pieces(plan, stop)
            _train_and_generate(plan, steps)
        except StepFailed as error:
            print(f"{PROGRAM}: {error}", file=sys.stderr)
            return command.FAULT
    print(summary.text(plan.folder))
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser("python -m demo.run", __doc__)
    add = parser.add_argument
    add("--corpus", help="your own MIDI files (default: the Bach chorales of music21)")
    add("--quick", action="store_true", help="the same steps on little music, in two minutes")
    add("--time-base", help=f"grid of times: {', '.join(TIME_BASES)} or auto (chorales: beats; your own: auto)")
    add("--output", default="run", metavar="FOLDER", help="folder for everything (default: %(default)s)")
    return parser


def make_plan(args: argparse.Namespace) -> Plan:
    """The plan for these flags. Different music and sizes have different folders, so that none replaces another.

    Raises:
      UserError: a flag's value cannot work.
    """
    problems = []
    if args.corpus is not None and not args.corpus.strip():
        problems.append("CORPUS is empty, want a folder or a glob of MIDI files")
    if args.time_base is not None and args.time_base not in TIME_BASE_CHOICES:
        problems.append(f"the time base is {args.time_base!r}, want {', '.join(TIME_BASES)} or auto")
    if problems:
        raise UserError(problems)
    folders = [args.output]
    if args.corpus is not None:
        folders.append(f"corpus-{hashlib.sha256(args.corpus.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}")
    if args.quick:
        folders.append("quick")
    has_own_corpus = args.corpus is not None
    training = OWN_TRAINING if has_own_corpus else CHORALE_TRAINING
    return Plan(
        folder=storage.join(*folders),
        corpus=args.corpus,
        time_base=args.time_base or (AUTO if has_own_corpus else BEATS),
        split_percents="80,10,10",
        training=QUICK_TRAINING if args.quick else training,
        num_pieces=QUICK_PIECES if args.quick else NUM_PIECES,
        max_notes=QUICK_NOTES if args.quick else None,
        num_chorales=QUICK_CHORALES if args.quick and not has_own_corpus else None,
    )


def _first_pieces(plan: Plan, stop: StopSignal) -> None:
    """Pieces by the model in the box, and their report: separate steps, on which the others do not depend."""
    folder, page = plan.path("first"), plan.path(summary.FIRST_REPORT)
    music = storage.join(folder, "music")
    steps = Steps(folder, 2, stop)
    bundle_hash = bundle.load_description(box_model.folder())["hash"]
    generate = ["--output", music, "--samples-per-seed", str(NUM_FIRST_PIECES)]
    steps.run("first pieces", "generation_jobs.generate", generate, outputs=[music], depends_on=bundle_hash)
    steps.run("first report", "generation_jobs.report", ["--music", music, "--output", page], outputs=[page])
    print(f"\n{NUM_FIRST_PIECES} pieces to hear, by the model that comes with this repository: {page}\n", flush=True)


def _encode(plan: Plan, own_corpus: Corpus | None, steps: Steps) -> None:
    corpus, corpus_hash = _corpus(plan, own_corpus, steps)
    dataset = plan.path("dataset")
    encode = ["--input", corpus, "--output", dataset, "--time-base", plan.time_base]
    encode += ["--split-percents", plan.split_percents]
    steps.run("encode", "beam_pipelines.encode_corpus", encode, outputs=[dataset], depends_on=corpus_hash)


def _train_and_generate(plan: Plan, steps: Steps) -> None:
    dataset, run, music = plan.path("dataset"), plan.path("training"), plan.path("music")
    info = dataset_info.load(dataset)
    train = ["--data", dataset, "--output", run, *plan.training]
    train += ["--init-from", box_model.BOX] if plan.corpus is not None and box_helps(info) else []
    steps.run("train", "trainer.task", train, outputs=[run])
    seeds, (split, num_seeds) = plan.path("seeds.jsonl"), choose_openings(info, plan.num_pieces)
    openings = ["--data", dataset, "--split", split, "--num-seeds", str(num_seeds), "--output", seeds]
    steps.run("openings", "generation_jobs.make_seeds", openings, outputs=[seeds])
    model, max_notes = storage.join(run, "bundle"), plan.max_notes or notes_per_piece(info)
    screen, copying = plan.path("thresholds.json"), plan.path("copying.json")
    steps.run("screen", "generation_jobs.screening", ["--data", dataset, "--output", screen], outputs=[screen])
    calibrate = ["--bundle", model, "--data", dataset, "--screen", screen, "--max-notes", str(max_notes)]
    steps.run("calibrate", "generation_jobs.calibrate", [*calibrate, "--output", copying], outputs=[copying])
    generate = ["--bundle", model, "--seeds", seeds, "--output", music, "--max-notes", str(max_notes)]
    generate += ["--samples-per-seed", str(plan.num_pieces // num_seeds)]
    generate += ["--screen", screen, "--compare-with", dataset, "--on-reject", "retry", "--max-retries", "8"]
    if (seconds := longest_duration(info, max_notes)) is not None:
        generate += ["--max-duration", f"{seconds:.1f} seconds"]
    steps.run("generate", "generation_jobs.generate", generate, outputs=[music])
    report = ["--music", music, "--data", dataset, "--run", run, "--output", plan.path(summary.REPORT)]
    steps.run("report", "generation_jobs.report", report, outputs=[plan.path(summary.REPORT)])


def box_helps(info: DatasetInfo) -> bool:
    """Whether there is so little to train with that the model in the box is the better start."""
    return info.time_base == BEATS and info.splits["train"].num_notes < BOX_NOTES


def choose_openings(info: DatasetInfo, num_pieces: int) -> tuple[str, int]:
    """The held-out split to take openings from, and how many, so that each gets the same number of pieces.

    There are at least two pieces per opening, to show how much chance matters.
    """
    split = max(("test", "validation"), key=lambda name: info.splits[name].num_pieces)
    most = max(1, min(info.splits[split].num_pieces, num_pieces // 2))
    return split, next(count for count in range(most, 0, -1) if num_pieces % count == 0)


def notes_per_piece(info: DatasetInfo) -> int:
    """Hundreds of notes: enough for `SECONDS` of music as dense as the corpus's training split, within limits."""
    train = info.splits["train"]
    hundreds = math.ceil(SECONDS * train.num_notes / max(train.seconds, 1.0) / 100)
    return min(max(100 * hundreds, FEWEST_NOTES), MOST_NOTES)


def longest_duration(info: DatasetInfo, max_notes: int) -> float | None:
    """Seconds: a share of a piece's length that hardly any note of the corpus exceeds; None where some do.

    In music that is as dense as the corpus one of its rare long notes can last for most of so short a piece.
    """
    train, durations = info.splits["train"], info.histograms["train"]["duration"]
    if info.time_base != MILLISECONDS or not train.num_notes:
        return None
    seconds = LONGEST_SHARE * max_notes * train.seconds / train.num_notes
    rows = zip(durations.values, durations.counts, strict=True)
    num_longer = sum(count for value, count in rows if value > seconds * TICKS_PER_SECOND)
    return seconds if num_longer <= FEW_LONGER * train.num_notes else None


def _find(pattern: str, plan: Plan) -> Corpus:
    """The user's own files.

    Raises:
      UserError: there are fewer MIDI files than splits.
    """
    from beam_pipelines.corpus import inputs as corpus

    try:
        own_corpus = corpus.find([pattern], output=plan.path("dataset"), work_folder=plan.path("dataset/work"))
    except UserError as error:  # the user gave CORPUS, not --input
        raise UserError(problem.replace("--input", "CORPUS", 1) for problem in error.problems) from error
    if own_corpus.num_inputs < MIN_FILES:
        raise UserError(
            f"CORPUS {pattern} has {own_corpus.num_inputs} MIDI files, want at least {MIN_FILES}: one each to train, "
            "validate and test on; python -m beam_pipelines.encode_corpus takes fewer with --split-percents"
        )
    return own_corpus


def _corpus(plan: Plan, own_corpus: Corpus | None, steps: Steps) -> tuple[str, str]:
    """The path of what to encode, and a hash of its content."""
    if plan.corpus is not None and own_corpus is not None:
        steps.skip("corpus", f"{own_corpus.num_inputs:,} MIDI files in {plan.corpus}")
        return plan.corpus, own_corpus.hash
    folder = plan.path("corpus")
    flags = ["--output", folder]
    if plan.num_chorales is not None:
        flags += ["--limit", str(plan.num_chorales)]
    steps.run("corpus", "demo.chorales", flags, outputs=[folder])
    return folder, ""


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
