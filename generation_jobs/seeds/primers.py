"""The notes that a list's seeds continue, on the bundle's grid: read, cut, mapped, checked, all of them at once.

`primer_sources` finds them in MIDI files and datasets. All primers lie in one set of columns, so that 100,000
of them are sorted and checked in a few array operations.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from generation_jobs.seeds import inline_notes, primer_sources
from generation_jobs.seeds.primer_reading import Reading
from generation_jobs.seeds.primer_sources import Columns
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings import program_map
from generation_jobs.settings.program_map import advice
from job_runtime.problem_report import Problem
from midi_codec.fields import FieldTable
from midi_codec.music.note_order import sort_pieces
from midi_codec.music.notes import COLUMN_DTYPES, DEFAULT_TEMPO, ORDER, Notes, seconds_per_tick
from midi_codec.music.piece_offsets import offsets_of


class Primers:
    """`primers[i]` is the notes of seed i from their first onset on, or None: from silence."""

    def __init__(
        self,
        columns: Sequence[Columns | None],
        tempos: Sequence[float],
        time_base: str,
        *,
        salvaged: Mapping[int, str] | None = None,
        remarks: Sequence[Problem] = (),
    ) -> None:
        """
        Args:
          columns: of each seed, the columns of `Notes` in any order of notes, already in range.
          salvaged: by seed, the rung that read its file, where strict reading did not.
          remarks: what was done to the notes of files, for the log: lines and sentences.
        """
        self.salvaged, self.remarks = salvaged or {}, remarks
        self.offsets = offsets_of([0 if part is None else len(part["pitch"]) for part in columns])  # [num_seeds + 1]
        self.tempos = np.array(tempos, np.float64)
        self.time_base = time_base
        given = [part for part in columns if part is not None]
        joined = [_join([part[name] for part in given], COLUMN_DTYPES[name]) for name in ORDER]
        self._columns = dict(zip(ORDER, sort_pieces(joined, self.offsets), strict=True))
        lengths = np.diff(self.offsets)
        filled = lengths > 0
        firsts = self._columns["start"][self.offsets[:-1][filled]]
        self._columns["start"] = self._columns["start"] - np.repeat(firsts, lengths[filled])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Notes | None:
        rows = slice(self.offsets[index], self.offsets[index + 1])
        if rows.start == rows.stop:
            return None
        columns = {name: column[rows] for name, column in self._columns.items()}
        return Notes(**columns, tempo=float(self.tempos[index]), time_base=self.time_base)

    @property
    def digest(self) -> str:
        """32 hex digits that change with any note of any primer."""
        digest = hashlib.sha256(self.time_base.encode())
        for values in (self.offsets, self.tempos, *self._columns.values()):
            digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()[:32]

    @property
    def last_onset_seconds(self) -> np.ndarray:
        """`[num_seeds]` float64: from each primer's first onset to its last; 0 from silence."""
        lengths = np.diff(self.offsets)
        ticks: np.ndarray = np.zeros(len(self), np.float64)
        ticks[lengths > 0] = self._columns["start"][self.offsets[1:][lengths > 0] - 1]
        return ticks * [seconds_per_tick(self.time_base, tempo) for tempo in self.tempos]

    def with_values(self, column: str, values: np.ndarray) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The seeds that have some of these values, 0 to 255, in a column, and which of them, ascending."""
        rows = np.flatnonzero(np.isin(self._columns[column], values))
        owners = np.searchsorted(self.offsets, rows, side="right") - 1
        pairs = np.unique(owners * 256 + self._columns[column][rows])
        for seed, group in itertools.groupby(pairs.tolist(), lambda pair: pair // 256):
            yield seed, tuple(pair % 256 for pair in group)

    def distinct(self, column: str) -> np.ndarray:
        return np.unique(self._columns[column])


def load(
    seeds: Sequence[Seed],
    *,
    folder: str,
    table: FieldTable,
    dataset: str | None = None,
    reading: Reading | None = None,
    map_programs: str | None = None,
) -> tuple[Primers, list[Problem]]:
    """Reads and checks every primer.

    Args:
      folder: where relative MIDI paths start: the folder of the seed list.
      table: the bundle's fields; primers come onto its grid, and may hold only what it knows.
      dataset: the folder of the dataset that `piece_id` is of.
      reading: how files are read; else with the usual limits, and nothing cleaned.
      map_programs: of seeds that say nothing else, as `program_map.parse` takes it.

    Returns:
      The primers, and what is wrong with them; a seed with a problem has a primer of None, or one that does not fit.
    """
    columns: list[Columns | None] = [None] * len(seeds)
    tempos = [DEFAULT_TEMPO if seed.tempo is None else seed.tempo for seed in seeds]
    _put_inline(seeds, columns, table)
    problems: list[Problem] = []
    salvaged, remarks = dict[int, str](), dict[str, int]()
    from_files = primer_sources.from_files(seeds, folder, reading or Reading(table.time_base))
    from_dataset, in_dataset = primer_sources.from_dataset(seeds, dataset, table.time_base)
    for index, found in itertools.chain(from_files, from_dataset):
        if isinstance(found, str):
            problems.append((seeds[index].line, found))
            continue
        columns[index], tempos[index] = found.columns, found.tempo
        if found.salvaged is not None:
            salvaged[index] = found.salvaged
        if found.remark:
            remarks.setdefault(found.remark, seeds[index].line)
    _map_programs(seeds, columns, table, map_programs)
    said = sorted((line, remark) for remark, line in remarks.items())
    primers = Primers(columns, tempos, table.time_base, salvaged=salvaged, remarks=said)
    problems += in_dataset
    for index, texts in _strange(primers, table):
        of = "" if seeds[index].line else f" of {seeds[index].midi!r}"
        problems += [(seeds[index].line, f"the primer{of} does not fit the bundle: {text}") for text in texts]
    return primers, problems


def _join(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts], dtype=dtype, casting="unsafe")  # the values are in range


def _put_inline(seeds: Sequence[Seed], columns: list[Columns | None], table: FieldTable) -> None:
    """Brings the inline notes of all seeds onto the grid at once."""
    given = [(index, seed.notes, seed.tempo) for index, seed in enumerate(seeds) if seed.notes is not None]
    notes = [notes for _, notes, _ in given]
    program = table.only_program or 0
    joined = inline_notes.to_ticks(
        notes, tempos=[tempo for *_, tempo in given], time_base=table.time_base, program=program
    )
    begin = 0
    for index, own, _ in given:
        stop = begin + len(own.pitch)
        columns[index] = {name: column[begin:stop] for name, column in joined.items()}
        begin = stop


def _map_programs(seeds: Sequence[Seed], columns: list[Columns | None], table: FieldTable, usual: str | None) -> None:
    """Gives primers the programs that their settings ask for."""
    lookups: dict[str, np.ndarray] = {}
    for index, seed in enumerate(seeds):
        text, part = seed.overrides.get("map_programs", usual), columns[index]
        if text is None or part is None:
            continue
        if text not in lookups:
            lookups[text] = program_map.parse(text).lookup(_known_programs(table))
        columns[index] = program_map.apply(part, lookups[text])


def _known_programs(table: FieldTable) -> Sequence[int]:
    return (table.only_program,) if table.only_program is not None else table["program"].values


def _strange(primers: Primers, table: FieldTable) -> Iterator[tuple[int, list[str]]]:
    """The seeds whose notes hold a program that the model does not know, and how to say so; it knows every other
    value."""
    only = table.only_program
    programs = primers.distinct("program")
    unknown = programs[programs != only] if only is not None else table["program"].unknown(programs)
    texts: dict[tuple[int, ...], list[str]] = {}
    for index, found in primers.with_values("program", unknown):
        if found not in texts:
            notes = primers[index]
            assert notes is not None
            texts[found] = [f"{'; '.join(table.problems(notes))}: {advice(found, _known_programs(table))}"]
        yield index, texts[found]
