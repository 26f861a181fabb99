"""Nats per frame: from the cost of each decision to the figure of a split, and the calibration row.

For each note a model decides: does the sequence end here? If not, how many frames after the last note does the next one
begin (`step`; 0 within a frame)? Which key is it (`pitch`)? The product of the probabilities of these decisions is the
probability of all frames from the first onset to the last. It is computed in two ways:

    in order    A frame's notes ascend and are among the 88 keys, and the first note has no step. So impossible keys
                (not above the last key, after step 0) get no probability, the others share it, and the first note's
                step costs nothing. This is the likelihood of the rolls, `nats_per_frame`.
    of notes    The note model's probabilities without that knowledge: `nats_per_frame_of_notes`, never smaller.

Duration and velocity, which a roll does not have, are the same for all notes and are not decisions.

Empty frames before the first onset and after the last one are not notes. One probability says whether a sequence begins
with an empty frame, a second whether another follows; likewise at the end. Each is (hits + 1) / (tries + 2), counted in
the training part: `rests`.

An ensemble uses the mean of its members' probabilities for each decision, given the same past.
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
    """Nats per frame of independent keys, each with the training probability (frames with it + 1) / (frames + 2).

    Args:
      train, rolls: `[frames, 88]` bool each.
    """
    sounds = np.concatenate(train)
    probability = (sounds.sum(axis=0) + 1.0) / (len(sounds) + 2.0)
    counted = np.concatenate(rolls)
    share = counted.mean(axis=0)
    return float(-(share * np.log(probability) + (1 - share) * np.log1p(-probability)).sum())


def rest_nats(pieces: Sequence[RollPiece], counts: Mapping[str, Sequence[int]]) -> np.ndarray:
    """`[pieces]`, the cost of the empty frames around each one's notes.

    Args:
      counts: of the training part, by `pianoroll_data.count_rests`.
    """
    total = np.zeros(len(pieces))
    for name in ("leading", "trailing"):
        sequences, resting, frames = counts[name]
        begins = (resting + 1) / (sequences + 2)
        continues = (frames - resting + 1) / (frames + 2)
        rests = np.array([getattr(piece, name) for piece in pieces])
        some = -math.log(begins) - np.maximum(rests - 1, 0) * math.log(continues) - math.log1p(-continues)
        total += np.where(rests > 0, some, -math.log1p(-begins))
    return total


def mean_probabilities(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The decisions of an ensemble: by name, the log of the members' mean probability, `[events]`."""
    names = members[0].keys()
    stacked = {name: np.stack([member[name] for member in members]) for name in names}
    return {name: np.logaddexp.reduce(column, axis=0) - math.log(len(members)) for name, column in stacked.items()}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A split's cost in nats per frame.

    Attributes:
      nats_per_frame: "in order", see the module's docstring.
      nats_per_frame_of_notes: "of notes".
      parts: the terms of `nats_per_frame`: `end`, `step`, `pitch`, `rest`.
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
      pieces: all sequences of the split.
      decisions: `[events]` log probabilities by DECISIONS, 0 if there was nothing to decide.
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
