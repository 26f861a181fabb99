"""The index of a dataset's training split: finds the longest run of notes that a piece shares with it, in any key.

A run is a stretch of consecutive notes of both pieces in which each step to the next note agrees: the same interval,
and about the same time (`note_strings` defines which notes follow one another and which times agree). The search is
exact. A primer's notes are ignored; a generated continuation that follows the primer's source counts as a run.
docs/memorisation.md says more.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np

from generation_jobs.memorisation import index_files
from generation_jobs.memorisation.index_build import Build, in_batches
from generation_jobs.memorisation.index_files import Columns
from generation_jobs.memorisation.run_search import Runs, Text, longest_common, together
from job_runtime.logs.progress import progress
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.records import Piece
from midi_codec.dataset.split_reader import read_shards
from midi_codec.measures.note_strings import Strings, strings_of
from midi_codec.music.notes import Notes
from midi_codec.music.piece_offsets import offsets_of


@dataclasses.dataclass(frozen=True)
class Copied:
    """The longest run of a piece that is also in the index; if no step is, `num_notes` is 0 and the rest None."""

    num_notes: int
    piece_id: str | None = None  # of the piece in the index
    source: str | None = None  # its file
    at_note: int | None = None  # where the run begins in the given piece, in the order of `Notes`, primer included
    from_note: int | None = None  # where it begins in the piece of the index
    from_tick: int | None = None  # the onset of that note
    transposition: int | None = None  # semitones from the index's piece to the given one


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Pieces as strings, and the sorted positions of those strings; on disk, mapped into memory."""

    columns: Columns
    text: Text = dataclasses.field(repr=False)

    @classmethod
    def load(cls, path: str) -> Index:
        """Opens what `generation_jobs.memorisation` wrote.

        Raises:
          UserError: it is missing, damaged, not an index, or of another version.
        """
        columns = index_files.open_columns(path)
        return cls(columns, Text(columns.symbol, columns.step, columns.time_base))

    @classmethod
    def build(cls, pieces: Iterable[Piece], *, time_base: str, dataset: str) -> Index:
        """An index in files that are gone with it.

        Raises:
          ValueError: a piece is on another grid.
        """
        return cls._temporary(in_batches(pieces), time_base, dataset)

    @classmethod
    def _temporary(cls, sources: Iterable[Iterable[Piece]], time_base: str, dataset: str) -> Index:
        with tempfile.TemporaryDirectory(prefix="index-") as folder:
            Build(folder, sources, time_base, dataset, durable=False).finish()
            return cls.load(folder)  # files that are mapped stay until they are not

    @property
    def time_base(self) -> str:
        return self.columns.time_base

    @property
    def dataset(self) -> str:
        return self.columns.dataset

    @property
    def num_pieces(self) -> int:
        return len(self.columns.offsets) - 1

    def longest_run(self, notes: Notes, num_primer_notes: int = 0) -> Copied:
        """The longest run that the notes after the primer share with the index; the first of equally long runs.

        Raises:
          ValueError: the notes are on another grid.
        """
        return self.longest_runs([(notes, num_primer_notes)])[0]

    def longest_runs(self, parts: Sequence[tuple[Notes, int]]) -> list[Copied]:
        """As `longest_run`, of several pieces with their primers; together they take a tenth of the time."""
        found = []
        for begin, end in together(offsets_of([len(notes) for notes, _ in parts])):
            mine = strings_of([notes.take(slice(given, None)) for notes, given in parts[begin:end]], self.time_base)
            query = Text.of_query(mine.symbol, mine.step, self.time_base)
            runs = longest_common(query, mine.offsets, self.text, self.columns.order)
            found += self.describe(runs, mine, [given for _, given in parts[begin:end]])
        return found

    def describe(self, runs: Runs, mine: Strings, num_primer_notes: Sequence[int]) -> list[Copied]:
        """Runs of steps as runs of notes: one note more, starting with the note that the first step leaves."""
        return [self._describe(*runs.of(piece), mine, given) for piece, given in enumerate(num_primer_notes)]

    def _describe(self, num_steps: int, at: int, found: int, mine: Strings, num_primer_notes: int) -> Copied:
        if not num_steps:
            return Copied(0)
        theirs, at, found = self.columns, at - 1, found - 1
        row = int(np.searchsorted(theirs.offsets, found, "right")) - 1
        piece_id, source = theirs.name_of(row)
        return Copied(
            num_notes=num_steps + 1,
            piece_id=piece_id,
            source=source,
            at_note=int(mine.note[at]) + num_primer_notes,
            from_note=int(theirs.note[found]),
            from_tick=int(theirs.step[theirs.offsets[row] : found + 1].sum(dtype=np.int64)),
            transposition=int(mine.pitch[at]) - int(theirs.pitch[found]),
        )


def build(data: str, info: DatasetInfo) -> Index:
    """The index of a dataset's training split, in files that are gone with it."""
    sources = progress(
        read_shards(data, info, "train"), total=len(info.splits["train"].shard_lengths), unit="shards", label="indexing"
    )
    return Index._temporary(sources, info.time_base, info.hash)
