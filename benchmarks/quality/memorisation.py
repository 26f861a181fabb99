"""The search for copied runs: its recall on planted copies, what other pieces share, and its cost.

    python -m benchmarks.memorisation DATASET ... [--num-notes 10000000]

1. Copies: 100 notes of a training piece are changed in one way and looked up in the index of that dataset. Measures the
   lengths of the runs, and the share of copies with a longer run than any validation piece cut to 300 notes.
2. Reference: the longest runs that validation pieces, whole and cut to 300 notes, share with the training split.
3. Cost: an index of all training pieces, repeated with other pitches up to --num-notes: seconds to build and load it,
   bytes of the file, milliseconds per validation piece of 300 notes, and for the worst known case, an endless arpeggio.

The last line is JSON.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness import machine
from benchmarks.quality.near_duplicates import Change, make_copy
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.memorisation.index_build import Build, in_batches
from job_runtime import command
from midi_codec.dataset import dataset_info
from midi_codec.dataset.records import Piece
from midi_codec.dataset.split_reader import read_split
from midi_codec.music.notes import TICKS_PER_BEAT, TICKS_PER_SECOND, Notes

COPY_NOTES = 100
NUM_COPIES = 200
PIECE_NOTES = 300
QUANTILES = (0.1, 0.5, 0.9, 1.0)
CHANGES = {
    "as it is": Change(),
    "transposed 5": Change(semitones=5),
    "stretched 0.75": Change(stretch=0.75),
    "stretched 1.3": Change(stretch=1.3),
    "noise 5 ms": Change(noise=5),
    "noise 10 ms": Change(noise=10),
    "noise 15 ms": Change(noise=15),
    "noise 20 ms": Change(noise=20),
    "2 % dropped": Change(dropped=0.02),
    "transposed 5, stretched 1.1, noise 10 ms": Change(5, 1.1, 10),
}


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.memorisation", __doc__)
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help="dataset folders, all with one time base")
    parser.add_argument(
        "--num-notes", type=int, default=10_000_000, help="notes of the index that is timed (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    copies, reference = {}, {}
    all_pieces: list[Piece] = []
    queries: list[Notes] = []
    for data in args.datasets:
        name = pathlib.Path(data).name
        train, others = (load(data, split) for split in ("train", "validation"))
        index = Index.build(train, time_base=train[0].notes.time_base, dataset="")
        cut = [piece.notes.take(slice(PIECE_NOTES)) for piece in others]
        reference[name] = {"whole": spread(index, [piece.notes for piece in others]), "cut": spread(index, cut)}
        copies[name] = search_copies(index, train, longest=reference[name]["cut"][-1])
        all_pieces += train
        queries += cut
        print(name, "reference", json.dumps(reference[name]), flush=True)
        for change, result in copies[name].items():
            print(f"{name} {change:<42}{json.dumps(result)}", flush=True)
    report = {
        "benchmark": "memorisation",
        "copies": copies,
        "reference": reference,
        "cost": measure_cost(all_pieces, queries, args.num_notes),
        "machine": machine.describe(["numpy"], {}),
    }
    print(json.dumps(report), flush=True)
    return command.OK


def load(data: str, split: str) -> list[Piece]:
    return list(read_split(data, dataset_info.load(data), split, label="reading"))


def lengths_of(index: Index, pieces: Sequence[Notes]) -> np.ndarray:
    return np.array([index.longest_run(notes).num_notes for notes in pieces])


def spread(index: Index, pieces: Sequence[Notes]) -> list[int]:
    lengths = lengths_of(index, pieces)
    return [int(np.quantile(lengths, level, method="higher")) for level in QUANTILES]


def search_copies(index: Index, pieces: Sequence[Piece], *, longest: int) -> dict[str, dict[str, float]]:
    results = {}
    for name, change in CHANGES.items():
        rng = np.random.default_rng(0)
        lengths = lengths_of(index, [make_copy(part, change, rng) for part in _excerpts(pieces, rng)])
        results[name] = {
            "tenth": int(np.quantile(lengths, 0.1, method="higher")),
            "median": int(np.median(lengths)),
            "found": float((lengths > longest).mean()),
        }
    return results


def _excerpts(pieces: Sequence[Piece], rng: np.random.Generator) -> Iterator[Notes]:
    """Excerpts that start a quarter of a second (or beat) late, so that noise cannot move notes before the start."""
    long = [piece.notes for piece in pieces if len(piece.notes) >= COPY_NOTES]
    for row in rng.integers(0, len(long), NUM_COPIES):
        begin = int(rng.integers(0, len(long[row]) - COPY_NOTES + 1))
        part = long[row].take(slice(begin, begin + COPY_NOTES)).from_first_onset()
        quarter = {"milliseconds": TICKS_PER_SECOND, "beats": TICKS_PER_BEAT}[part.time_base] // 4
        yield dataclasses.replace(part, start=part.start + np.int32(quarter))


def measure_cost(pieces: Sequence[Piece], queries: Sequence[Notes], num_notes: int) -> dict[str, float]:
    """In repeated pieces, each note moves by a random interval of at most two semitones."""
    rng = np.random.default_rng(0)
    corpus, total = list(pieces), sum(len(piece.notes) for piece in pieces)
    while total < num_notes:
        piece = pieces[len(corpus) % len(pieces)]
        pitch = np.clip(piece.notes.pitch + rng.integers(-2, 3, len(piece.notes)), 0, 127).astype(np.uint8)
        corpus.append(dataclasses.replace(piece, notes=dataclasses.replace(piece.notes, pitch=pitch)))
        total += len(pitch)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        Build(folder, in_batches(corpus), corpus[0].notes.time_base, "").finish()
        built = time.perf_counter()
        index = Index.load(folder)
        loaded = time.perf_counter()
        size = sum(file.stat().st_size for file in pathlib.Path(folder).iterdir())
    arpeggio = np.resize([60, 64, 67, 72], PIECE_NOTES).astype(np.uint8)
    even = (np.arange(PIECE_NOTES) * (queries[0].start.max() // PIECE_NOTES)).astype(np.int32)
    worst = dataclasses.replace(queries[0].take(np.resize(0, PIECE_NOTES)), pitch=arpeggio, start=even)
    milliseconds = [1000 * _seconds(index, notes) for notes in queries]
    return {
        "notes": total,
        "build_seconds": round(built - start, 2),
        "file_bytes": size,
        "load_seconds": round(loaded - built, 2),
        "milliseconds_a_piece_median": round(float(np.median(milliseconds)), 2),
        "milliseconds_a_piece_tenth_slowest": round(float(np.quantile(milliseconds, 0.9)), 2),
        "milliseconds_a_piece_most": round(max(milliseconds), 2),
        "milliseconds_arpeggio": round(1000 * _seconds(index, worst), 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _seconds(index: Index, notes: Notes) -> float:
    start = time.perf_counter()
    index.longest_run(notes)
    return time.perf_counter() - start


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.memorisation", main))
