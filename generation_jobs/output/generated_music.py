"""Reads generated music: the manifest's lines with the notes of their `.mid` files."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from generation_jobs.measures.corpus_comparison import cut_alike
from generation_jobs.measures.music_measures import Part
from generation_jobs.output import manifest
from generation_jobs.output.piece_files import read_pieces
from job_runtime import storage
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.midi import midi_file
from midi_codec.midi.midi_header import MidiError
from midi_codec.music.notes import Notes

MAX_PROBLEMS = 10  # most unreadable files to name
MAX_CORPUS_PIECES = 2000  # per split; shards are ordered by hash, so the first ones are a fair sample


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratedPiece:
    line: Mapping[str, Any]  # of the manifest
    notes: Notes

    @property
    def num_generated(self) -> int:
        return len(self.notes) - self.num_given

    @property
    def num_given(self) -> int:
        return self.line["num_primer_notes"]

    @property
    def part(self) -> Part:
        """The notes for measures, which ignore the primer's."""
        return Part(self.notes, self.num_given)

    @property
    def log_likelihood_per_note(self) -> float | None:
        """Nats per note; None where nothing was generated, or the number is not finite."""
        if not self.num_generated:
            return None
        value = self.line["log_likelihood"] / self.num_generated
        return value if math.isfinite(value) else None


def read(root: str, *, time_base: str) -> list[GeneratedPiece]:
    """All pieces of a finished job, in the order of the manifest, without those that screening left out.

    Raises:
      UserError: there is no finished job at `root`, it has no piece, or a `.mid` file is missing or damaged.
    """
    lines = [line for line in manifest.read(root) if line["path"] is not None]
    if not lines:
        raise UserError(f"{root!r} holds a job without pieces, want at least one")
    paths = [line["path"] for line in lines]
    files = zip(paths, read_pieces(root, paths), strict=True)
    parsed = (_parse(storage.join(root, path), data, time_base) for path, data in files)
    results = list(progress(parsed, total=len(lines), unit="pieces", label="reading"))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        left_out = len(problems) - MAX_PROBLEMS
        raise UserError(problems[:MAX_PROBLEMS] + ([f"and {left_out} more files like these"] if left_out > 0 else []))
    pieces = zip(lines, results, strict=True)
    return [GeneratedPiece(line, notes) for line, notes in pieces if isinstance(notes, Notes)]


def _parse(path: str, data: bytes | OSError, time_base: str) -> Notes | str:
    """The notes from the first onset on, as they were generated; or what is wrong with the file."""
    if isinstance(data, FileNotFoundError):
        return f"{path!r} does not exist, but the manifest names it"
    if isinstance(data, OSError):
        return f"{path!r} cannot be read: {data}"
    try:
        return midi_file.parse(data, time_base=time_base).from_first_onset()
    except MidiError as error:
        if error.reason == "no_notes":
            empty = np.zeros(0, np.int64)
            return Notes.from_columns(
                pitch=empty, velocity=empty, start=empty, duration=empty, program=empty, time_base=time_base
            )
        return f"{path!r} cannot be read: {error}"


def how_ended(pieces: Sequence[GeneratedPiece]) -> dict[str, int]:
    """How many pieces ended in which way, the commonest first."""
    words = {True: "by themselves", False: "cut"}
    ways = collections.Counter(words.get(piece.line["ended"], str(piece.line["ended"])) for piece in pieces)
    return dict(ways.most_common())


def corpus_notes(data: str, info: DatasetInfo, split: str) -> Iterator[Notes]:
    """The notes of the first pieces of a split.

    Raises:
      UserError: a shard cannot be read.
    """
    corpus = split_reader.read_split(data, info, split, label="comparing")
    return (piece.notes for piece in itertools.islice(corpus, MAX_CORPUS_PIECES))


def cut_like(pieces: Sequence[GeneratedPiece], corpus: Iterable[Notes]) -> Iterator[Part]:
    """Pieces of a corpus, cut like the generated ones."""
    return cut_alike(corpus, [(piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated])
