"""Where in a piece an excerpt may begin: at its first note, then after the longest waits, where phrases begin.

The wait before an onset is the time since the onset before it. Music rests and holds its last notes between phrases,
so a phrase begins after a longer wait than the notes within it. This needs no bar lines, and works on either grid.
"""

from __future__ import annotations

import numpy as np


def places(start: np.ndarray, num_notes: int) -> list[int]:
    """The first notes of excerpts that do not overlap: the piece's own, then those after the longest waits.

    An excerpt begins with the first note of an onset; of equal waits the earlier comes first.

    Args:
      start: `[n]`, ascending.
      num_notes: of each excerpt.
    """
    last = len(start) - num_notes
    if last < 0:
        return []
    waits = np.diff(start)
    firsts = np.flatnonzero(waits[:last]) + 1
    firsts = firsts[np.argsort(-waits[firsts - 1].astype(np.int64), kind="stable")]
    is_taken = np.zeros(len(start), bool)
    chosen = []
    for first in (0, *firsts.tolist()):
        if not is_taken[first]:
            chosen.append(first)
            is_taken[max(first - num_notes + 1, 0) : first + num_notes] = True
    return chosen
