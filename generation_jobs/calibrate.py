"""Finds how a model should generate, for music that repeats itself and varies as its corpus does.

    python -m generation_jobs.calibrate --bundle run/bundle --data dataset
    python -m generation_jobs.calibrate --bundle run/bundle --data dataset --screen thresholds.json

A wrong note ends a repeat, and a model errs more often than a composer: what it makes from openings of held-out pieces
often repeats itself too little, and more copying makes it dwell on few pitches. So this command makes such music in
several ways (unlikely values excluded or not, pitches drawn more freely or not); a model that copies does so more and
more in each, until patterns recur as often as in the training split. It takes the music whose least alike measure is
most alike, and of what leaves `generation_jobs.evaluate` no doubt that whose patterns recur most like the corpus's. It
writes the settings into the bundle's description, where `generate` finds them; the weights stay. With --screen, pieces
that it rejects do not count, as if they were made again. See docs/generate.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from generation_jobs.decoder import bundles
from generation_jobs.evaluate import compare_looks
from generation_jobs.job.job import request_key
from generation_jobs.measures.corpus_comparison import Comparison, Looks
from generation_jobs.measures.music_doubts import LEAST_RECURRENCE, LOOPS, UNLIKE, loop_shares
from generation_jobs.output.generated_music import corpus_notes
from generation_jobs.settings.requests import DEFAULTS, MAX_NOTES, Request, Result, Settings
from job_runtime import command, storage
from job_runtime.command_line import settings as settings_lib
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import StopAtOnce
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.measures import thresholds
from midi_codec.measures.music_measures import Part, measures
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import Notes
from trainer import box_model
from trainer import bundle as bundle_lib
from trainer.model import precision as precision_lib

if TYPE_CHECKING:
    from generation_jobs.decoder.decoder import Decoder
    from trainer.bundle import Bundle

PROGRAM = "python -m generation_jobs.calibrate"
WAYS: Sequence[Mapping[str, Any]] = (
    # Few wrong notes, so that repeats go on, and pitches that leave them.
    {"min_p": 0.03, "temperature": {"pitch": 1.15}},
    {"min_p": 0.03},
    {},  # the defaults of `generate`
)
AMOUNTS = (1.0, 1.15, 1.3, 1.5, 1.8)
ENOUGH = 1.1  # times what `generation_jobs.evaluate` wants: other pieces vary
RECURRENCE = "recurrence"
NUM_PIECES = 96  # all decoded at once
FEW_PASSING = 0.3
NUM_OPENINGS, OPENING_NOTES = 16, 16
OPENING_SPLITS = dataset_info.SPLITS[1:]


class Trial(NamedTuple):
    """What music is like.

    Attributes:
      sampling: the settings that it was made with, where they are not the defaults of `generate`; `copying` of
        a model that copies.
      recurrence, corpus_recurrence: the mean share of a piece's notes that belong to a pattern that occurred before.
      measure: the one that is least like the corpus for what `generation_jobs.evaluate` wants of it.
      likeness: of that measure, as a share of what the corpus's own pieces reach.
      margin: that share divided by what is wanted.
      pattern_likeness: how near `recurrence` is to the corpus's rate, as a share.
    """

    sampling: dict[str, Any]
    recurrence: float
    corpus_recurrence: float
    measure: str
    likeness: float
    margin: float
    pattern_likeness: float

    @property
    def rank(self) -> tuple[float, float]:
        """Music that leaves no doubt comes first; of such music, that whose patterns recur most like the corpus's."""
        return min(self.margin, ENOUGH), self.pattern_likeness


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    model, info, screen = _check(args, problems)
    with StopAtOnce():
        trials = list(_trials(args, model, info, screen))
    best = max(trials, key=lambda trial: trial.rank, default=None)
    if best:
        bundle_lib.add_metrics(args.bundle, {"sampling": best.sampling})
        description = storage.join(args.bundle, bundle_lib.FILE_NAME)
        print(f"best: {settings_lib.as_flags(best.sampling)}, written into {description}")
    if args.output:
        result = {
            "bundle": model.hash,
            "dataset": info.hash,
            "sampling": best.sampling if best else None,
            "trials": [trial._asdict() for trial in trials],
        }
        storage.write_bytes(args.output, f"{json.dumps(result, indent=1)}\n".encode())
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="a bundle folder that the trainer wrote; its description is changed")
    add("--data", required=True, help="the dataset that it was trained on")
    text = "split to compare with, and to take openings from first (default: %(default)s)"
    add("--split", choices=OPENING_SPLITS, default="validation", help=text)
    text = "most notes of a piece; take that of the later job"
    add_number(parser, "--max-notes", DEFAULTS.max_notes, text, at_least=1, at_most=MAX_NOTES)
    text = "thresholds that generation_jobs.screening wrote: pieces that they reject do not count"
    add("--screen", help=f"{text} (default: all count)")
    add("--output", help="a JSON file for the figures of every trial (default: none)")
    return parser


def _check(args: argparse.Namespace, problems: list[str]) -> tuple[Bundle, DatasetInfo, Screen | None]:
    """Raises UserError with every mistake."""
    model, info, screen = None, None, None
    if args.output:
        problems += storage.output_problems("--output", args.output, is_file=True)
    if args.bundle == box_model.BOX:
        problems.append("--bundle is box, which is part of the program; want a bundle of your own")
    else:
        with command.collecting(problems, "--bundle"):
            model = bundle_lib.load(args.bundle) if args.bundle else None
    with command.collecting(problems, "--data"):
        info = split_reader.load_trainable(args.data) if args.data else None
    with command.collecting(problems, "--screen"):
        screen = thresholds.load(args.screen) if args.screen else None
    if model and screen and screen.time_base != model.fields.time_base:
        grids = f"{screen.time_base}, the model on that of {model.fields.time_base}"
        problems.append(f"--screen is on the grid of {grids}; want the same")
    if model and info and model.dataset["hash"] != info.corpus_hash:
        problems.append(
            f"--data is dataset {info.corpus_hash}, the bundle was trained on {model.dataset['hash']}; want the latter"
        )
    if info and not info.splits[args.split].num_notes:
        problems.append(f"--split is {args.split}, which has no notes in {args.data}; want one that has")
    if problems or model is None or info is None:
        raise UserError(problems)
    return model, info, screen


def _trials(args: argparse.Namespace, model: Bundle, info: DatasetInfo, screen: Screen | None) -> Iterator[Trial]:
    """Music made in each way with more and more copying; the ways after one that is good enough are not tried.

    More copying is not tried where it makes another measure worse, where few pieces pass the screen, and where patterns
    recur as often as in the training split and all else is good enough.
    """
    train, held_out = (list(corpus_notes(args.data, info, split)) for split in ("train", args.split))
    defaults = dataclasses.replace(DEFAULTS, max_notes=args.max_notes)
    decoder = _make_decoder(model)
    others = (
        notes for split in OPENING_SPLITS if split != args.split for notes in corpus_notes(args.data, info, split)
    )
    openings = _openings(itertools.chain(held_out, others), model)

    def attempt(sampling: dict[str, Any]) -> Trial | None:
        """Prints what the music is like; None where few pieces pass the screen."""
        results = _generate(decoder, openings, defaults.override(sampling))
        passing = [result for result in results if screen is None or not screen.judge(result).reasons]
        parts = [Part(result.notes, result.num_primer_notes) for result in passing]
        flags = settings_lib.as_flags(sampling)
        if len(parts) < FEW_PASSING * NUM_PIECES:
            print(f"{flags}: {len(parts)} of {NUM_PIECES} pieces pass the screen, too few", flush=True)
            return None
        shapes = [(part.num_given, len(part.notes)) for part in parts]
        trial = judge(sampling, compare_looks(Looks(measures(info.time_base), parts), shapes, train, held_out))
        print(
            f"{flags}: {trial.recurrence:.2f} of a piece's notes recur "
            f"({trial.corpus_recurrence:.2f} in the training split); least alike: {trial.measure}, "
            f"{trial.likeness:.2f} of what the corpus's own pieces reach",
            flush=True,
        )
        return trial

    for way in WAYS:
        best = 0.0
        for amount in AMOUNTS if model.copies else (None,):
            trial = attempt({**way, "copying": amount} if amount else dict(way))
            if trial is None:
                break
            yield trial
            is_last = _is_last(trial, best)
            best = max(best, trial.margin)
            if is_last:
                break
        if best >= ENOUGH:
            return


def _is_last(trial: Trial, best: float) -> bool:
    """Whether more copying is of no use after this trial; `best` is the highest margin of those with less."""
    if trial.recurrence >= trial.corpus_recurrence:
        return trial.margin >= ENOUGH or trial.margin <= best
    return trial.measure != RECURRENCE and trial.margin < min(best, ENOUGH)


def _make_decoder(model: Bundle) -> Decoder:
    return bundles.make_decoder([model], NUM_PIECES, precision_lib.fastest())


def judge(sampling: dict[str, Any], comparisons: Sequence[Comparison]) -> Trial:
    """How like its corpus music is. Of patterns it counts how often they recur, and pieces that are caught in a loop.

    The rate of the training split is right, and so is any up to that of held-out pieces, where that is higher.
    """
    likeness = {each.measure.name: each.of_ceiling for each in comparisons if each.of_ceiling is not None}
    means = next(each.means for each in comparisons if each.measure.name == RECURRENCE)
    ours, theirs, held_out = (mean or 0.0 for mean in means)
    most = max(theirs, held_out)
    likeness[RECURRENCE] = ours / theirs if ours < theirs else most / ours if ours > most else 1.0
    for each in comparisons:
        if each.measure.name == LOOPS and (shares := loop_shares(each)).generated > shares.most:
            likeness[LOOPS] = min(likeness.get(LOOPS, 1.0), shares.most / shares.generated)
    margins = {name: value / (LEAST_RECURRENCE if name == RECURRENCE else UNLIKE) for name, value in likeness.items()}
    least = min(margins, key=lambda name: margins[name])
    return Trial(sampling, ours, theirs, least, likeness[least], margins[least], likeness[RECURRENCE])


def _openings(pieces: Iterable[Notes], model: Bundle) -> Sequence[Notes | None]:
    """Of the first pieces that the model can continue, in the dataset's order, which is that of a hash."""
    openings = (piece.take(slice(OPENING_NOTES)).from_first_onset() for piece in pieces if len(piece) > OPENING_NOTES)
    known = itertools.islice((notes for notes in openings if not model.fields.problems(notes)), NUM_OPENINGS)
    return list(known) or [None]


def _generate(decoder: Decoder, openings: Sequence[Notes | None], settings: Settings) -> Iterator[Result]:
    """In the order of their numbers; without those to which nothing was added."""
    requests: list[Request] = []
    for number in range(NUM_PIECES):
        primer = openings[number % len(openings)]
        key = request_key(0, PROGRAM if primer is None else primer.piece_id, number)
        requests.append(settings.request(key, primer))
    for _, result in sorted(decoder.generate(requests), key=lambda found: found[0]):
        if len(result.notes) > result.num_primer_notes:
            yield result


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
