"""What the last line of a benchmark says, from cases whose seconds are known."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness import rounds
from benchmarks.harness.rounds import Case, Rate
from benchmarks.speed.gemm import shares_of_limit


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(rounds, "PAUSE_SECONDS", 0)


def scripted(name: str, seconds: list[float], log: list[str]) -> Case:
    left = iter(seconds)

    def run() -> float:
        log.append(name)
        return next(left)

    return Case(name, run, 10.0, "notes")


def rate(median: float) -> Rate:
    return Rate(median, median, median, 0.0)


def test_measure_takes_turns_and_keeps_the_cold_run_apart():
    log: list[str] = []
    cases = [scripted("a", [9.0, 1.0, 4.0, 2.0], log), scripted("b", [8.0, 5.0, 5.0, 5.0], log)]
    rates = rounds.measure(cases, num_rounds=3)
    assert "".join(log) == "ab" + "ab" + "ba" + "ab"
    assert rates["a"] == Rate(median=5.0, lowest=2.5, highest=10.0, cold_seconds=9.0)
    assert rates["b"] == Rate(median=2.0, lowest=2.0, highest=2.0, cold_seconds=8.0)


def test_ratios_leave_out_what_was_not_measured():
    rates = {"ours@b64": rate(6.0), "peer@b64": rate(4.0), "ours": rate(8.0), "loop": rate(2.0)}
    pairs = [("ours@b64", "peer@b64"), ("ours", "loop"), ("ours", "absent")]
    assert rounds.ratios(rates, pairs) == {"ours/peer@b64": 1.5, "ours/loop": 4.0}


def test_share_of_limit_is_of_the_best_product_in_that_precision():
    rates = {
        "ours": rate(3.0),
        "gemm_a_float32": rate(10.0),
        "gemm_b_float32": rate(60.0),
        "gemm_b_bfloat16": rate(100.0),
    }
    assert shares_of_limit(rates, {"ours": 10.0, "absent": 1.0}, "float32") == {"ours": 0.5}


def test_report_ends_in_one_json_line(capsys):
    rates = {"ours": rate(123456.789), "peer": rate(2.0)}
    rounds.print_report("x", rates, pairs=[("ours", "peer")], of_limit={"ours": 0.12345}, machine={"cores": 2})
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "benchmark": "x",
        "rates": {"ours": 123460.0, "peer": 2.0},
        "ranges": {"ours": [123460.0, 123460.0], "peer": [2.0, 2.0]},
        "cold_seconds": {"ours": 0.0, "peer": 0.0},
        "ratios": {"ours/peer": 61728.395},
        "of_limit": {"ours": 0.123},
        "machine": {"cores": 2},
    }
