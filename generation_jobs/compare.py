"""Finds what generated music copied from a dataset, and what its pieces share with one another.

    python -m generation_jobs.compare --music music --data dataset
    python -m generation_jobs.compare --music music --data dataset --index train.index --output copied.json

For each piece: the longest run of generated notes that the training split also has, in any key and at about the same
pace. The same for the pieces of --split, which are not copies. Prints a table, then one line of JSON (or writes the
JSON to --output, with every piece). docs/memorisation.md says more.
"""

from __future__ import annotations

import argparse
import array
import dataclasses
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from generation_jobs import corpus_command
from generation_jobs.measures.corpus_comparison import cut_alike
from generation_jobs.memorisation import corpus_index
from generation_jobs.memorisation.corpus_index import Copied, Index
from generation_jobs.memorisation.duplicates import exact_groups, shared_runs
from generation_jobs.output import generated_music
from generation_jobs.output.generated_music import (
    PIECES_AT_ONCE,
    GeneratedPiece,
    Overview,
    corpus_notes,
    shapes_of,
)
from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from job_runtime.spool import Spool
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND

PROGRAM = "python -m generation_jobs.compare"
NUM_WORST = 20  # pieces in the result
NUM_PRINTED = 5  # pieces in the table
QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}
THRESHOLD_QUANTILE = 0.999  # of the reference; an observed length
CLEARLY = 1.5  # times the longest run of held-out pieces; unseen pieces were seen to reach that
MAX_INDEXED = 10_000_000  # notes, for one figure: the index takes a quarter of a minute
NEAR_SHARE = 0.5  # a near-duplicate shares this part of its notes, or more, in one run that is above the threshold


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    info, index = _check(args)
    index = index or corpus_index.build(args.data, info)
    overview, runs = Overview(), Spool[tuple[dict[str, Any], int, Copied]]()
    ids: list[str] = []  # of the generated notes

    def searched() -> Iterator[Piece]:
        """The generated notes of each piece, once its run is known."""
        pieces = generated_music.stream(args.music, time_base=info.time_base)
        while some := list(itertools.islice(pieces, PIECES_AT_ONCE)):
            for piece, run in zip(some, index.longest_runs([piece.part for piece in some]), strict=True):
                overview.add(piece)
                name = {"seed_id": piece.line["seed_id"], "sample": piece.line["sample"], "path": _path(piece)}
                runs.append((name, piece.num_generated, run))
                notes = piece.notes.take(slice(piece.num_given, None)).from_first_onset()
                ids.append(notes.piece_id if len(notes) else "")
                yield Piece(_path(piece), "", "", notes)

    of_music = Index.build(searched(), time_base=info.time_base, dataset="generated")
    reference = list(reference_runs(index, args.data, info, args.split, overview.shapes))
    figures, by_piece = compare(runs, of_music, exact_groups(ids), reference)
    result = corpus_command.describe(args, info, overview) | {"time_base": info.time_base} | figures
    corpus_command.write(args, table(result), result, by_piece)
    return command.OK


def make_parser() -> Parser:
    index_help = "index that generation_jobs.memorisation wrote for the dataset (default: build one in temporary files)"
    parser = corpus_command.make_parser(PROGRAM, __doc__, index_help=index_help)
    parser.add_argument("--compare-with", dest="data", help=argparse.SUPPRESS)  # the name in earlier versions
    return parser


def _check(args: argparse.Namespace) -> tuple[DatasetInfo, Index | None]:
    """Raises UserError with every mistake in the flags and the files they name."""
    problems: list[str] = []
    info, index = corpus_command.load(args, problems)
    if info and index and index.dataset != info.hash:
        problems.append(f"--index is of dataset {index.dataset}, --data is {info.hash}, want the same dataset")
    if problems or info is None:
        raise UserError(problems)
    return info, index


def compare(
    runs: Spool[tuple[dict[str, Any], int, Copied]],
    of_music: Index,
    exact: Sequence[Sequence[int]],
    reference: Sequence[Copied],
) -> tuple[dict[str, Any], Spool[dict[str, Any]]]:
    """The figures of the set, and those of each piece.

    Args:
      runs: the name of each piece, how many notes were generated, and what it shares with the corpus.
      of_music: the index of the generated notes of the same pieces.
      exact: groups of equal pieces.
    """
    limit = threshold(reference)
    figures = Spool[dict[str, Any]]()
    lengths, shared = array.array("q"), array.array("q")
    near: list[dict[str, Any]] = []
    num_near = 0
    mutual_runs = progress(shared_runs(of_music), total=len(runs), unit="pieces", label="duplicates")
    for (name, num_notes, run), other in zip(runs, mutual_runs, strict=True):
        lengths.append(run.num_notes)
        shared.append(other.num_notes)
        mutual = {"num_notes": other.num_notes, "with": other.piece_id, "transposition": other.transposition}
        figures.append(name | dataclasses.asdict(run) | {"shared": mutual})
        if other.num_notes > (limit or 0) and other.num_notes >= NEAR_SHARE * num_notes:
            num_near += 1
            near = _largest([*near, {"path": name["path"], "with": other.piece_id} | _size(other)])
    names = [[of_music.columns.name_of(row)[0] for row in group] for group in exact[:NUM_WORST]]
    summary = {"exact": names, "num_exact_groups": len(exact), "num_exact_pieces": sum(map(len, exact))}
    result = {
        "num_pieces": len(runs),
        "generated": quantiles(lengths),
        "reference": {"num_pieces": len(reference), **quantiles([run.num_notes for run in reference])},
        "threshold_notes": limit,
        "num_above_threshold": None if limit is None else int((np.array(lengths) > limit).sum()),
        "worst": heapq.nsmallest(NUM_WORST, figures, key=lambda figure: -figure["num_notes"]),
        "duplicates": summary | {"near": near, "num_near_pieces": num_near, "runs": quantiles(shared)},
    }
    return result, figures


def _largest(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(figures, key=lambda figure: -figure["num_notes"])[:NUM_WORST]


def _size(run: Copied) -> dict[str, Any]:
    return {"num_notes": run.num_notes, "transposition": run.transposition}


@dataclasses.dataclass(frozen=True)
class LongestRuns:
    """Notes in the longest run that any piece shares with the training split."""

    generated: int
    held_out: int | None  # of a held-out split, cut like the generated ones; None if it is empty

    def __str__(self) -> str:
        others = "" if self.held_out is None else f"; in held-out pieces of the same lengths: {self.held_out}"
        return f"at most {self.generated} notes in a row from a training piece{others}"

    def doubts(self, *, is_box: bool = False) -> Iterator[str]:
        """A sentence if generated pieces share clearly more than held-out ones; none otherwise.

        Args:
          is_box: whether the model is the one in the box.
        """
        remedy = (
            "A higher --temperature of generate, or other seeds, may help."
            if is_box
            else "More training pieces help most, then less training (--patience) and more --dropout."
        )
        if self.held_out is not None and self.generated > CLEARLY * self.held_out:
            yield (
                f"A generated piece has {self.generated} notes in a row from a training piece; held-out pieces have at "
                f"most {self.held_out}. generation_jobs.compare names the pieces. {remedy}"
            )


def longest_runs(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo) -> LongestRuns | None:
    """None if the training split is too large to index for one figure."""
    if info.splits["train"].num_notes > MAX_INDEXED:
        return None
    index = corpus_index.build(data, info)
    generated = max((index.longest_run(*piece.part).num_notes for piece in pieces), default=0)
    held_out = reference_runs(index, data, info, "validation", shapes_of(pieces))
    return LongestRuns(generated, max((run.num_notes for run in held_out), default=None))


def reference_runs(
    index: Index, data: str, info: DatasetInfo, split: str, shapes: Sequence[tuple[int, int]]
) -> Iterator[Copied]:
    """The longest runs that pieces of a split, cut to these shapes, share with the index."""
    parts = cut_alike(corpus_notes(data, info, split), shapes)
    while some := list(itertools.islice(parts, PIECES_AT_ONCE)):
        yield from index.longest_runs(some)


def quantiles(lengths: Sequence[int]) -> dict[str, int | None]:
    """Quantiles of the lengths in notes, each an observed length; None without runs."""
    if not lengths:
        return dict.fromkeys(QUANTILES)
    return {name: int(np.quantile(lengths, level, method="higher")) for name, level in QUANTILES.items()}


def threshold(reference: Sequence[Copied]) -> int | None:
    """The longest run that does not count as copied: the 99.9 % quantile of the reference, or None without one."""
    lengths = [run.num_notes for run in reference]
    return int(np.quantile(lengths, THRESHOLD_QUANTILE, method="higher")) if lengths else None


def table(result: dict[str, Any]) -> Iterator[str]:
    """Lines of text."""
    split, reference, repeated = result["split"], result["reference"], result["duplicates"]
    yield f"{'longest run in notes':<28}{'pieces':>10}" + "".join(f"{name:>10}" for name in QUANTILES)
    for title, counts, row in (
        ("generated, in train", result["num_pieces"], result["generated"]),
        (f"{split}, in train", reference["num_pieces"], reference),
        ("generated, in one another", result["num_pieces"], repeated["runs"]),
    ):
        cells = ("-" if row[name] is None else row[name] for name in QUANTILES)
        yield f"{title:<28}{counts:>10,}" + "".join(f"{cell:>10}" for cell in cells)
    limit = result["threshold_notes"]
    if limit is None:
        yield f"no threshold: the {split} split has no piece to compare"
    else:
        above = result["num_above_threshold"]
        yield f"pieces with a run of more than {limit} notes (the 99.9 % quantile of {split}): {above:,}"
    for figure in result["worst"][:NUM_PRINTED]:
        if figure["num_notes"]:
            yield _sentence(figure, result["time_base"])
    exact, groups, near = (repeated[f"num_{name}"] for name in ("exact_pieces", "exact_groups", "near_pieces"))
    yield f"exact duplicates: {exact:,} pieces in {groups:,} groups; near-duplicates: {near:,} pieces"
    for figure in repeated["near"][:NUM_PRINTED]:
        yield f"  {figure['path']}: {figure['num_notes']} notes are in {figure['with']}{_key(figure['transposition'])}"


def _sentence(figure: dict[str, Any], time_base: str) -> str:
    unit, name = (TICKS_PER_SECOND, "s") if time_base == MILLISECONDS else (TICKS_PER_BEAT, "beats")
    return (
        f"  {figure['path']}: {figure['num_notes']} notes from note {figure['at_note']} on are in {figure['source']} "
        f"from note {figure['from_note']} ({figure['from_tick'] / unit:.1f} {name}) on{_key(figure['transposition'])}"
    )


def _key(transposition: int) -> str:
    return f", {transposition:+d} semitones" if transposition else ""


def _path(piece: GeneratedPiece) -> str:
    return str(piece.line["path"])


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
