"""Piano rolls of Boulanger-Lewandowski et al. 2012 as arrays, and as a dataset that the trainer reads.

A file holds, for each split S of `train`, `valid` and perhaps `test`, two arrays:

    S          [frames, 11] uint8, packed bits: `numpy.unpackbits(x, axis=1)` is [frames, 88], column 0 is MIDI key 21;
               all sequences one after the other
    S_lengths  [sequences] int64, frames of each

A frame becomes its notes in ascending order. A tick is a frame, and every note lasts one tick, because a roll does not
distinguish a held note from one that is struck again. Velocity and program are the same for all notes. Notes start at
the first onset; empty frames before it and after the last onset are counted separately.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beam_pipelines.encoding.value_counts import ValueCounts
from job_runtime import storage
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo, SplitInfo
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, Notes

KEYS, LOWEST_KEY = 88, 21
VELOCITY = 64
TEMPO = 10.0  # quarter notes of 24 ticks per minute: a frame lasts a quarter of a second
PARTS = ("train", "valid", "test")  # of a file, in the order of `SPLITS`
SOURCE = (
    "want a roll file of one of the sets of Boulanger-Lewandowski, Bengio and Vincent 2012 (JSB Chorales, Nottingham,"
    " MuseData, Piano-midi.de; the authors offer them with their paper, arXiv:1206.6392), as docs/quality.md describes"
)


@dataclasses.dataclass(frozen=True)
class RollPiece:
    """A sequence as notes.

    Attributes:
      notes: from the first onset on; empty for a roll without notes.
      leading: frames before the first onset; all frames of a roll without notes.
      trailing: frames after the last onset's.
    """

    notes: Notes
    leading: int
    trailing: int

    @property
    def num_frames(self) -> int:
        return self.leading + (int(self.notes.start[-1]) + 1 if len(self.notes) else 0) + self.trailing


def load(path: str) -> dict[str, list[np.ndarray]]:
    """The sequences of each part of a file, `[frames, 88]` bool each.

    Raises:
      UserError: the file is missing or has another format; names everything that is wrong.
    """
    try:
        arrays = array_file.read(path)
    except FileNotFoundError as error:
        raise UserError(f"--data: there is no file {path}; {SOURCE}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"--data: {path} is not readable as an .npz file ({error}); {SOURCE}") from error
    parts = [part for part in PARTS if part in arrays]
    problems = [problem for part in parts for problem in _problems(part, arrays)]
    if not parts:
        problems.append(f"holds {', '.join(sorted(arrays)) or 'nothing'}, want {', '.join(PARTS)}")
    if problems:
        raise UserError([f"--data: {path}: {problem}; {SOURCE}" for problem in problems])
    return {part: _cut(arrays[part], arrays[f"{part}_lengths"]) for part in parts}


def _problems(part: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    packed, lengths = arrays[part], arrays.get(f"{part}_lengths")
    if lengths is None:
        return [f"{part}_lengths is missing"]
    problems = []
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != KEYS // 8:
        problems.append(f"{part} is {packed.dtype} of shape {packed.shape}, want uint8 [frames, {KEYS // 8}]")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        problems.append(f"{part}_lengths is {lengths.dtype} of shape {lengths.shape}, want whole numbers above 0")
    elif packed.ndim and lengths.sum() != len(packed):
        problems.append(f"{part}_lengths add up to {lengths.sum()}, but {part} has {len(packed)} frames")
    return problems


def _cut(packed: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(np.unpackbits(packed, axis=1).astype(bool), np.cumsum(lengths)[:-1])


def part_of(rolls: Mapping[str, list[np.ndarray]], part: str, path: str) -> list[np.ndarray]:
    """The sequences of a part; raises UserError if the file lacks it."""
    if part not in rolls:
        raise UserError(f"--data: {path} has no part {part}, only {', '.join(rolls)}")
    return rolls[part]


def to_piece(roll: np.ndarray) -> RollPiece:
    """The notes of a roll `[frames, 88]`, and the frames around them."""
    frame, key = np.nonzero(roll)  # by frame, then by key, which is the order of `Notes`
    leading = int(frame[0]) if len(frame) else len(roll)
    trailing = len(roll) - 1 - int(frame[-1]) if len(frame) else 0
    ones = np.ones(len(frame), np.int64)
    notes = Notes.from_columns(
        pitch=key + LOWEST_KEY,
        velocity=VELOCITY * ones,
        start=frame - leading,
        duration=ones,
        program=0 * ones,
        tempo=TEMPO,
        time_base=BEATS,
    )
    return RollPiece(notes, leading, trailing)


def count_rests(pieces: Sequence[RollPiece]) -> dict[str, list[int]]:
    """For `leading` and `trailing`: [sequences, sequences with empty frames there, empty frames]."""
    return {
        name: [len(pieces), sum(getattr(p, name) > 0 for p in pieces), sum(getattr(p, name) for p in pieces)]
        for name in ("leading", "trailing")
    }


def write_dataset(folder: str, rolls: Mapping[str, list[np.ndarray]]) -> DatasetInfo:
    """Writes the dataset of a file's `train` and `valid` parts, one shard each, unless it exists.

    `train` becomes the split `train`, `valid` becomes `validation`; `test` is left out. Equal rolls give equal bytes.
    `settings` of `dataset_info.json` holds a hash of the rolls, and the training part's `count_rests`.

    Raises:
      UserError: the folder holds a dataset of other rolls, or the file lacks a part.
    """
    digest = hashlib.sha256()
    for part in PARTS[:2]:
        for roll in part_of(rolls, part, "the file"):
            digest.update(len(roll).to_bytes(8, "little") + np.packbits(roll, axis=1).tobytes())
    rolls_hash = digest.hexdigest()[:32]
    if storage.exists(storage.join(folder, dataset_info.FILE_NAME)):
        existing = dataset_info.load(folder)
        if existing.settings.get("rolls") != rolls_hash:
            raise UserError(f"{folder} holds the dataset of other rolls; want another --output")
        return existing
    pieces = {part: [to_piece(roll) for roll in rolls[part]] for part in PARTS[:2]}
    notes = {
        split: [piece.notes for piece in pieces.get(part, []) if len(piece.notes)]
        for split, part in zip(SPLITS, PARTS, strict=True)
    }
    settings = {"rolls": rolls_hash, "rests": count_rests(pieces["train"])}
    return _write(folder, notes, settings)


def _write(folder: str, notes: Mapping[str, Sequence[Notes]], settings: Mapping[str, Any]) -> DatasetInfo:
    value_counts, splits = ValueCounts(), {}
    for split_index, split in enumerate(SPLITS):
        mine = notes[split]
        value_counts.add(NoteBatch.from_notes(mine, BEATS), np.full(len(mine), split_index, np.uint8))
        examples = [
            records.serialize_columns(piece_id=n.piece_id, group_id=n.piece_id, source=f"{split}/{index:05d}", notes=n)
            for index, n in enumerate(mine)
        ]
        if examples:
            storage.write_bytes(
                storage.join(folder, dataset_info.shard_name(split, 0, 1)), records.write_records(examples)
            )
        splits[split] = SplitInfo(
            num_pieces=len(mine),
            num_notes=sum(map(len, mine)),
            seconds=round(sum(n.seconds for n in mine), 3),
            shard_lengths=(len(mine),) if examples else (),
        )
    info = DatasetInfo.of_examples(
        time_base=BEATS,
        programs=(0,),
        splits=splits,
        groups=_count_groups(notes),
        histograms=value_counts.histograms(),
        settings=settings,
    )
    dataset_info.save(folder, info)
    return info


def _count_groups(notes: Mapping[str, Sequence[Notes]]) -> dict[str, int]:
    """Groups of equal pieces. The sets contain some tunes twice; all stay, as in the published figures."""
    sizes = {split: Counter(n.piece_id for n in mine) for split, mine in notes.items()}
    totals = sum(sizes.values(), Counter[str]())
    tied = {name: number for name, number in totals.items() if number > 1}
    return {
        "groups": len(tied),
        "pieces": sum(tied.values()),
        "largest": max(tied.values(), default=0),
        "in_several_splits": sum(sum(name in counts for counts in sizes.values()) > 1 for name in tied),
    }
