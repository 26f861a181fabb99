"""The index of a dataset's training split: finds the longest run of notes that a piece shares with it, in any key.

A run is a stretch of consecutive notes of both pieces in which each step to the next note agrees: the same interval,
and about the same time (`note_strings` defines which notes follow one another and which times agree). The search is
exact. A primer's notes are ignored; a generated continuation that follows the primer's source counts as a run.
docs/memorisation.md says more.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, TypedDict

import numpy as np

from generation_jobs.memorisation.note_strings import BOUNDARY, END, Strings, strings_of
from generation_jobs.memorisation.run_search import Run, Text, longest_common, sort_suffixes
from job_runtime import json_text
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.dataset import records
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.split_reader import read_split
from midi_codec.music.notes import TIME_BASES, Notes

_DTYPES = {
    "symbol": np.dtype(np.uint16),
    "step": np.dtype(np.int32),
    "note": np.dtype(np.int32),
    "pitch": np.dtype(np.uint8),
    "offsets": np.dtype(np.int64),
    "order": np.dtype(np.int32),
}
FORMAT_VERSION = 1


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
    """Pieces as strings, and the sorted suffixes of those strings."""

    strings: Strings
    order: np.ndarray  # [total] int32, from `sort_suffixes`
    piece_ids: Sequence[str]
    sources: Sequence[str]
    time_base: str
    dataset: str  # hash
    text: Text = dataclasses.field(repr=False)

    @classmethod
    def build(cls, pieces: Iterable[records.Piece], *, time_base: str, dataset: str) -> Index:
        """Raises ValueError when a piece is on another grid."""
        pieces = list(pieces)
        strings = strings_of([piece.notes for piece in pieces], time_base)
        names = [piece.piece_id for piece in pieces], [piece.source for piece in pieces]
        return cls._of(strings, sort_suffixes(strings.symbol), *names, time_base, dataset)

    @classmethod
    def _of(
        cls,
        strings: Strings,
        order: np.ndarray,
        piece_ids: Sequence[str],
        sources: Sequence[str],
        time_base: str,
        dataset: str,
    ) -> Index:
        text = Text.of(strings.symbol, strings.step, time_base, padding=BOUNDARY)
        strings = dataclasses.replace(strings, symbol=text.symbol[: len(text)], step=text.step[: len(text)])
        return cls(strings, order, piece_ids, sources, time_base, dataset, text)

    def longest_run(self, notes: Notes, num_primer_notes: int = 0) -> Copied:
        """The longest run that the notes after the primer share with the index; the first of equally long runs.

        Raises:
          ValueError: the notes are on another grid.
        """
        mine = strings_of([notes.take(slice(num_primer_notes, None))], self.time_base)
        query = Text.of(mine.symbol, mine.step, self.time_base, padding=END)
        return self.describe(longest_common(query, self.text, self.order), mine, num_primer_notes)

    def describe(self, run: Run, mine: Strings, num_primer_notes: int) -> Copied:
        """A run of steps as a run of notes: one note more, starting with the note that the first step leaves."""
        if not run.num_steps:
            return Copied(0)
        theirs, at, found = self.strings, run.at - 1, run.found - 1
        row = int(np.searchsorted(theirs.offsets, found, "right")) - 1
        return Copied(
            num_notes=run.num_steps + 1,
            piece_id=self.piece_ids[row],
            source=self.sources[row],
            at_note=int(mine.note[at]) + num_primer_notes,
            from_note=int(theirs.note[found]),
            from_tick=int(theirs.step[theirs.offsets[row] : found + 1].sum(dtype=np.int64)),
            transposition=int(mine.pitch[at]) - int(theirs.pitch[found]),
        )

    def save(self, path: str) -> None:
        """Writes a `.npz` file of plain arrays, uncompressed."""
        arrays = {field.name: getattr(self.strings, field.name) for field in dataclasses.fields(Strings)}
        words = {
            "format_version": FORMAT_VERSION,
            "time_base": self.time_base,
            "dataset": self.dataset,
            "piece_ids": list(self.piece_ids),
            "sources": list(self.sources),
        }
        text = np.frombuffer(json.dumps(words).encode(), np.uint8)
        array_file.write(path, {"order": self.order, "words": text, **arrays})

    @classmethod
    def load(cls, path: str) -> Index:
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing, damaged, not an index, or of another version.
        """
        try:
            arrays = array_file.read(path)
            words = json_text.parse(arrays.pop("words").tobytes(), _Words)
            if problems := list(_problems(arrays, words)):
                raise ValueError("; ".join(problems))
            strings = Strings(**{field.name: arrays[field.name] for field in dataclasses.fields(Strings)})
            named = words["piece_ids"], words["sources"], words["time_base"], words["dataset"]
            return cls._of(strings, arrays["order"], *named)
        except FileNotFoundError as error:
            raise UserError(f"{path!r} does not exist, want an index of generation_jobs.memorisation") from error
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path!r} is not an index of generation_jobs.memorisation: {error}") from error


class _Words(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]
    time_base: Annotated[str, json_text.Constraint(lambda value: value in TIME_BASES, " or ".join(TIME_BASES))]
    dataset: str
    piece_ids: list[str]
    sources: list[str]


def _problems(arrays: Mapping[str, np.ndarray], words: _Words) -> Iterator[str]:
    """Why this is not a valid index; the values are checked only if the shapes are right."""
    for name, dtype in _DTYPES.items():
        if name not in arrays:
            yield f"{name} is missing"
        elif arrays[name].dtype != dtype or arrays[name].ndim != 1:
            yield f"{name} is {arrays[name].dtype} of the shape {arrays[name].shape}, want a row of {dtype}"
    if set(arrays) != set(_DTYPES) or any(array.ndim != 1 for array in arrays.values()):
        return
    offsets, total = arrays["offsets"], len(arrays["symbol"])
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        yield f"offsets do not ascend from 0 to {total}"
    named = len(words["piece_ids"]), len(words["sources"])
    if named != (len(offsets) - 1,) * 2:
        yield f"there are {named[0]} piece_ids and {named[1]} sources of {len(offsets) - 1} pieces"
    if any(len(arrays[name]) != total for name in ("step", "note", "pitch", "order")):
        yield "symbol, step, note, pitch and order differ in length"
    elif (np.sort(arrays["order"]) != np.arange(total)).any():
        yield f"order does not hold 0 to {total - 1}, each once"


def build(data: str, info: DatasetInfo) -> Index:
    """The index of a dataset's training split."""
    pieces = read_split(data, info, "train", label="indexing")
    return Index.build(pieces, time_base=info.time_base, dataset=info.hash)
