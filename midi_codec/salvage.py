"""Reading files that strict reading refuses: a ladder of rungs, each with a fixed name.

    strict -> clamped -> unwrapped -> repaired -> refused, for the reason that strict reading gave
"""

from __future__ import annotations

import dataclasses

from midi_codec.midi_header import Limits, MidiError
from midi_codec.midi_ticks import TickNotes

CLAMPED, UNWRAPPED, REPAIRED = "clamped", "unwrapped", "repaired"
RUNGS = (CLAMPED, UNWRAPPED, REPAIRED)


@dataclasses.dataclass(frozen=True)
class Recovered:
    """Notes of a file that strict reading refuses, and the rung that gave them."""

    ticks: TickNotes
    division: int  # ticks a quarter note
    rung: str  # one of RUNGS


def recover(data: bytes, *, limits: Limits, apply_sustain: bool = False) -> Recovered:
    """Reads what can be read.

    Raises:
      MidiError: nothing can; the reason is the strict reader's.
    """
    raise MidiError("malformed", "not salvaged yet")
