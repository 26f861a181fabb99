"""Notes trained per second on 1, 2 and 4 virtual devices and by 2 processes: the cost of distribution itself.

    python -m benchmarks.distribution

The training step of `trainer.task` on the same global batch, with the workers' agreement after it, on the same cores.
What several devices or processes lose against one is the cost of splitting, copies and the sum of gradients. `large` is
the size of the train benchmark, where products dominate; in `small` they take almost no time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks.harness import machine
from benchmarks.harness.peer_process import WarmProcess
from benchmarks.harness.rounds import Case, Rate, measure, print_report
from job_runtime import command

SIZES = {
    "large": {"units": 512, "layers": 2, "batch": 64, "time": 128},
    "small": {"units": 32, "layers": 1, "batch": 16, "time": 16},
}
QUICK_SIZES = {"small": SIZES["small"]}
NUM_ROUNDS = 5
DEVICES = {"one_device": 1, "two_devices": 2, "four_devices": 4}
PROCESSES = "two_processes"


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.distribution", __doc__)
    parser.add_argument("--quick", action="store_true", help="the small size, one round: only shows that it runs")
    args = parser.parse_args(argv)
    sizes = QUICK_SIZES if args.quick else SIZES
    with contextlib.ExitStack() as stack:
        groups = {name: [stack.enter_context(start(sizes, devices))] for name, devices in DEVICES.items()}
        groups[PROCESSES] = [stack.enter_context(process) for process in start_workers(sizes, 2)]
        for processes in groups.values():
            for process in processes:
                process.answer()
        cases = [
            Case(f"{name}@{size}", runner(processes, size), shape["batch"] * shape["time"], "notes")
            for size, shape in sizes.items()
            for name, processes in groups.items()
        ]
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    others = [name for name in (*DEVICES, PROCESSES) if name != "one_device"]
    print_report(
        "distribution",
        rates,
        pairs=[(f"{name}@{size}", f"one_device@{size}") for size in sizes for name in others],
        of_limit={},
        machine=machine.describe(["tensorflow", "keras", "numpy"], {}),
        figures={key: value for size in sizes for key, value in costs(rates, sizes[size], size, others).items()},
    )
    return command.OK


def costs(rates: Mapping[str, Rate], shape: Mapping[str, int], size: str, others: Sequence[str]) -> dict[str, float]:
    """Extra milliseconds per step, compared with one device."""
    notes = shape["batch"] * shape["time"]
    single = notes / rates[f"one_device@{size}"].median
    return {
        f"milliseconds_more_a_step_{name}@{size}": 1000 * (notes / rates[f"{name}@{size}"].median - single)
        for name in others
    }


def runner(processes: Sequence[WarmProcess], case: str) -> Callable[[], float]:
    """Runs a case in every process of a group at the same time; returns the seconds of the slowest."""

    def run() -> float:
        for process in processes:
            process.ask(case)
        return max(float(process.answer()["seconds"]) for process in processes)

    return run


def start(sizes: Mapping[str, Mapping[str, int]], devices: int, tf_config: str = "") -> WarmProcess:
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment = {**inherited, **({"TF_CONFIG": tf_config} if tf_config else {}), "CUDA_VISIBLE_DEVICES": ""}
    setup = {"devices": devices, "sizes": sizes}
    return WarmProcess([sys.executable, "-m", "benchmarks.speed.replicas"], setup, environment=environment)


def start_workers(sizes: Mapping[str, Mapping[str, int]], count: int) -> list[WarmProcess]:
    """Processes with one device each that train together. None is waited for before all are started."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in sockets]
    configs = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(count)]
    return [start(sizes, 1, json.dumps(config)) for config in configs]


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.distribution", main))
