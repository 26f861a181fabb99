import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.run_output import monitor
from trainer.run_output.monitor import Monitor, Speed


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    return now


def test_speed_counts_what_lies_between_start_and_pause(clock):
    speed = Speed()
    speed.start()
    clock[0] += 1.0
    speed.start()  # has begun already
    speed.add(300, 0.5)
    speed.add(100, 0.5)
    clock[0] += 3.0
    assert speed.pause() == {"notes_per_second": 100.0, "input_wait_share": 0.25}
    clock[0] += 50.0  # a validation
    speed.start()
    speed.add(30, 0.0)
    clock[0] += 2.0
    assert speed.pause() == {"notes_per_second": 15.0, "input_wait_share": 0.0}


def test_speed_that_has_not_begun(clock):
    assert Speed().pause() == {"notes_per_second": 0.0, "input_wait_share": 0.0}


def tags(folder) -> dict[str, list[int]]:
    """The steps of every tag in TensorBoard's files."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("tensorboard/events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


def test_what_the_chief_writes(tmp_path):
    chief = Monitor(str(tmp_path), is_chief=True)
    for step in range(1, 41):
        chief.step(step, loss=1.0)
    lines = [{"step": 3, "validation_nll": 2.0}, {"step": 7, "validation_nll": 1.5, "note": "x", "odd": float("nan")}]
    chief.validation(lines, [keras.Variable(np.zeros(4, np.float32), name="kernel")])
    chief.close()
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(json.dumps(line) + "\n" for line in lines)
    assert tags(tmp_path) == {"train/loss": [20, 40], "validation_nll": [7], "weights/kernel": [7]}


def test_other_workers_write_nothing(tmp_path):
    other = Monitor(str(tmp_path), is_chief=False)
    other.step(20, loss=1.0)
    other.validation([{"step": 3}], [])
    other.close()
    assert list(tmp_path.iterdir()) == []
