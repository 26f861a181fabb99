"""Precision, recall and cost of the search for near-duplicates, on modified copies and on known versions of real music.

    python -m benchmarks.near_duplicates [FOLDER ...] [--same-piece REGEX] [--time-base beats] [--show]

1. Copies: pieces of each folder are changed in one or several ways, and looked for among all pieces. A copy is found if
   it is paired with its original. A pair of a copy with another piece is false, unless that is the same piece by
   --same-piece, or is grouped with the original without any copies.
2. Corpora: pairs within each folder. --same-piece is matched at the start of `<folder name>/<path>`; files with one
   first group are one piece, all others are different pieces. --show lists pairs of different pieces.
3. Cost: pieces per second, and LAKH_FILES rows that resemble the real ones, a third of them copies.

Without a folder it makes pieces. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from beam_pipelines.encoding import fingerprints
from beam_pipelines.planning import near_duplicates
from benchmarks.harness import machine, synthetic
from benchmarks.harness.rounds import Case, measure, timed
from benchmarks.speed.encode import list_files
from job_runtime import command
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import MidiError
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, TIME_BASES, Notes

LAKH_FILES = 178_561
MAX_COPIED = 300  # pieces per folder
PIECES_PER_BATCH = 64
NUM_ROUNDS, MADE_PIECES = 5, 200
QUICK_FILES, QUICK_ROWS = 8, 1000


class Change(NamedTuple):
    """How a copy differs from its original."""

    semitones: int = 0
    stretch: float = 1.0
    noise: float = 0.0  # standard deviation of each onset, milliseconds
    dropped: float = 0.0  # share of the notes
    programs: bool = False  # other programs, and so another order of notes


CHANGES = {
    "transposed -6": Change(semitones=-6),
    "transposed 5": Change(semitones=5),
    "stretched 0.5": Change(stretch=0.5),
    "stretched 0.6": Change(stretch=0.6),
    "stretched 1.7": Change(stretch=1.7),
    "stretched 2": Change(stretch=2.0),
    "other programs": Change(programs=True),
    "noise 5 ms": Change(noise=5),
    "noise 10 ms": Change(noise=10),
    "noise 15 ms": Change(noise=15),
    "5 % dropped": Change(dropped=0.05),
    "noise 10 ms, 5 % dropped": Change(noise=10, dropped=0.05),
    "all, stretched 0.7": Change(3, 0.7, 10, 0.05, True),
    "all, stretched 1.3": Change(-3, 1.3, 10, 0.05, True),
}


class Corpus(NamedTuple):
    name: str
    files: Sequence[str]
    pieces: Sequence[Notes]
    same_piece: np.ndarray  # [files], equal numbers for files of one piece
    rows: np.ndarray  # [files, NUM_VALUES], fingerprints


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.near_duplicates", __doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="MIDI files (default: pieces made for the run)")
    parser.add_argument("--same-piece", type=re.compile, default=re.compile("(?!)"), metavar="REGEX")
    parser.add_argument("--time-base", choices=TIME_BASES, default=MILLISECONDS)
    parser.add_argument("--show", action="store_true", help="list pairs of different pieces")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    args = parser.parse_args(argv)
    corpora = list(load(args))
    report = {
        "benchmark": "near_duplicates",
        "time_base": args.time_base,
        "copies": {corpus.name: search_copies(corpus, corpora, quick=args.quick) for corpus in corpora},
        "corpora": {corpus.name: search_corpus(corpus, show=args.show) for corpus in corpora},
        "largest_group": largest_group(corpora),
        "cost": measure_cost(corpora, quick=args.quick),
        "machine": machine.describe(["numpy"], {}),
    }
    print(json.dumps(report), flush=True)
    return command.OK


def load(args: argparse.Namespace) -> Iterator[Corpus]:
    if not args.folders:
        pieces = [synthetic.make_notes(key, 1500) for key in range(QUICK_FILES if args.quick else MADE_PIECES)]
        yield Corpus("made", [str(key) for key in range(len(pieces))], pieces, np.arange(len(pieces)), rows_of(pieces))
    for folder in args.folders:
        name = pathlib.Path(folder).resolve().name
        files, pieces = [], []
        for path in list_files([pathlib.Path(folder)]):
            try:
                notes = midi_file.parse(path.read_bytes(), time_base=args.time_base)
            except MidiError:
                continue
            files.append(f"{name}/{path.relative_to(pathlib.Path(folder).resolve())}")
            pieces.append(notes)
        matches = [args.same_piece.match(file) for file in files]
        keys = [match[1] if match else file for match, file in zip(matches, files, strict=True)]
        yield Corpus(name, files, pieces, np.unique(keys, return_inverse=True)[1], rows_of(pieces))


def rows_of(pieces: Sequence[Notes]) -> np.ndarray:
    return np.concatenate([fingerprints.of_batch(batch) for batch in batches(pieces)])


def batches(pieces: Sequence[Notes]) -> list[NoteBatch]:
    starts = range(0, len(pieces), PIECES_PER_BATCH)
    return [NoteBatch.from_notes(pieces[i : i + PIECES_PER_BATCH], pieces[0].time_base) for i in starts]


def find_pairs(rows: np.ndarray) -> np.ndarray:
    return near_duplicates.find_pairs(rows, np.array([b"%032x" % row for row in range(len(rows))], "S32"))


def search_copies(corpus: Corpus, corpora: Sequence[Corpus], *, quick: bool) -> dict[str, Any]:
    """For each change: recall, false pairs, and the mean share of bins that agree."""
    all_rows = np.concatenate([other.rows for other in corpora])
    before = sum(len(other.files) for other in corpora[: [other.name for other in corpora].index(corpus.name)])
    groups = near_duplicates.components(len(all_rows), find_pairs(all_rows))
    same_piece = np.full(len(all_rows), -1)
    same_piece[before : before + len(corpus.files)] = corpus.same_piece
    with_rows = np.flatnonzero(corpus.rows.any(axis=1))
    chosen = with_rows[:: -(-len(with_rows) // (QUICK_FILES if quick else MAX_COPIED))]
    print(f"{corpus.name}: copies of {len(chosen)} among {len(all_rows)}", flush=True)
    results: dict[str, Any] = {"copied": len(chosen)}
    for name, change in CHANGES.items():
        rng = np.random.default_rng(1)
        copies = rows_of([make_copy(corpus.pieces[row], change, rng) for row in chosen])
        pairs = find_pairs(np.concatenate([all_rows, copies]))
        pairs = pairs[(pairs[:, 0] < len(all_rows)) & (pairs[:, 1] >= len(all_rows))]  # ids ascend with rows
        original = before + chosen[pairs[:, 1] - len(all_rows)]
        is_true = (groups[pairs[:, 0]] == groups[original]) | (same_piece[pairs[:, 0]] == same_piece[original])
        recall = np.count_nonzero(pairs[:, 0] == original) / len(chosen)
        agreeing = float(agreement(copies, corpus.rows[chosen]).mean())
        false = int((~is_true).sum())
        results[name] = {
            "recall": round(recall, 4),
            "pairs": len(pairs),
            "false": false,
            "agreeing": round(agreeing, 3),
        }
        print(f"  {name:26} recall {recall:.3f}, {len(pairs)} pairs, {false} false; {agreeing:.2f} agree", flush=True)
    return results


def make_copy(notes: Notes, change: Change, rng: np.random.Generator) -> Notes:
    is_drum = notes.program == DRUM_PROGRAM
    pitch = np.where(is_drum, notes.pitch, notes.pitch.astype(np.int64) + change.semitones)
    milliseconds = notes.seconds_per_tick * 1000
    start = notes.start * change.stretch + rng.normal(0, 1, len(notes)) * change.noise / milliseconds
    program = (notes.program.astype(np.int64) * 37 + 11) % 128 if change.programs else notes.program
    kept = (rng.random(len(notes)) >= change.dropped) & (pitch >= 0) & (pitch < 128)
    return Notes.from_columns(
        pitch=pitch[kept],
        velocity=notes.velocity[kept],
        start=np.maximum(np.rint(start[kept]), 0).astype(np.int64),
        duration=notes.duration[kept],
        program=np.where(is_drum, DRUM_PROGRAM, program)[kept],
        tempo=notes.tempo,
        time_base=notes.time_base,
    )


def agreement(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The share of agreeing bins among those that either fills, over the last axis."""
    used = np.count_nonzero(left | right, axis=-1)
    return np.count_nonzero((left == right) & (left != fingerprints.EMPTY), axis=-1) / np.maximum(used, 1)


def search_corpus(corpus: Corpus, *, show: bool) -> dict[str, Any]:
    """Compares pairs within a corpus with the known pieces."""
    pairs = find_pairs(corpus.rows)
    groups = near_duplicates.components(len(corpus.files), pairs)
    is_known = corpus.same_piece[pairs[:, 0]] == corpus.same_piece[pairs[:, 1]]
    sizes = np.bincount(groups)
    report: dict[str, Any] = {
        "pieces": len(corpus.files),
        "with_fingerprint": int(corpus.rows.any(axis=1).sum()),
        "pairs": len(pairs),
        "pairs_of_two_pieces": int((~is_known).sum()),
        "groups": int((sizes > 1).sum()),
        "largest_group": int(sizes.max()),
    }
    for name, known in known_pairs(corpus):
        if len(known):
            together = groups[known[:, 0]] == groups[known[:, 1]]
            report[f"recall_{name}"] = round(float(together.mean()), 4)
            report[f"known_{name}"] = len(known)
    print(f"{corpus.name}: {', '.join(f'{name} {value}' for name, value in report.items())}", flush=True)
    for left, right in pairs[~is_known].tolist() if show else ():
        agreeing = float(agreement(corpus.rows[left], corpus.rows[right]))
        print(f"  {agreeing:.2f} {corpus.files[left]} {corpus.files[right]}")
    return report


def known_pairs(corpus: Corpus) -> Iterator[tuple[str, np.ndarray]]:
    """Yields row pairs `[m, 2]` of one piece: two performances, or a score (by its name) and a performance."""
    is_score = np.array(["score" in pathlib.PurePath(file).name for file in corpus.files])
    left, right = np.nonzero(np.triu(corpus.same_piece[:, np.newaxis] == corpus.same_piece, 1))
    num_scores = is_score[left].astype(int) + is_score[right]
    for name, num in (("performance_performance", 0), ("score_performance", 1)):
        yield name, np.stack([left, right], axis=1)[num_scores == num]


def largest_group(corpora: Sequence[Corpus]) -> int:
    """The number of pieces in the largest group over all corpora together, which shows whether groups chain."""
    rows = np.concatenate([corpus.rows for corpus in corpora])
    return int(np.bincount(near_duplicates.components(len(rows), find_pairs(rows))).max())


def measure_cost(corpora: Sequence[Corpus], *, quick: bool) -> dict[str, Any]:
    num_rows = QUICK_ROWS if quick else LAKH_FILES
    cases = []
    for corpus in corpora:
        ready = batches(corpus.pieces)
        num_notes = int(sum(batch.offsets[-1] for batch in ready))
        run = timed(lambda ready=ready: [fingerprints.of_batch(batch) for batch in ready])  # type: ignore[misc]
        cases.append(Case(f"fingerprints_{corpus.name}", run, num_notes, "notes"))
    rows = make_rows(np.concatenate([corpus.rows for corpus in corpora]), num_rows)
    cases.append(Case("find_pairs", timed(lambda: find_pairs(rows)), num_rows, "pieces"))
    rates = measure(cases, num_rounds=1 if quick else NUM_ROUNDS)
    cost = {
        f"microseconds_a_piece_of_2000_notes_{case.name.partition('_')[2]}": round(2e9 / rates[case.name].median, 1)
        for case in cases[:-1]
    }
    return cost | {"find_pairs_rows": num_rows, "find_pairs_seconds": round(num_rows / rates["find_pairs"].median, 2)}


def make_rows(rows: np.ndarray, num: int) -> np.ndarray:
    """`[num, NUM_VALUES]`: bins with the distributions of `rows`; the last third are copies of the others."""
    rng = np.random.default_rng(0)
    rows = rows[rows.any(axis=1)]
    made = np.stack([rows[rng.integers(0, len(rows), num), column] for column in range(rows.shape[1])], axis=1)
    num_copies = num // 3
    originals = made[rng.integers(0, num - num_copies, num_copies)]
    kept = rng.random((num_copies, rows.shape[1])) < rng.uniform(0.3, 1, (num_copies, 1))
    made[num - num_copies :] = np.where(kept, originals, made[num - num_copies :])
    return made


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.near_duplicates", main))
