"""The notes of a symusic track as rows of bytes.

`NoteTickList.numpy` makes four arrays a track, and they have to be put together again for a file. What symusic
pickles of a list is its memory as it stands, behind a count, in a third of the time. That form is not
promised, so it is looked at once; where it is another one, the rows are made of symusic's arrays.
"""

from __future__ import annotations

import numpy as np
from symusic.core import NoteTickList

ROW = np.dtype(
    {
        "names": ["time", "duration", "pitch", "velocity"],
        "formats": ["<i4", "<i4", "i1", "i1"],
        "offsets": [0, 4, 8, 9],
        "itemsize": 12,
    }
)
COUNT_BYTES = 4


def _from_pickle(notes: NoteTickList) -> bytes | memoryview:
    return memoryview(notes.__getstate__())[COUNT_BYTES:]


def _from_arrays(notes: NoteTickList) -> bytes:
    columns = notes.numpy()
    rows = np.zeros(len(columns["time"]), ROW)
    for name in ROW.names or ():
        rows[name] = columns[name]
    return rows.tobytes()


def _is_known_form() -> bool:
    """Whether a pickled list is its rows behind a count; 300 notes, so that a count in one byte shows."""
    number = np.arange(300, dtype=np.int32)
    times, durations = number * 7_000_003, number * 6_000_007 + 1
    keys, velocities = (number % 128).astype(np.int8), (number % 127 + 1).astype(np.int8)
    notes = NoteTickList.from_numpy(times, durations, keys, velocities)
    state = notes.__getstate__()
    if state[:COUNT_BYTES] != len(number).to_bytes(COUNT_BYTES, "little"):
        return False
    if len(state) != COUNT_BYTES + len(number) * ROW.itemsize:
        return False
    taken, want = (np.frombuffer(take(notes), ROW) for take in (_from_pickle, _from_arrays))
    return all(np.array_equal(taken[name], want[name]) for name in ROW.names or ())


IS_KNOWN_FORM = _is_known_form()
take_rows = _from_pickle if IS_KNOWN_FORM else _from_arrays  # `len(notes) * ROW.itemsize` bytes
