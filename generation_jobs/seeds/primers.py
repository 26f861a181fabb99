"""The notes that a list's seeds continue, on the bundle's grid: read, cut, mapped and checked, all at once.

`primer_sources` finds them in MIDI files and datasets. All primers share one set of columns, so that 100,000 of them
are sorted and checked in a few array operations.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from generation_jobs.seeds import inline_notes, primer_sources
from generation_jobs.seeds.primer_reading import Reading
from generation_jobs.seeds.primer_sources import Columns
from generation_jobs.seeds.seed_record import NO_SIGNATURES, Origin, Seed, without_garbage_collection
from generation_jobs.settings import program_map
from generation_jobs.settings.program_map import advice
from job_runtime.problem_report import Problem
from midi_codec.fields import FieldTable
from midi_codec.music.note_order import sort_pieces
from midi_codec.music.notes import COLUMN_DTYPES, DEFAULT_TEMPO, ORDER, Notes, seconds_per_tick
from midi_codec.music.piece_offsets import offsets_of
from midi_codec.music.signatures import Signatures


class Primers:
    """`primers[i]` holds the notes of seed i, moved to start at tick 0, or is None: from silence."""

    def __init__(
        self,
        columns: Sequence[Columns | None],
        tempos: Sequence[float],
        time_base: str,
        *,
        signatures: Sequence[Signatures] | None = None,
        salvaged: Mapping[int, str] | None = None,
        origins: Mapping[int, Origin] | None = None,
        remarks: Sequence[Problem] = (),
    ) -> None:
        """
        Args:
          columns: the columns of `Notes` for each seed, in any order of notes, already in range.
          signatures: of each seed, from its first note on; None: they are unknown.
          salvaged: by seed, the salvage level that read its file, where strict reading failed.
          origins: by seed, where its notes are from.
          remarks: how notes differ from their files, for the log: lines and sentences.
        """
        self.salvaged, self.origins, self.remarks = salvaged or {}, origins or {}, remarks
        self.offsets = offsets_of([0 if own is None else len(own["pitch"]) for own in columns])  # [num_seeds + 1]
        self.tempos = np.array(tempos, np.float64)
        self.time_base = time_base
        given = [own for own in columns if own is not None]
        joined = [_join([own[name] for own in given], COLUMN_DTYPES[name]) for name in ORDER]
        self._columns = dict(zip(ORDER, sort_pieces(joined, self.offsets), strict=True))
        lengths = np.diff(self.offsets)
        filled = lengths > 0
        firsts = self._columns["start"][self.offsets[:-1][filled]]
        self._columns["start"] = self._columns["start"] - np.repeat(firsts, lengths[filled])
        self.signatures = self._until_last_onset(signatures or [NO_SIGNATURES] * len(columns))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Notes | None:
        rows = slice(self.offsets[index], self.offsets[index + 1])
        if rows.start == rows.stop:
            return None
        columns: dict[str, Any] = {name: column[rows] for name, column in self._columns.items()}
        tempo, signatures = float(self.tempos[index]), self.signatures[index]
        return Notes(**columns, tempo=tempo, time_base=self.time_base, signatures=signatures)

    def _until_last_onset(self, signatures: Sequence[Signatures]) -> list[Signatures]:
        """Later changes are not those of the notes that continue the primer."""
        starts, stops = self._columns["start"], self.offsets[1:].tolist()
        return [
            each.until(int(starts[stop - 1])) if each is not NO_SIGNATURES and stop > begin else each
            for each, begin, stop in zip(signatures, self.offsets[:-1].tolist(), stops, strict=True)
        ]

    @property
    def digest(self) -> str:
        """32 hex digits that change with any note or signature of any primer."""
        digest = hashlib.sha256(self.time_base.encode())
        if any(each is not NO_SIGNATURES and each != NO_SIGNATURES for each in self.signatures):
            digest.update(json.dumps([[each.times_text, each.keys_text] for each in self.signatures]).encode())
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

    @property
    def num_sounding(self) -> np.ndarray:
        """`[num_seeds]`: the notes of each primer that sound beyond its last onset; one of no length lasts a tick."""
        start, lengths = self._columns["start"].astype(np.int64), np.diff(self.offsets)
        last = np.repeat(start[self.offsets[1:][lengths > 0] - 1], lengths[lengths > 0])
        sounds = start + np.maximum(self._columns["duration"], 1) > last
        return np.diff(np.append(0, np.cumsum(sounds))[self.offsets])

    def with_values(self, column: str, values: np.ndarray) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The seeds that have any of these values (0 to 255) in a column, and which values, ascending."""
        rows = np.flatnonzero(np.isin(self._columns[column], values))
        owners = np.searchsorted(self.offsets, rows, side="right") - 1
        pairs = np.unique(owners * 256 + self._columns[column][rows])
        for seed, group in itertools.groupby(pairs.tolist(), lambda pair: pair // 256):
            yield seed, tuple(pair % 256 for pair in group)

    def distinct(self, column: str) -> np.ndarray:
        return np.unique(self._columns[column])


@without_garbage_collection()
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
      folder: the folder of the seed list, which relative MIDI paths start from.
      table: the bundle's fields; primers are put on its grid, and may hold only values that it knows.
      dataset: the folder of the dataset that has the pieces named by `piece_id`.
      reading: how files are read; None: with the default limits, and nothing is cleaned.
      map_programs: for seeds that do not set their own, as `program_map.parse` takes it.

    Returns:
      The primers, and what is wrong with them; a seed with a problem has a primer of None, or one that does not fit.
    """
    columns: list[Columns | None] = [None] * len(seeds)
    tempos = [DEFAULT_TEMPO if seed.tempo is None else seed.tempo for seed in seeds]
    signatures = [seed.signatures for seed in seeds]
    _put_inline(seeds, columns, table)
    problems: list[Problem] = []
    salvaged, remarks = dict[int, str](), dict[str, int]()
    origins = {index: seed.origin for index, seed in enumerate(seeds) if seed.origin is not None}
    from_files = primer_sources.from_files(seeds, folder, reading or Reading(table.time_base))
    from_dataset, dataset_problems = primer_sources.from_dataset(seeds, dataset, table.time_base)
    for index, notes in itertools.chain(from_files, from_dataset):
        if isinstance(notes, str):
            problems.append((seeds[index].line, notes))
            continue
        columns[index], tempos[index], origins[index] = notes.columns, notes.tempo, notes.origin
        signatures[index] = notes.signatures
        if notes.salvaged is not None:
            salvaged[index] = notes.salvaged
        if notes.remark:
            remarks.setdefault(notes.remark, seeds[index].line)
    _map_programs(seeds, columns, table, map_programs)
    sorted_remarks = sorted((line, remark) for remark, line in remarks.items())
    primers = Primers(
        columns,
        tempos,
        table.time_base,
        signatures=signatures,
        salvaged=salvaged,
        origins=origins,
        remarks=sorted_remarks,
    )
    problems += dataset_problems
    for index, texts in _unknown_programs(primers, table):
        source = "" if seeds[index].line else f" of {seeds[index].midi!r}"
        problems += [(seeds[index].line, f"the primer{source} does not fit the bundle: {text}") for text in texts]
    return primers, problems


def _join(arrays: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *arrays], dtype=dtype, casting="unsafe")  # the values are in range


def _put_inline(seeds: Sequence[Seed], columns: list[Columns | None], table: FieldTable) -> None:
    """Puts the inline notes of all seeds on the grid at once."""
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


def _map_programs(seeds: Sequence[Seed], columns: list[Columns | None], table: FieldTable, default: str | None) -> None:
    """Gives primers the programs that their settings ask for."""
    lookups: dict[str, np.ndarray] = {}
    for index, seed in enumerate(seeds):
        text, own = seed.overrides.get("map_programs", default), columns[index]
        if text is None or own is None:
            continue
        if text not in lookups:
            lookups[text] = program_map.parse(text).lookup(_known_programs(table))
        columns[index] = program_map.apply(own, lookups[text])


def _known_programs(table: FieldTable) -> Sequence[int]:
    return (table.only_program,) if table.only_program is not None else table["program"].values


def _unknown_programs(primers: Primers, table: FieldTable) -> Iterator[tuple[int, list[str]]]:
    """The seeds whose notes have a program that the model does not know, with the error texts. The model knows every
    value of the other columns."""
    only = table.only_program
    programs = primers.distinct("program")
    unknown = programs[programs != only] if only is not None else table["program"].unknown(programs)
    texts: dict[tuple[int, ...], list[str]] = {}
    for index, present in primers.with_values("program", unknown):
        if present not in texts:
            notes = primers[index]
            assert notes is not None
            texts[present] = [f"{'; '.join(table.problems(notes))}: {advice(present, _known_programs(table))}"]
        yield index, texts[present]
