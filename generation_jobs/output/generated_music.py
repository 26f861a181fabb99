"""Reads generated music: the manifest's lines with the notes of their `.mid` files."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.output import manifest
from generation_jobs.output.manifest import Line
from generation_jobs.output.piece_files import read_pieces
from job_runtime import storage
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.records import Piece
from midi_codec.measures.music_measures import Part
from midi_codec.midi import midi_file
from midi_codec.music.notes import Notes

MAX_PROBLEMS = 10  # most unreadable files to name
PIECES_AT_ONCE = 256
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
    """`stream`, all at once: some 15 KB of memory per piece."""
    return list(stream(root, time_base=time_base))


def stream(root: str, *, time_base: str) -> Iterator[GeneratedPiece]:
    """All pieces of a finished job, in the order of the manifest, without those that screening left out.

    Raises:
      UserError: at once, there is no finished job at `root`; at the end, it has no piece, or all `.mid` files that are
        missing or damaged.
    """
    return with_notes(root, _shown(root, "reading"), time_base=time_base)


def _shown(root: str, label: str) -> Iterator[Line]:
    """The lines of pieces that were not left out; shows progress."""
    lines = manifest.stream(root)
    shown = progress(lines, total=manifest.shards_of(root).num_samples, unit="samples", label=label)
    return (line for line in shown if line["path"] is not None)


def sample(root: str, *, num_pieces: int) -> tuple[list[Line], int]:
    """The lines of at most so many pieces of a finished job, in the order of the manifest; and how many there are.

    Which ones they are depends on a hash of their names alone.

    Raises:
      UserError: as `manifest.stream`.
    """
    kept: list[tuple[int, int, Line]] = []  # a heap: the piece with the largest hash, to drop next, comes first
    num_all = 0
    for line in _shown(root, "choosing"):
        digest = hashlib.sha256(f"{line['seed_id']}:{line['sample']}".encode()).digest()
        heapq.heappush(kept, (-int.from_bytes(digest, "big"), num_all, line))
        num_all += 1
        if len(kept) > num_pieces:
            heapq.heappop(kept)
    return [line for _, _, line in sorted(kept, key=lambda item: item[1])], num_all


def with_notes(root: str, lines: Iterable[Line], *, time_base: str) -> Iterator[GeneratedPiece]:
    """The pieces of these lines.

    Raises:
      UserError: at the end, there is none, or all `.mid` files that are missing or damaged.
    """
    problems: list[str] = []
    num_pieces = num_problems = 0
    lines = iter(lines)
    while some := list(itertools.islice(lines, PIECES_AT_ONCE)):
        files = read_pieces(root, (line["path"] for line in some))
        for line, notes in zip(some, _parse(root, some, list(files), time_base), strict=True):
            num_pieces += 1
            if isinstance(notes, Notes):
                yield GeneratedPiece(line, notes)
                continue
            num_problems += 1
            problems += [notes] * (len(problems) < MAX_PROBLEMS)
    if left_out := num_problems - len(problems):
        problems.append(f"and {left_out} more files like these")
    if problems:
        raise UserError(problems)
    if not num_pieces:
        raise UserError(f"{root!r} holds a job without pieces, want at least one")


def _parse(root: str, lines: Sequence[Line], files: Sequence[bytes | OSError], time_base: str) -> Iterator[Notes | str]:
    """The notes from the first onset on, as they were generated; or what is wrong with the file."""
    parsed = midi_file.parse_many(
        [b"" if isinstance(data, OSError) else data for data in files], time_base=time_base, salvage=False
    )
    places = {row: index for index, row in enumerate(parsed.rows.tolist())}
    for row, (line, data) in enumerate(zip(lines, files, strict=True)):
        path = storage.join(root, line["path"])
        if isinstance(data, FileNotFoundError):
            yield f"{path!r} does not exist, but the manifest names it"
        elif isinstance(data, OSError):
            yield f"{path!r} cannot be read: {data}"
        elif row in places:
            yield parsed.batch.piece(places[row]).from_first_onset()
        elif parsed.errors[row].reason == "no_notes":
            yield Notes.empty(time_base)
        else:
            yield f"{path!r} cannot be read: {parsed.errors[row]}"


def shapes_of(pieces: Iterable[GeneratedPiece]) -> list[tuple[int, int]]:
    """How corpus pieces are to be cut: the notes of the primer, and all notes, of the first pieces with new notes."""
    shapes = ((piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated)
    return list(itertools.islice(shapes, MAX_CORPUS_PIECES))


class Overview:
    """What is said of all pieces, counted one by one."""

    def __init__(self, pieces: Iterable[GeneratedPiece] = ()) -> None:
        self.num_pieces = self.num_generated = 0
        self.bundles: set[str] = set()
        self.shapes: list[tuple[int, int]] = []
        self._ways: collections.Counter[str] = collections.Counter()
        for piece in pieces:
            self.add(piece)

    def add(self, piece: GeneratedPiece) -> None:
        ended = piece.line["ended"]
        self.num_pieces += 1
        self.num_generated += piece.num_generated
        self.bundles.add(str(piece.line["bundle"]))
        self._ways[{True: "by themselves", False: "cut"}.get(ended, str(ended))] += 1
        if len(self.shapes) < MAX_CORPUS_PIECES:
            self.shapes += shapes_of([piece])

    @property
    def ways(self) -> dict[str, int]:
        """How many pieces ended in which way, the commonest first."""
        return dict(self._ways.most_common())


def corpus_notes(data: str, info: DatasetInfo, split: str) -> Iterator[Notes]:
    """The notes of the first pieces of a split; raises as `corpus_pieces` does."""
    return (piece.notes for piece in corpus_pieces(data, info, split))


def corpus_pieces(data: str, info: DatasetInfo, split: str) -> Iterator[Piece]:
    """The first pieces of a split.

    Raises:
      UserError: a shard cannot be read.
    """
    corpus = split_reader.read_split(data, info, split, label="comparing")
    return itertools.islice(corpus, MAX_CORPUS_PIECES)
