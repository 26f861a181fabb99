"""Notes trained a second, against Keras's own LSTM and PyTorch's.

    python -m benchmarks.train

A stack of LSTM layers on float32 inputs that want a gradient too, so that everyone multiplies the same: forward, mean
of squares of the outputs, backward; the `_adam` cases apply an optimizer step as well. In bfloat16 the operands of the
products are rounded, PyTorch's by autocast. `product` is the whole training step of `trainer.task` on batches already
made: embeddings, dropout, the same layers, heads, losses, clipping, Adam.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

if not __package__:  # run as a file: the rooms lie one folder up
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from benchmarks import machine, synthetic
from benchmarks.gemm import gemm_case, shares_of_limit
from benchmarks.peer_process import PeerProcess, peers_installed
from benchmarks.rounds import Case, Rate, measure, print_report, timed
from midi_codec import command

SIZE = {"units": 512, "layers": 2, "batch": 64, "time": 128}
QUICK_SIZE = {"units": 32, "layers": 2, "batch": 16, "time": 16}
NUM_ROUNDS = 9
NUM_BATCHES = 4  # of the product's step, taken in turns
LEARNING_RATE = 1e-9  # rounds must not change what is computed: no weight may grow to infinity or to denormals
PRECISIONS = ("float32", "bfloat16")
PAIRS = [
    ("ours_float32", "pytorch_float32"),
    ("ours_float32", "keras"),
    ("ours_float32_adam", "pytorch_float32_adam"),
    ("ours_float32_adam", "keras_adam"),
    ("ours_bfloat16", "pytorch_bfloat16"),
    ("ours_bfloat16_adam", "pytorch_bfloat16_adam"),
    ("ours_bfloat16", "ours_float32"),
    ("product_float32", "pytorch_float32_adam"),
    ("product_bfloat16", "pytorch_bfloat16_adam"),
]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    size = QUICK_SIZE if args.quick else SIZE
    versions: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        with_peers = peers_installed(required=not args.quick)
        cases = stack_cases(size)
        for precision in PRECISIONS:
            cases += [product_case(size, precision), gemm_case(precision)]
        if with_peers:
            peer = stack.enter_context(PeerProcess("train", size))
            versions = peer.versions
            cases += peer_cases(cases[0], peer)
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    print_report(
        "train",
        rates,
        pairs=PAIRS,
        of_limit=of_limits(rates, size),
        machine=machine.describe(["tensorflow", "keras", "numpy"], versions),
    )
    return command.OK


def peer_cases(ours: Case, peer: PeerProcess) -> list[Case]:
    """PyTorch's steps, and the products of PyTorch and NumPy."""
    steps = [f"pytorch_{precision}{suffix}" for precision in PRECISIONS for suffix in ("", "_adam")]
    products = ["gemm_pytorch_float32", "gemm_numpy_float32", "gemm_pytorch_bfloat16"]
    return [
        *(ours.of_peer(name, peer.seconds) for name in steps),
        *(gemm_case(name.rpartition("_")[2]).of_peer(name, peer.seconds) for name in products),
    ]


def of_limits(rates: Mapping[str, Rate], size: dict[str, int]) -> dict[str, float]:
    """Shares of the GEMM rate of a case's own precision."""
    found: dict[str, float] = {}
    for precision in PRECISIONS:
        names = [f"ours_{precision}", f"pytorch_{precision}", *(["keras"] if precision == "float32" else [])]
        found |= shares_of_limit(rates, dict.fromkeys(names, flops_of_a_note(size)), precision)
    return found


def flops_of_a_note(size: dict[str, int]) -> float:
    """Of the layers' products: input and recurrent kernel, forward once and backward twice."""
    return 3.0 * size["layers"] * 2 * (2 * size["units"]) * (4 * size["units"])


def stack_cases(size: dict[str, int]) -> list[Case]:
    """Our layer in both precisions and Keras's, each without and with the optimizer's step."""
    import keras

    from trainer.lstm import LSTM

    def theirs(units: int) -> Any:
        return keras.layers.LSTM(units, return_sequences=True, return_state=True)

    makers = {f"ours_{precision}": functools.partial(LSTM, precision=precision) for precision in PRECISIONS}
    return [
        Case(
            f"{name}_adam" if with_optimizer else name,
            timed(make_step(make_layer, size, with_optimizer=with_optimizer)),
            size["batch"] * size["time"],
            "notes",
        )
        for name, make_layer in (makers | {"keras": theirs}).items()
        for with_optimizer in (False, True)
    ]


def make_step(make_layer: Callable[[int], Any], size: dict[str, int], *, with_optimizer: bool) -> Callable[[], object]:
    """A compiled step of a stack of layers; calling it does one and waits for its end."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = [make_layer(size["units"]) for _ in range(size["layers"])]
    for layer in layers:
        layer.build((None, None, size["units"]))
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(variables)
    inputs = tf.random.normal([size["batch"], size["time"], size["units"]])

    @tf.function
    def step() -> list[Any]:
        values = [inputs, *(variable.value for variable in variables)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = inputs
            for layer in layers:
                outputs, _, _ = layer(outputs)
            loss = tf.reduce_mean(outputs * outputs)
        gradients = tape.gradient(loss, values)
        if with_optimizer:
            optimizer.apply(gradients[1:], variables)
        return [loss, *gradients]  # all of them: what is not returned may not be computed

    return lambda: step()[0].numpy()


def product_case(size: dict[str, int], precision: str) -> Case:
    """The training step of `trainer.task` with its defaults for all but size and precision."""
    from trainer.augmentation import Augmentation
    from trainer.batches import keyed_rng, make_batch, plan_epoch
    from trainer.config import TrainConfig
    from trainer.pieces import stack_pieces
    from trainer.strategy import make_strategy
    from trainer.train_step import TrainStep

    batch, time = size["batch"], size["time"]
    config = TrainConfig(units=size["units"], layers=size["layers"], batch_size=batch, window=time, precision=precision)
    table = synthetic.make_table()
    step = TrainStep(config, table, make_strategy())
    pieces = stack_pieces([synthetic.make_notes(key, batch * time // 4) for key in range(4 * NUM_BATCHES + 4)], table)
    plan = plan_epoch(pieces.num_events, window=time, batch_size=batch, rng_seed=0, epoch=0)
    full = [windows for windows in plan if windows.length.sum() == batch * time][:NUM_BATCHES]
    assert full, "no batch is full"
    batches = itertools.cycle(
        make_batch(
            pieces,
            windows,
            table=table,
            batch_size=batch,
            start_bins=step.model.start_bins,
            amounts=Augmentation(transpose=config.transpose, tempo=config.tempo, velocity=config.velocity),
            rng=keyed_rng(0, number),
        )
        for number, windows in enumerate(full)
    )
    return Case(f"product_{precision}", timed(lambda: step(next(batches), LEARNING_RATE)), batch * time, "notes")


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.train", main))
