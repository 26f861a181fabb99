"""How the pieces that primers were taken from really continue, where the dataset holds them.

A primer is found by its notes: their pitches, velocities, programs and steps in a row, anywhere in a piece. So no seed
list is needed, and excerpts are found as well as openings. The first match counts, validation pieces first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from generation_jobs.output.generated_music import GeneratedPiece
from midi_codec.dataset import split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import Notes

MIN_NOTES = 4  # of a primer; fewer notes are in many pieces
MAX_NOTES_SEARCHED = 10_000_000
SPLITS = ("validation", "test", "train")  # in which order they are searched; openings are of validation pieces
_FACTORS = np.array([1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, so that no bit is lost


@dataclasses.dataclass(frozen=True, eq=False)
class Original:
    """A seed's piece, from the primer's first note on, as long as the longest sample of the seed."""

    seed_id: str
    source: str
    split: str
    at_note: int  # of the piece; 0: the primer is its opening
    num_given: int
    notes: Notes


def find(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo) -> dict[str, Original]:
    """The originals by seed id; seeds without a primer, or with another one per sample, have none.

    Raises:
      UserError: a shard cannot be read.
    """
    longest: dict[str, int] = {}
    primers: dict[str, Notes] = {}
    for piece in pieces:
        seed_id = piece.line["seed_id"]
        longest[seed_id] = max(longest.get(seed_id, 0), len(piece.notes))
        if piece.num_given >= MIN_NOTES:
            primers.setdefault(seed_id, piece.notes.take(slice(piece.num_given)))
    found: dict[str, Original] = {}
    search = _Search(primers)
    for split, whole in _corpus(data, info) if primers else ():
        for seed_id, at in search.matches(whole.notes):
            if seed_id not in found:
                notes = whole.notes.take(slice(at, at + longest[seed_id])).from_first_onset()
                found[seed_id] = Original(seed_id, whole.source, split, at, len(primers[seed_id]), notes)
        if len(found) == len(primers):
            break
    return found


def _corpus(data: str, info: DatasetInfo) -> Iterator[tuple[str, Piece]]:
    num_notes = 0
    for split in SPLITS:
        for piece in split_reader.read_split(data, info, split):
            yield split, piece
            num_notes += len(piece.notes)
            if num_notes > MAX_NOTES_SEARCHED:
                return


class _Search:
    """Looks for all primers in a piece at once: by a hash of each primer's second to fourth note, then note by note."""

    def __init__(self, primers: dict[str, Notes]) -> None:
        self._keys = {seed_id: _keys(notes) for seed_id, notes in primers.items()}
        hashes = [int(_hashes(keys[1:MIN_NOTES])[0]) for keys in self._keys.values()]
        self._wanted = np.unique(np.array(hashes, np.uint64))
        self._seeds: dict[int, list[str]] = {}
        for seed_id, value in zip(self._keys, hashes, strict=True):
            self._seeds.setdefault(value, []).append(seed_id)

    def matches(self, notes: Notes) -> Iterator[tuple[str, int]]:
        """Seed id and index of the first note, for each place where a primer begins."""
        if len(notes) < MIN_NOTES:
            return
        keys = _keys(notes)
        hashes = _hashes(keys[1:])
        for at in np.flatnonzero(np.isin(hashes, self._wanted)).tolist():
            for seed_id in self._seeds[int(hashes[at])]:
                primer = self._keys[seed_id]
                here = keys[at : at + len(primer)]
                # The step before the primer's first note is not the primer's.
                if len(here) == len(primer) and (here[1:] == primer[1:]).all() and _struck(here, primer):
                    yield seed_id, at


def _keys(notes: Notes) -> np.ndarray:
    """`[n]` uint64: step, pitch, velocity and program of each note in one number."""
    columns = (notes.step, notes.pitch, notes.velocity, notes.program)
    return np.bitwise_or.reduce(
        [column.astype(np.uint64) << np.uint64(shift) for column, shift in zip(columns, (32, 16, 8, 0), strict=True)]
    )


def _hashes(keys: np.ndarray) -> np.ndarray:
    """Of each three keys in a row."""
    windows = np.lib.stride_tricks.sliding_window_view(keys, len(_FACTORS))
    mixed = (windows ^ (windows >> np.uint64(23))) * _FACTORS
    return np.bitwise_xor.reduce(mixed, axis=1)


def _struck(here: np.ndarray, primer: np.ndarray) -> bool:
    low = np.uint64(0xFFFFFFFF)
    return bool(here[0] & low == primer[0] & low)
