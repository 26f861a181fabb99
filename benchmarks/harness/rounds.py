"""Runs cases in turn, so that a noisy minute affects all of them, and reports medians.

Every case runs once cold. Then every case runs once per round, and each round begins with another case.
The last line of a benchmark is JSON:

    benchmark, rates (per second), ranges (lowest and highest of the rounds), cold_seconds, ratios, of_limit, machine
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

PAUSE_SECONDS = 0.25  # between cases, because idle threads of the previous one spin for a while


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that is timed.

    Attributes:
      name: its key in the last line.
      run: runs it once and returns the seconds.
      amount: how many of `unit` a run makes.
      unit: for the printed text.
    """

    name: str
    run: Callable[[], float]
    amount: float
    unit: str

    def of_peer(self, name: str, seconds: Callable[[str], float]) -> Case:
        """The same amount of the same unit, run by a peer's case of this name."""
        return Case(name, lambda: seconds(name), self.amount, self.unit)


@dataclasses.dataclass(frozen=True)
class Rate:
    """The rate of one case, per second."""

    median: float
    lowest: float
    highest: float
    cold_seconds: float


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """Makes a case's `run` of a function that returns when its work is done."""

    def run() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return run


def measure(cases: Sequence[Case], *, num_rounds: int) -> dict[str, Rate]:
    """Runs all cases, and prints one line per case."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > cores / 2:
        print(f"the machine is busy (load {load:.1f} on {cores} cores): ratios to peers mean little")
    cold: dict[str, float] = {}
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for case in cases:
        print(f"warming up {case.name}", flush=True)
        cold[case.name] = case.run()
    for number in range(num_rounds):
        first = number % len(cases)
        for case in [*cases[first:], *cases[:first]]:
            time.sleep(PAUSE_SECONDS)
            seconds[case.name].append(case.run())
        print(f"round {number + 1} of {num_rounds} done", flush=True)
    rates = {}
    for case in cases:
        values = seconds[case.name]
        rates[case.name] = rate = Rate(
            case.amount / statistics.median(values),
            case.amount / max(values),
            case.amount / min(values),
            cold[case.name],
        )
        print(
            f"{case.name:28} {rate.median:14,.1f} {case.unit} per second "
            f"({rate.lowest:,.1f} to {rate.highest:,.1f}); first run {rate.cold_seconds:.2f} s"
        )
    return rates


def ratios(rates: Mapping[str, Rate], pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """`ours/theirs` for pairs with both measured; a common `@...` appears once, at the end."""
    values = {}
    for ours, theirs in pairs:
        if ours in rates and theirs in rates:
            name, at, size = ours.partition("@")
            other, _, other_size = theirs.partition("@")
            key = f"{name}/{other}{at}{size}" if size == other_size else f"{ours}/{theirs}"
            values[key] = rates[ours].median / rates[theirs].median
    return values


def best(rates: Mapping[str, Rate], names: Iterable[str]) -> Rate:
    """The fastest of the cases that were measured, by the median."""
    return max((rates[name] for name in names if name in rates), key=lambda rate: rate.median)


def print_report(
    benchmark: str,
    rates: Mapping[str, Rate],
    *,
    pairs: Iterable[tuple[str, str]],
    of_limit: Mapping[str, float],
    machine: Mapping[str, Any],
    figures: Mapping[str, float] | None = None,
) -> None:
    """Prints ratios and shares, and the JSON line last.

    `figures` are the benchmark's other figures, with the unit in the name.
    """
    compared = ratios(rates, pairs)
    for key, value in compared.items():
        print(f"{key:44} {value:8.2f}")
    for key, value in of_limit.items():
        print(f"{key:44} {value:8.2f} of the machine's GEMM rate")
    for key, figure in (figures or {}).items():
        print(f"{key:44} {figure:10,.2f}")
    line = {
        "benchmark": benchmark,
        "rates": {name: _digits(rate.median) for name, rate in rates.items()},
        "ranges": {name: [_digits(rate.lowest), _digits(rate.highest)] for name, rate in rates.items()},
        "cold_seconds": {name: round(rate.cold_seconds, 3) for name, rate in rates.items()},
        "ratios": {key: round(value, 3) for key, value in compared.items()},
        "of_limit": {key: round(value, 3) for key, value in of_limit.items()},
        **({"figures": {key: _digits(figure) for key, figure in figures.items()}} if figures else {}),
        "machine": machine,
    }
    print(json.dumps(line), flush=True)


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
