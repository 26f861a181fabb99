"""Finds the notes of primers in MIDI files and in a dataset, and cuts out those that a seed asks for.

Every file is read once, as the bundle's corpus was (`primer_reading`), however many seeds use it; so is the dataset.
A seed with a mistake has a sentence about it instead of notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from generation_jobs.seeds import dataset_pieces
from generation_jobs.seeds.primer_reading import PrimerFile, Reading
from generation_jobs.seeds.seed_record import Origin, Seed
from job_runtime import storage
from job_runtime.logs.progress import progress
from job_runtime.problem_report import Problem, UserError
from midi_codec.music.notes import COLUMN_DTYPES, seconds_per_tick, ticks_per_quarter
from midi_codec.music.signatures import Signatures

MANY_FILES = 1000  # progress is shown from this number on

Columns = Mapping[str, np.ndarray]


class PrimerNotes(NamedTuple):
    """The notes that a seed takes from a file or a piece."""

    columns: Columns  # sorted by start
    tempo: float
    origin: Origin  # the file or piece, and which of its notes
    signatures: Signatures  # from the first of them on
    salvaged: str | None = None  # the salvage level that read the file
    remark: str = ""  # how the notes differ from the file, for the log


SeedNotes = tuple[int, "PrimerNotes | str"]  # index of the seed; its notes, or what is wrong


def midi_path(midi: str, folder: str) -> str:
    """The full path of a seed's MIDI file, for its path in the list."""
    return midi if midi.startswith("/") or "://" in midi else storage.join(folder, midi)


def from_files(seeds: Sequence[Seed], folder: str, reading: Reading) -> Iterator[SeedNotes]:
    """For each seed with a MIDI file, its notes or what is wrong."""
    users: dict[str, list[int]] = {}
    for index, seed in enumerate(seeds):
        if seed.midi is not None:
            users.setdefault(midi_path(seed.midi, folder), []).append(index)
    if not users:
        return

    def read(path: str) -> list[SeedNotes]:
        return _of_file(path, [(index, seeds[index]) for index in users[path]], reading)

    results = storage.map_in_threads(read, users, is_slow=storage.is_remote)
    if len(users) >= MANY_FILES:
        results = iter(progress(results, total=len(users), unit="files", label="reading primers"))
    for result in results:
        yield from result


def _of_file(path: str, users: Sequence[tuple[int, Seed]], reading: Reading) -> list[SeedNotes]:
    data = reading.load(path)
    if isinstance(data, str):
        return [(index, data) for index, _ in users]
    files = {track: reading.parse(path, data, track) for track in {seed.track: None for _, seed in users}}
    digest = hashlib.sha256(data).hexdigest()
    return [(index, _cut(files[seed.track], seed, digest)) for index, seed in users]


def _cut(file: PrimerFile | str, seed: Seed, digest: str) -> PrimerNotes | str:
    if isinstance(file, str):
        return file
    notes = file.notes
    rows = _rows(notes.start, notes.seconds_per_tick, seed, "file" if seed.track is None else "track")
    if isinstance(rows, str):
        return rows
    columns = {name: getattr(notes, name)[rows] for name in COLUMN_DTYPES}
    path = str(seed.midi).encode("utf-8", "backslashreplace").decode()
    track = {} if seed.track is None else {"track": seed.track}
    origin: Origin = {"midi": path, "sha256": digest, **track, **_span(rows)}
    signatures = notes.take(rows).from_first_onset().signatures
    return PrimerNotes(columns, notes.tempo, origin, signatures, file.salvaged, file.remark)


def _span(rows: slice) -> dict[str, int]:
    return {"from_note": rows.start, "num_notes": rows.stop - rows.start}


def from_dataset(seeds: Sequence[Seed], dataset: str | None, time_base: str) -> tuple[list[SeedNotes], list[Problem]]:
    """For each seed with a `piece_id`, its notes or what is wrong; then the problems that concern all of them."""
    users = [(index, seed) for index, seed in enumerate(seeds) if seed.piece_id is not None]
    if not users:
        return [], []
    first = users[0][1].line
    if dataset is None:
        return [], [
            (first, f"piece_id names a piece of a dataset, want --seed-data; seeds that have one: {len(users):,}")
        ]
    try:
        pieces = dataset_pieces.load(dataset, {seed.piece_id for _, seed in users if seed.piece_id is not None})
    except UserError as error:
        return [], [(0, f"--seed-data: {problem}") for problem in error.problems]
    if pieces.time_base != time_base:
        text = f"--seed-data {dataset!r} is on a grid of {pieces.time_base}, the bundle on one of {time_base}"
        return [], [(0, f"{text}; want a dataset like the one it was trained on")]
    return [(index, _of_piece(pieces, seed)) for index, seed in users], []


def _of_piece(pieces: dataset_pieces.Pieces, seed: Seed) -> PrimerNotes | str:
    row = pieces.rows.get(seed.piece_id or "")
    if row is None:
        return f"piece_id {seed.piece_id!r} is not in the dataset"
    begin, stop, tempo = int(pieces.offsets[row]), int(pieces.offsets[row + 1]), float(pieces.tempos[row])
    rows = _rows(pieces.columns["start"][begin:stop], seconds_per_tick(pieces.time_base, tempo), seed, "piece")
    if isinstance(rows, str):
        return rows
    chosen = slice(begin + rows.start, begin + rows.stop)
    origin: Origin = {
        "piece_id": str(seed.piece_id),
        "source": pieces.sources[row],
        **_span(rows),
        "dataset": pieces.dataset,
    }
    columns = {name: column[chosen] for name, column in pieces.columns.items()}
    quarter = ticks_per_quarter(pieces.time_base, tempo)
    signatures = pieces.signatures[row].counted_from(int(columns["start"][0]), quarter)
    return PrimerNotes(columns, tempo, origin, signatures)


def _rows(start: np.ndarray, tick_seconds: float, seed: Seed, what: str) -> slice | str:
    """The notes that the seed asks for, or why there are none. `start` ascends; `what` names their source."""
    size = len(start)
    if seed.from_seconds is None and seed.to_seconds is None:
        if seed.from_note >= size:
            return f"from_note is {seed.from_note}, but the {what} has {size} notes, counted from 0"
        stop = size if seed.num_notes is None else seed.from_note + seed.num_notes
        if stop > size:
            return f"num_notes is {seed.num_notes}, but the {what} has {size} notes, from_note is {seed.from_note}"
        return slice(seed.from_note, stop)
    seconds = start * tick_seconds
    low = 0.0 if seed.from_seconds is None else seed.from_seconds
    high = np.inf if seed.to_seconds is None else seed.to_seconds
    begin, stop = (int(row) for row in np.searchsorted(seconds, [low, high]))
    if begin == stop:
        span = f"{seconds[0]:.3f} to {seconds[-1]:.3f}"
        return f"no note starts from {low:g} to {high:g} seconds; the {what} has notes from {span}"
    return slice(begin, stop)
