"""What copying may copy. Plain data: importing this imports no TensorFlow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from midi_codec import fields as fields_lib

ORDERS = (1, 2, 4, 8, 16)  # notes that match; each twice the one before
MATCHERS = ("exact", "transposed", "pitches")
LAST_NOTES = 2
NUM_PULSES = 4
HISTORY = 16  # notes whose matches, or repeats, a past knows
BEYOND = HISTORY + 1  # notes before the farthest one that can be copied from: `HISTORY`, and one for an interval


class Sources(NamedTuple):
    """What a model copies from.

    Attributes:
      size: how many notes it sees.
      has_matches: whether what followed similar moments is copied (`trainer.model.attention.matches`).
      lags: in ticks; what sounded that long ago is copied too (`trainer.model.attention.echoes`).
      chord: in ticks; above 0, steps count as equal in a match if both are at most this long, or neither is.
    """

    size: int
    has_matches: bool = True
    lags: tuple[int, ...] = ()
    chord: int = 0

    @property
    def num_matches(self) -> int:
        """How many candidates are matches."""
        return len(MATCHERS) * len(ORDERS) if self.has_matches else 0

    @property
    def num_earlier(self) -> int:
        """How many candidates are known before the note's pitch: matches, the last notes, echoes, pulses."""
        return self.num_matches + LAST_NOTES + len(self.lags) + (NUM_PULSES if self.chord else 0)

    @property
    def num_candidates(self) -> int:
        """How many a head chooses from; the last one is the last note of the same pitch."""
        return self.num_earlier + 1

    @property
    def memory(self) -> int:
        """How many notes a past holds."""
        return self.size + BEYOND

    def chord_bin(self, table: fields_lib.FieldTable) -> int:
        """The last bin of steps within a chord."""
        return int(table["step"].encode(np.array([self.chord]))[0])
