import random

import pytest

from job_runtime.storage import sorted_runs
from job_runtime.storage.sorted_runs import sort_strings


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 1234])
def test_strings_are_sorted_over_runs(monkeypatch, length):
    monkeypatch.setattr(sorted_runs, "RUN_LENGTH", 100)
    monkeypatch.setattr(sorted_runs, "_BLOCK", 7)
    rng = random.Random(length)
    strings = ["".join(rng.choices("ab/\n\udcff\u00fc\U0001f3b5", k=rng.randrange(6))) for _ in range(length)]
    assert list(sort_strings(iter(strings))) == sorted(strings)
