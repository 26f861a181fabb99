"""What the notes of a piece say about it, as labels (`--label-attributes`)."""

from __future__ import annotations

import numpy as np

from beam_pipelines.encoding.piece_measures import MOST_POSITIONS, count_positions, polyphony
from beam_pipelines.settings.labels import ATTRIBUTES
from midi_codec.music import key_estimate
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import DRUM_PROGRAM

KEY, DENSITY, POLYPHONY, INSTRUMENTS, TIMING = ATTRIBUTES
EXPRESSIVE, QUANTISED = "expressive", "quantised"
DENSITIES = ("0-1", "1-2", "2-4", "4-8", "8-16", "16+")  # notes per second; a bound belongs to the higher range
POLYPHONIES = ("1", "2", "3-4", "5-8", "9-16", "17+")  # the most notes at once
_FAMILY = 8  # programs
_MELODIC = ("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe")
_FAMILIES = (*_MELODIC, "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects", "drums")


def of_batch(batch: NoteBatch, names: tuple[str, ...]) -> list[dict[str, str]]:
    """These attributes of each piece; none may be empty. A piece whose key cannot be told has none."""
    values = {name: _OF_NAME[name](batch) for name in names}
    return [{name: column[row] for name, column in values.items() if column[row]} for row in range(len(batch))]


def _keys(batch: NoteBatch) -> list[str]:
    found = (key_estimate.estimate(batch.piece(row)) for row in range(len(batch)))
    return ["" if key is None else str(key) for key in found]


def _densities(batch: NoteBatch) -> list[str]:
    per_second = batch.lengths / np.maximum(batch.seconds(), 1e-3)
    ranges = np.searchsorted(2.0 ** np.arange(len(DENSITIES) - 1), per_second, side="right")
    return [DENSITIES[index] for index in ranges.tolist()]


def _polyphonies(batch: NoteBatch) -> list[str]:
    ranges = np.searchsorted(2 ** np.arange(len(POLYPHONIES) - 1), polyphony(batch), side="left")
    return [POLYPHONIES[index] for index in ranges.tolist()]


def _instruments(batch: NoteBatch) -> list[str]:
    families = np.where(batch.program == DRUM_PROGRAM, len(_FAMILIES) - 1, batch.program // _FAMILY)
    pieces = np.split(families, batch.offsets[1:-1])
    return ["+".join(_FAMILIES[family] for family in np.unique(piece)) for piece in pieces]


def _timings(batch: NoteBatch) -> list[str]:
    """Whether notes begin at few positions of the beat, by the tempo at the start."""
    return [QUANTISED if few else EXPRESSIVE for few in (count_positions(batch) <= MOST_POSITIONS).tolist()]


_OF_NAME = dict(zip(ATTRIBUTES, (_keys, _densities, _polyphonies, _instruments, _timings), strict=True))
