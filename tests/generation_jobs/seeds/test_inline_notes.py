"""Notes of many seeds, checked together, are what they are one by one."""

from __future__ import annotations

import numpy as np
import pytest

from generation_jobs.seeds import inline_notes

GOOD = {"pitch": [60, 64], "velocity": [80, 90], "start_beats": [0, 1.5], "duration_beats": [1, 0.5]}
OTHERS = [
    {"pitch": [62], "velocity": [1], "start_beats": [0.25], "duration_beats": [2]},
    {**GOOD, "program": [0, 128]},
    {"pitch": [62], "velocity": [1], "start_seconds": [0.25], "duration_seconds": [2]},
    [{"pitch": 50, "velocity": 3, "start_beats": 0, "duration_beats": 1}],
]
BAD = [
    ({**GOOD, "pitch": [60, 128]}, "notes.pitch[1] is 128, want a whole number, 0 to 127"),
    ({**GOOD, "pitch": [60, True]}, "notes.pitch[1] is True, want a whole number, 0 to 127"),
    ({**GOOD, "pitch": [60, 10**30]}, "notes.pitch[1] is 1" + "0" * 30 + ", want a whole number, 0 to 127"),
    ({**GOOD, "start_beats": [0, -1]}, "notes.start_beats[1] is -1, want a number, 0 to 100000"),
    ({**GOOD, "velocity": [1]}, "columns of different lengths: pitch 2, velocity 1, start_beats 2, duration_beats 2"),
    ({**GOOD, "velocity": 3}, "notes.velocity is 3, want a list"),
    ({**GOOD, "colour": [1, 2]}, "notes has the unknown key 'colour'"),
    (dict.fromkeys(GOOD, []), "notes is empty"),
    ([], "notes is empty"),
    ("C major", "notes is 'C major', want a list of notes or an object of columns"),
]


def as_lists(notes: inline_notes.InlineNotes | None) -> dict[str, object]:
    assert notes is not None
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(notes).items()}


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_one_mistake_among_many_seeds(bad, message):
    values = [GOOD] * 20 + OTHERS + [bad] + [GOOD] * 20 + OTHERS
    parsed = inline_notes.parse_many(values)
    assert [index for index, (notes, _) in enumerate(parsed) if notes is None] == [24]
    assert len(parsed[24][1]) == 1 and message in parsed[24][1][0]
    for value, (notes, problems) in zip(values, parsed, strict=True):
        if value is not bad:
            assert problems == [] and as_lists(notes) == as_lists(inline_notes.parse(value)[0])
    assert as_lists(parsed[0][0]) == {**dict.fromkeys(("program",)), "unit": "beats"} | {
        name.removesuffix("_beats"): list(values) for name, values in GOOD.items()
    }
