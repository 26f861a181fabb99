"""The notes that a list's seeds continue, on the bundle's grid: read, cut, checked, all of them at once.

Every MIDI file that the list names is read once, whatever the number of seeds that use it. All primers lie
in one set of columns, so that 100,000 of them are sorted and checked in a few array operations.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from generation_jobs.seed_list import Problem, Seed
from midi_codec import midi_file, storage
from midi_codec.command import UserError
from midi_codec.fields import FieldTable
from midi_codec.midi_file import MidiError
from midi_codec.notes import COLUMN_DTYPES, DEFAULT_TEMPO, Notes
from midi_codec.progress import progress

READER_THREADS = 8  # reading waits for disks and buckets

Columns = Mapping[str, np.ndarray]


class Primers:
    """`primers[i]` is the notes of seed i from their first onset on, or None: from silence."""

    def __init__(self, columns: Sequence[Columns | None], tempos: Sequence[float], time_base: str) -> None:
        """`columns` holds, of each seed, the columns of `Notes` in any order of notes, already in range."""
        lengths = np.array([0 if part is None else len(part["pitch"]) for part in columns], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])  # [num_seeds + 1]
        self.tempos = np.array(tempos, np.float64)
        self.time_base = time_base
        given = [part for part in columns if part is not None]
        joined = {
            name: np.concatenate([[], *(part[name] for part in given)]).astype(np.int64) for name in COLUMN_DTYPES
        }
        owner = np.repeat(np.arange(len(columns)), lengths)
        order = np.lexsort([joined[name] for name in ("velocity", "duration", "program", "pitch", "start")] + [owner])
        joined = {name: column[order] for name, column in joined.items()}
        firsts = joined["start"][self.offsets[:-1][lengths > 0]]
        joined["start"] -= np.repeat(firsts, lengths[lengths > 0])
        self._columns = {name: column.astype(COLUMN_DTYPES[name]) for name, column in joined.items()}

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

    def with_values(self, column: str, values: np.ndarray) -> list[int]:
        """The seeds that have one of these values in a column."""
        rows = np.flatnonzero(np.isin(self._columns[column], values))
        return np.unique(np.searchsorted(self.offsets, rows, side="right") - 1).tolist()

    def distinct(self, column: str) -> np.ndarray:
        return np.unique(self._columns[column])


def load(seeds: Sequence[Seed], *, folder: str, table: FieldTable) -> tuple[Primers, list[Problem]]:
    """Reads and checks every primer.

    Args:
      folder: where relative MIDI paths start: the folder of the seed list.
      table: the bundle's fields; primers come onto its grid, and may hold only what it knows.

    Returns:
      The primers, and what is wrong with them; a seed with a problem has a primer of None.
    """
    time_base = table.time_base
    program = table.only_program or 0
    columns: list[Columns | None] = [None] * len(seeds)
    tempos = [DEFAULT_TEMPO if seed.tempo is None else seed.tempo for seed in seeds]
    for index, seed in enumerate(seeds):
        if seed.notes is not None:
            columns[index] = seed.notes.to_ticks(time_base=time_base, tempo=seed.tempo, program=program)
    problems: list[Problem] = []
    for index, found in _read_files(seeds, folder, time_base):
        if isinstance(found, Notes):
            columns[index] = {name: getattr(found, name) for name in COLUMN_DTYPES}
            tempos[index] = found.tempo
        else:
            problems.append((seeds[index].line, found))
    primers = Primers(columns, tempos, time_base)
    for index in _strange(primers, table):
        notes = primers[index]
        assert notes is not None
        problems += [
            (seeds[index].line, f"the primer does not fit the bundle: {text}") for text in table.problems(notes)
        ]
    return primers, problems


def midi_path(midi: str, folder: str) -> str:
    """Where a seed's MIDI file is, for the path as it stands in the list."""
    return midi if midi.startswith("/") or "://" in midi else storage.join(folder, midi)


def folder_of(path: str) -> str:
    """The folder of a file, for `midi_path`; empty for one in the current folder."""
    head, slash, _ = path.rpartition("/")
    return head or slash


def _read_files(seeds: Sequence[Seed], folder: str, time_base: str) -> list[tuple[int, Notes | str]]:
    """For each seed with a MIDI file, its notes or what is wrong."""
    users: dict[str, list[int]] = {}
    for index, seed in enumerate(seeds):
        if seed.midi is not None:
            users.setdefault(midi_path(seed.midi, folder), []).append(index)
    if not users:
        return []

    def read(path: str) -> list[tuple[int, Notes | str]]:
        whole = _parse(path, time_base)
        return [(index, whole if isinstance(whole, str) else _cut(whole, seeds[index])) for index in users[path]]

    with concurrent.futures.ThreadPoolExecutor(READER_THREADS) as pool:
        parts = pool.map(read, users)
        if len(users) > 1000:
            parts = iter(progress(parts, total=len(users), unit="files", label="reading primers"))
        return [found for part in parts for found in part]


def _parse(path: str, time_base: str) -> Notes | str:
    try:
        return midi_file.parse(storage.read_bytes(path), time_base=time_base)
    except FileNotFoundError:
        return f"midi {path!r} does not exist"
    except (OSError, UserError) as error:
        return f"midi {path!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    except MidiError as error:
        return f"midi {path!r} cannot be used: {error}"


def _cut(notes: Notes, seed: Seed) -> Notes | str:
    """The notes that the seed asks for, or why there are none."""
    if seed.from_seconds is None and seed.to_seconds is None:
        if seed.from_note >= len(notes):
            return f"from_note is {seed.from_note}, but the file has {len(notes)} notes, counted from 0"
        if seed.num_notes is not None and seed.from_note + seed.num_notes > len(notes):
            return f"num_notes is {seed.num_notes}, but the file has {len(notes)} notes, from_note is {seed.from_note}"
        stop = None if seed.num_notes is None else seed.from_note + seed.num_notes
        return notes.take(slice(seed.from_note, stop))
    seconds = notes.start * notes.seconds_per_tick
    low = 0.0 if seed.from_seconds is None else seed.from_seconds
    high = np.inf if seed.to_seconds is None else seed.to_seconds
    chosen = notes.take(np.flatnonzero((seconds >= low) & (seconds < high)))
    if not len(chosen):
        span = f"{seconds[0]:.3f} to {seconds[-1]:.3f}"
        return f"no note starts from {low:g} to {high:g} seconds; the file has notes from {span}"
    return chosen


def _strange(primers: Primers, table: FieldTable) -> list[int]:
    """The seeds whose notes hold a program that the model does not know; it knows every other value."""
    only = table.only_program
    programs = primers.distinct("program")
    unknown = programs[programs != only] if only is not None else table["program"].unknown(programs)
    return primers.with_values("program", unknown)
