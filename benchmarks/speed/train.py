"""Notes trained per second, against Keras's own LSTM and PyTorch's.

    python -m benchmarks.train

A stack of LSTM layers on float32 inputs that need a gradient too, so that all libraries compute the same products:
forward, mean of squares of the outputs, backward; the `_adam` cases add an optimizer step. In bfloat16 the operands of
the products are rounded; PyTorch's layers run under autocast or are converted, whichever is faster. `product` is the
whole training step of `trainer.task` on prepared batches: embeddings, dropout, the same layers, heads, losses,
clipping, Adam.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.harness import machine
from benchmarks.harness.peer_process import PeerProcess, WarmProcess, peers_installed
from benchmarks.harness.rounds import Case, Rate, best, measure, print_report, timed
from benchmarks.speed import replicas
from benchmarks.speed.gemm import gemm_of_peer, shares_of_limit
from benchmarks.speed.lstm_stack import make_step
from job_runtime import command
from trainer.model.precision import PRECISIONS

SIZE = {"units": 512, "layers": 2, "batch": 64, "time": 128}
QUICK_SIZE = {"units": 32, "layers": 2, "batch": 16, "time": 16}
NUM_ROUNDS = 9
PAIRS = [
    ("ours_float32", "pytorch_float32"),
    ("ours_float32", "keras"),
    ("ours_float32_adam", "pytorch_float32_adam"),
    ("ours_float32_adam", "keras_adam"),
    ("ours_bfloat16", "pytorch_bfloat16"),
    ("ours_bfloat16_adam", "pytorch_bfloat16_adam"),
    ("ours_bfloat16", "ours_float32"),
    ("ours", "pytorch_best"),
    ("ours_adam", "pytorch_best_adam"),
    ("product", "pytorch_best_adam"),
    ("product_float32", "pytorch_float32_adam"),
    ("product_bfloat16", "pytorch_bfloat16_adam"),
]


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.train", __doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from trainer.model.recurrent import batch_halves

    size = QUICK_SIZE if args.quick else SIZE
    batch_halves.limit_threads()  # as `trainer.task` does
    with contextlib.ExitStack() as stack:
        with_peers = peers_installed(required=not args.quick)
        cases = [*stack_cases(size), *(product_case(size, precision) for precision in PRECISIONS)]
        tensorflow = stack.enter_context(WarmProcess([sys.executable, "-m", "benchmarks.speed.lstm_stack"], size))
        tensorflow.answer()  # its versions are ours
        cases += cases_of(tensorflow, ["keras", "keras_adam"], "tensorflow", cases[0])
        versions: dict[str, str] = {}
        if with_peers:
            peer = stack.enter_context(PeerProcess("train", size))
            versions = peer.versions
            names = [f"pytorch_{precision}{suffix}" for precision in PRECISIONS for suffix in ("", "_adam")]
            cases += cases_of(peer, names, "pytorch", cases[0])
            cases.append(gemm_of_peer("gemm_numpy_float32", peer.seconds))
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    rates |= dict(better_precisions(rates))
    print_report(
        "train",
        rates,
        pairs=PAIRS,
        of_limit=of_limits(rates, size),
        machine=machine.describe(["tensorflow", "keras", "numpy"], versions),
    )
    return command.OK


def cases_of(process: WarmProcess, steps: Sequence[str], library: str, ours: Case) -> list[Case]:
    """The steps of another process, each of as many notes as ours, and its library's products."""
    return [
        *(ours.of_peer(name, process.seconds) for name in steps),
        *(gemm_of_peer(f"gemm_{library}_{precision}", process.seconds) for precision in PRECISIONS),
    ]


def better_precisions(rates: Mapping[str, Rate]) -> Iterator[tuple[str, Rate]]:
    """`ours`, `product` and `pytorch_best`: each one's better precision; the same with Adam's step."""
    for side, name in (("ours", "ours"), ("product", "product"), ("pytorch", "pytorch_best")):
        for suffix in ("", "_adam"):
            measured = [f"{side}_{precision}{suffix}" for precision in PRECISIONS]
            if measured[0] in rates:
                yield f"{name}{suffix}", best(rates, measured)


def of_limits(rates: Mapping[str, Rate], size: dict[str, int]) -> dict[str, float]:
    """Shares of the GEMM rate, for each case in its own precision."""
    shares: dict[str, float] = {}
    for precision in PRECISIONS:
        names = [f"ours_{precision}", f"pytorch_{precision}", *(["keras"] if precision == "float32" else [])]
        shares |= shares_of_limit(rates, dict.fromkeys(names, flops_of_a_note(size)), precision)
    return shares


def flops_of_a_note(size: dict[str, int]) -> float:
    """FLOPs of the layers' products: input and recurrent kernel, forward once and backward twice."""
    return 3.0 * size["layers"] * 2 * (2 * size["units"]) * (4 * size["units"])


def stack_cases(size: dict[str, int]) -> list[Case]:
    """Our layer in both precisions, each without and with an optimizer step."""
    from trainer.model.recurrent.lstm import LSTM

    return [
        Case(
            f"ours_{precision}_adam" if optimizer else f"ours_{precision}",
            timed(make_step(functools.partial(LSTM, precision=precision), size, optimizer=optimizer, in_parts=True)),
            size["batch"] * size["time"],
            "notes",
        )
        for precision in PRECISIONS
        for optimizer in (False, True)
    ]


def product_case(size: dict[str, int], precision: str) -> Case:
    """The whole training step of `trainer.task`, with its defaults except for size and precision."""
    step = replicas.make_step(replicas.make_strategy(1), size, precision)
    return Case(f"product_{precision}", timed(step), size["batch"] * size["time"], "notes")


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.train", main))
