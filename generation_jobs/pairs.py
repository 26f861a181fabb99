"""Says which pieces of a job are better than others, for `trainer.finetune`.

    python -m generation_jobs.pairs --music music --output pairs.json
    python -m generation_jobs.pairs --music music --output pairs.json --data dataset
    python -m generation_jobs.pairs --music music --output pairs.json --evaluation evaluation.json
    python -m generation_jobs.pairs --music music --output pairs.json --order order.txt

Without more, a piece that screening accepted is better than one of the same seed that it rejected: the job needs
`generate --screen ... --on-reject keep`. With --data, a piece whose measures are near those of the training split is
better than one whose are far. With --evaluation, a piece that the discriminator takes for the corpus's is better than
one that it does not; the file is of `evaluate --discriminator --output`. With --order, lines of a file say it:
`a-00000 over a-00003`, names of .mid files.
A piece is compared with few others, so that some comparisons can be held out with all of their pieces.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

import numpy as np

from generation_jobs import corpus_command
from generation_jobs.measures.corpus_comparison import Looks, cut_alike
from generation_jobs.output import generated_music, manifest
from generation_jobs.output.generated_music import GeneratedPiece, corpus_notes, shapes_of
from job_runtime import command, json_text, storage
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.numerals import counted
from job_runtime.problem_report import UserError
from midi_codec.dataset import pairs_file, split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.pairs_file import Example, Pair
from midi_codec.measures.music_measures import measures
from midi_codec.music.notes import BEATS, MILLISECONDS

PROGRAM = "python -m generation_jobs.pairs"
MOST_RIVALS = 4  # that a piece is compared with
SHARE_COMPARED = 3  # a third of a seed's pieces are near the corpus, a third far
LARGEST_DEVIATION = 5.0  # standard deviations of one measure
OVER = " over "

LogOdds = Mapping[tuple[str, int], float]  # by seed and sample: that a piece is from the corpus


class _Judged(TypedDict):
    seed_id: str
    sample: int
    discriminator: float | None


class _Evaluation(TypedDict):
    pieces: tuple[_Judged, ...]


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    info, log_odds, order = _check(args, problems)
    pieces = _read(args.music)
    if info is not None and info.time_base != pieces[0].notes.time_base:
        raise UserError(f"--data is on the grid of {info.time_base}, the music is not, want the same")
    if order is not None:
        pairs = ordered_pairs(pieces, order, args.order)
    elif info is not None:
        pairs = ranked_pairs(pieces, dict(zip(map(name_of, pieces), distances(pieces, args.data, info), strict=True)))
    elif log_odds is not None:
        pairs = ranked_pairs(pieces, _named_costs(pieces, log_odds, args.evaluation))
    else:
        pairs = accepted_pairs(pieces, args.music)
    examples = [Example(name_of(piece), piece.notes, piece.line["ended"] is True) for piece in pieces]
    pairs_file.write(args.output, examples, pairs, time_base=pieces[0].notes.time_base)
    print(f"{counted(len(pairs), 'pair')} of {counted(len(pieces), 'piece')} in {args.output}")
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--music", required=True, help="the output folder of generation_jobs.generate")
    add("--output", required=True, help="a file of pairs to write, JSON")
    add("--data", help="a dataset: pieces near its training split are better; box: that of the model in the box")
    add("--evaluation", help="of evaluate --discriminator --output: pieces that it takes for the corpus's are better")
    add("--order", help="a text file of comparisons, a line each: NAME over NAME, names of .mid files")
    return parser


def _check(
    args: argparse.Namespace, problems: list[str]
) -> tuple[DatasetInfo | None, LogOdds | None, list[str] | None]:
    """What the flags name, where they are given; raises UserError with every mistake."""
    info, log_odds, order = None, None, None
    if args.output:
        problems += storage.output_problems("--output", args.output, is_file=True)
    given = [f"--{name}" for name in ("data", "evaluation", "order") if getattr(args, name)]
    if len(given) > 1:
        problems.append(f"{' and '.join(given)} are given, want at most one of them")
    with command.collecting(problems, "--data"):
        if args.data and args.music:
            args.data = corpus_command.resolve_data(args.data, args.music)
            info = split_reader.load_trainable(args.data)
    with command.collecting(problems, "--evaluation"):
        if args.evaluation:
            log_odds = _read_log_odds(args.evaluation)
    with command.collecting(problems, "--order"):
        if args.order:
            order = _read_lines(args.order)
    with command.collecting(problems, "--music"):
        if args.music:
            manifest.require_finished(args.music)
    if problems:
        raise UserError(problems)
    return info, log_odds, order


def _read(music: str) -> list[GeneratedPiece]:
    """The pieces on their grid, which the hashes of their notes tell."""
    for time_base in (BEATS, MILLISECONDS):
        pieces = generated_music.read(music, time_base=time_base)
        if all(piece.notes.piece_id == piece.line["piece_id"] for piece in pieces):
            return pieces
    raise UserError(f"{music!r} has files whose notes were changed later, want the job's own")


def _read_lines(path: str) -> list[str]:
    try:
        return storage.read_text(path).splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist, want a file of comparisons") from error
    except ValueError as error:
        raise UserError(f"{path} is not text: {error}") from error


def _read_log_odds(path: str) -> LogOdds:
    try:
        found = json_text.load(path, _Evaluation)["pieces"]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist, want what evaluate --discriminator --output wrote") from error
    return {
        (piece["seed_id"], piece["sample"]): value for piece in found if (value := piece["discriminator"]) is not None
    }


def _named_costs(pieces: Sequence[GeneratedPiece], log_odds: LogOdds, path: str) -> dict[str, float]:
    """The costs of the pieces that the discriminator has judged."""
    keys = {(piece.line["seed_id"], piece.line["sample"]): name_of(piece) for piece in pieces}
    if not log_odds.keys() <= keys.keys():
        raise UserError(f"{path} is not of this music: it has other pieces")
    return {keys[key]: -value for key, value in log_odds.items()}


def name_of(piece: GeneratedPiece) -> str:
    """The name of its file, without `.mid`."""
    return piece.line["path"].rpartition("/")[2].removesuffix(".mid")


def accepted_pairs(pieces: Sequence[GeneratedPiece], music: str) -> list[Pair]:
    """Pieces that screening accepted, each better than some that it rejected.

    Raises:
      UserError: the job was not screened, or no seed has both kinds.
    """
    if any(piece.line["screening"] is None for piece in pieces):
        raise UserError(f"{music!r} was not screened, want a job of generate --screen ... --on-reject keep")
    pairs: list[Pair] = []
    for group in _of_seeds(pieces):
        rejected = [piece for piece in group if piece.line["screening"]["reasons"]]
        accepted = [piece for piece in group if not piece.line["screening"]["reasons"]]
        pairs += _dealt(accepted, rejected)
    if not pairs:
        raise UserError(f"{music!r} has no seed with both accepted and rejected pieces, want more samples per seed")
    return pairs


def ranked_pairs(pieces: Sequence[GeneratedPiece], costs: Mapping[str, float]) -> list[Pair]:
    """Of each seed, the third of the pieces with the lowest costs, each better than one of the third with the highest.

    Raises:
      UserError: no seed has three pieces with a cost.
    """
    pairs = []
    for group in _of_seeds(pieces):
        names = [name for name in map(name_of, group) if name in costs]
        ranked = sorted(names, key=lambda name: (costs[name], name))
        count = len(ranked) // SHARE_COMPARED
        pairs += [Pair(*names) for names in zip(ranked[:count], ranked[len(ranked) - count :], strict=True)]
    if not pairs:
        raise UserError(f"no seed has {SHARE_COMPARED} pieces to compare, want more samples per seed")
    return pairs


def distances(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo) -> np.ndarray:
    """How far each piece is from the training pieces: mean over its measures of its figure's standardised deviation."""
    looks = Looks(measures(info.time_base))
    corpus = cut_alike(corpus_notes(data, info, "train"), shapes_of(pieces))
    theirs, ours = (
        np.array([looks.add(part) for part in parts], np.float64).reshape(-1, len(looks.chosen))
        for parts in (corpus, [piece.part for piece in pieces])
    )
    is_known = (~np.isnan(theirs)).sum(axis=0) > 1
    theirs, ours = theirs[:, is_known], ours[:, is_known]
    spread = np.nanstd(theirs, axis=0)
    deviations = np.abs(ours - np.nanmean(theirs, axis=0)) / np.where(spread > 0, spread, np.inf)
    deviations = np.where(np.isnan(deviations), LARGEST_DEVIATION, np.minimum(deviations, LARGEST_DEVIATION))
    return deviations.mean(axis=1)


def ordered_pairs(pieces: Sequence[GeneratedPiece], lines: Iterable[str], path: str) -> list[Pair]:
    """The pairs that lines of a file name; empty lines are ignored.

    Raises:
      UserError: everything that is wrong with the lines.
    """
    by_name = {name_of(piece): piece for piece in pieces}
    pairs: list[Pair] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        names = [name.strip().removesuffix(".mid") for name in line.split(OVER)]
        if not line.strip():
            continue
        if len(names) != 2:
            problems.append(f"{path}:{number}: {line!r}, want NAME over NAME")
            continue
        missing = [name for name in names if name not in by_name]
        problems += [f"{path}:{number}: the music has no piece {name!r}" for name in missing]
        if not missing and (problem := _why_not_comparable(*(by_name[name] for name in names))):
            problems.append(f"{path}:{number}: {problem}")
        pairs.append(Pair(*names))
    if not pairs and not problems:
        problems.append(f"{path} has no comparison, want at least one line")
    if problems:
        raise UserError(json_text.JsonError(problems).problems)
    return pairs


def _why_not_comparable(better: GeneratedPiece, worse: GeneratedPiece) -> str | None:
    """Likelihoods of continuations can be compared only where the same notes were given."""
    given = [piece.notes.take(slice(piece.num_given)).from_first_onset().piece_id for piece in (better, worse)]
    if better is worse:
        return "a piece is compared with itself, want two pieces"
    return None if given[0] == given[1] else "the pieces continue different primers, want pieces of one seed"


def _of_seeds(pieces: Iterable[GeneratedPiece]) -> Iterator[list[GeneratedPiece]]:
    for _, group in itertools.groupby(pieces, key=lambda piece: piece.line["seed_id"]):
        yield list(group)


def _dealt(accepted: Sequence[GeneratedPiece], rejected: Sequence[GeneratedPiece]) -> Iterator[Pair]:
    """The larger set dealt to the smaller: no piece of the larger is in two pairs, so few pieces are connected."""
    few, many = sorted((accepted, rejected), key=len)
    for index, one in enumerate(few):
        for other in many[index :: len(few)][:MOST_RIVALS]:
            better, worse = (one, other) if few is accepted else (other, one)
            yield Pair(name_of(better), name_of(worse))


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
