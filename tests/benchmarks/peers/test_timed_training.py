from __future__ import annotations

import json

import pytest

from benchmarks.peers.timed_training import Curve, cpu_clock

SETUP = {"seconds": 10.0, "validations": 2}


def test_a_validation_is_due_at_each_of_equal_distances(tmp_path):
    curve = Curve(tmp_path / "run", SETUP)
    curve.advance(4.0, 100)
    assert not curve.is_due and curve.share == 0.4
    curve.advance(1.5, 50)
    assert curve.is_due
    curve.add({"step": 1.0, "pitch": 2.5}, steps=2)
    assert not curve.is_due and not curve.is_done
    curve.advance(4.5, 10)
    assert curve.is_due
    curve.add({"step": 1.0, "pitch": 2.0}, steps=3)
    assert curve.is_done
    assert curve.points == [
        {"seconds": 5.5, "steps": 2, "events": 150, "nll": 3.5, "by_field": {"step": 1.0, "pitch": 2.5}},
        {"seconds": 10.0, "steps": 3, "events": 160, "nll": 3.0, "by_field": {"step": 1.0, "pitch": 2.0}},
    ]


def test_a_run_goes_on_from_its_last_validation(tmp_path):
    curve = Curve(tmp_path, SETUP)
    curve.about["parameters"] = 3
    curve.advance(5.0, 100)
    curve.add({"step": 1.0}, steps=7)
    curve.advance(2.0, 100)  # lost: no checkpoint knows of it
    again = Curve(tmp_path, SETUP)
    assert again.points == curve.points and again.about == {"parameters": 3}
    assert again.share == 0.5 and not again.is_due
    assert [path.name for path in tmp_path.iterdir()] == ["curve.json"]
    assert json.loads((tmp_path / "curve.json").read_text())["points"][0]["steps"] == 7


def test_the_clock_counts_work_over_the_cores(monkeypatch):
    monkeypatch.setattr("time.process_time", lambda: 8.0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    assert cpu_clock() == pytest.approx(4.0)
