"""Nats a frame: from what each decision costs to the figure of a split, and the calibration row.

A model decides, note after note: does the sequence end here? if not, how many frames later than the last note does
the next one begin (`step`; 0 within a frame)? and which key is it (`pitch`)? The chances of what happened, multiplied,
are the chance of all frames from the first onset to the last one. Two ways to count:

    in order    a frame's notes ascend and are keys of the 88, and a first note is no step from anything. So the
                keys that cannot come (not above the last key, after step 0) get no chance, the others share it, and
                the first note's step costs nothing. This is the likelihood of the rolls: `nats_per_frame`
    of notes    what the note model gives, without that knowledge: `nats_per_frame_of_notes`, never smaller

The fields that a roll does not have, duration and velocity, are the same for all notes and decide nothing.

Empty frames before the first onset and after the last one are no notes. A sequence begins with an empty frame by one
chance, and each of those is followed by another one by a second chance; likewise at the end. Each chance is (hits + 1)
/ (tries + 2), counted in the training part: `rests`.

An ensemble decides by the mean of its members' probabilities, decision by decision, all of them given the same past.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.quality.pianoroll.pianoroll_data import RollPiece

DECISIONS = ("end", "step", "pitch", "step_in_order", "pitch_in_order")


def independent_pitches(train: Sequence[np.ndarray], rolls: Sequence[np.ndarray]) -> float:
    """Nats a frame where every key sounds by itself, with the chance (frames with it + 1) / (frames + 2) of training.

    Args:
      train, rolls: `[frames, 88]` bool each.
    """
    sounds = np.concatenate(train)
    chance = (sounds.sum(axis=0) + 1.0) / (len(sounds) + 2.0)
    counted = np.concatenate(rolls)
    share = counted.mean(axis=0)
    return float(-(share * np.log(chance) + (1 - share) * np.log1p(-chance)).sum())


def rest_nats(pieces: Sequence[RollPiece], counts: Mapping[str, Sequence[int]]) -> np.ndarray:
    """`[pieces]`, what the empty frames around the notes of each cost.

    Args:
      counts: of the training part, by `pianoroll_data.count_rests`.
    """
    total = np.zeros(len(pieces))
    for name in ("leading", "trailing"):
        sequences, resting, frames = counts[name]
        begins = (resting + 1) / (sequences + 2)
        goes_on = (frames - resting + 1) / (frames + 2)
        rests = np.array([getattr(piece, name) for piece in pieces])
        some = -math.log(begins) - np.maximum(rests - 1, 0) * math.log(goes_on) - math.log1p(-goes_on)
        total += np.where(rests > 0, some, -math.log1p(-begins))
    return total


def mean_of_chances(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The decisions of an ensemble: by name, log of the mean of the members' probabilities, `[events]`."""
    names = members[0].keys()
    stacked = {name: np.stack([member[name] for member in members]) for name in names}
    return {name: np.logaddexp.reduce(column, axis=0) - math.log(len(members)) for name, column in stacked.items()}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A split's cost in nats a frame.

    Attributes:
      nats_per_frame: in order, as the module's docstring says.
      nats_per_frame_of_notes: without that.
      parts: what `nats_per_frame` is made of: `end`, `step`, `pitch`, `rest`.
    """

    nats_per_frame: float
    nats_per_frame_of_notes: float
    frames: int
    sequences: int
    notes: int
    parts: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def figure(
    pieces: Sequence[RollPiece], decisions: Mapping[str, np.ndarray], counts: Mapping[str, Sequence[int]]
) -> Figure:
    """The figure of a split.

    Args:
      pieces: all of it.
      decisions: `[events]` log probabilities by DECISIONS, 0 where there was nothing to decide.
      counts: as for `rest_nats`.
    """
    frames = sum(piece.num_frames for piece in pieces)
    nats = {name: -float(decisions[name].sum()) / frames for name in DECISIONS}
    parts = {"end": nats["end"], "step": nats["step_in_order"], "pitch": nats["pitch_in_order"]}
    parts["rest"] = float(rest_nats(pieces, counts).sum()) / frames
    return Figure(
        nats_per_frame=sum(parts.values()),
        nats_per_frame_of_notes=nats["end"] + nats["step"] + nats["pitch"] + parts["rest"],
        frames=frames,
        sequences=len(pieces),
        notes=sum(len(piece.notes) for piece in pieces),
        parts=parts,
    )
