"""Notes generated per second, against a PyTorch step loop and the classic loop of `model.predict`.

    python -m benchmarks.generate

Two LSTM layers of 512 and our heads, random weights, END disabled, every piece from silence. Ours is the whole decoder:
refilling, draws within bins, likelihoods, assembling pieces. PyTorch generates the same number of notes with the same
products. Both run in float32 and in bfloat16. The classic loop is the tutorials': a small Keras model, a single layer
of 128, predicts each note from the last 25 by `model.predict`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.harness import machine, synthetic
from benchmarks.harness.peer_process import PeerProcess, WarmProcess, peers_installed
from benchmarks.harness.rounds import Case, Rate, best, measure, print_report, timed
from benchmarks.speed.gemm import gemm_case, gemm_of_peer, shares_of_limit
from job_runtime import command
from midi_codec import fields
from trainer.model.precision import PRECISIONS

SIZE = {"units": 512, "layers": 2, "head_units": 128}
QUICK_SIZE = {"units": 32, "layers": 2, "head_units": 16}
BATCHES, QUICK_BATCHES = (1, 64, 256), (1, 16)
NUM_NOTES, QUICK_NOTES = 256, 32  # per piece, so also steps per run
SINGLE_TIMES = 8  # a piece alone has more notes: in a run of 0.2 s, caches that others have filled would count
PREDICTED_NOTES, QUICK_PREDICTED = 20, 2
NUM_ROUNDS = 7
WINDOW, CLASSIC_UNITS = 25, 128  # of the classic loop
CLASSIC_SIZE = {"units": CLASSIC_UNITS, "layers": 1, "head_units": 128}


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.generate", __doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    size, batches, num_notes = (QUICK_SIZE, QUICK_BATCHES, QUICK_NOTES) if args.quick else (SIZE, BATCHES, NUM_NOTES)
    all_steps = [(batch, num_notes * (SINGLE_TIMES if batch == 1 else 1)) for batch in batches]
    like_classic = f"ours_one_layer_of_128@b{batches[-1]}"
    table = synthetic.make_table()
    versions: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        with_peers = peers_installed(required=not args.quick)
        cases: list[Case] = []
        for precision in PRECISIONS:
            runs = {f"ours_{precision}@b{batch}": (size, batch, steps) for batch, steps in all_steps}
            if precision == "float32":
                runs[like_classic] = (CLASSIC_SIZE, *all_steps[-1])
            for is_single in (True, False):  # a single slot uses the cores in another way
                own = {name: case for name, case in runs.items() if (case[1] == 1) == is_single}
                process = stack.enter_context(decoders(precision, own))
                cases += [note_case(name, batch * steps, process) for name, (_, batch, steps) in own.items()]
        predicted = QUICK_PREDICTED if args.quick else PREDICTED_NOTES
        cases.append(Case("predict_loop", timed(make_predict_loop(predicted)), predicted, "notes"))
        cases += [gemm_case(precision) for precision in PRECISIONS]
        if with_peers:
            setup = {**size, **table_sizes(table), "runs": all_steps}
            peer = stack.enter_context(PeerProcess("generate", setup))
            versions = peer.versions
            for precision in PRECISIONS:
                cases += [note_case(f"pytorch_{precision}@b{batch}", batch * steps, peer) for batch, steps in all_steps]
                cases.append(gemm_of_peer(f"gemm_pytorch_{precision}", peer.seconds))
            cases.append(gemm_of_peer("gemm_numpy_float32", peer.seconds))
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    rates |= dict(better_precisions(rates, batches))
    print_report(
        "generate",
        rates,
        pairs=pairs(batches, like_classic),
        of_limit=of_limits(rates, flops_of_a_note(size, table), batches),
        machine=machine.describe(["tensorflow", "keras", "numpy"], versions),
    )
    return command.OK


def decoders(precision: str, runs: Mapping[str, object]) -> WarmProcess:
    """Our decoder in a process of its own; ready once its versions, which are ours, are read."""
    setup = {"precision": precision, "cases": runs}
    process = WarmProcess([sys.executable, "-m", "benchmarks.speed.decoding"], setup)
    process.answer()
    return process


def note_case(name: str, num_notes: int, process: WarmProcess) -> Case:
    return Case(name, lambda: process.seconds(name), num_notes, "notes")


def better_precisions(rates: Mapping[str, Rate], batches: Sequence[int]) -> Iterator[tuple[str, Rate]]:
    """`ours@b...` and `pytorch_best@b...`: each side's better precision."""
    for side, name in (("ours", "ours"), ("pytorch", "pytorch_best")):
        for batch in batches:
            measured = [f"{side}_{precision}@b{batch}" for precision in PRECISIONS]
            if measured[0] in rates:
                yield f"{name}@b{batch}", best(rates, measured)


def pairs(batches: Sequence[int], like_classic: str) -> list[tuple[str, str]]:
    of_batch = [
        ("ours", "pytorch_best"),
        *((f"ours_{precision}", f"pytorch_{precision}") for precision in PRECISIONS),
        ("ours_bfloat16", "ours_float32"),
    ]
    compared = [(f"{mine}@b{batch}", f"{other}@b{batch}") for mine, other in of_batch for batch in batches]
    return [*compared, (like_classic, "predict_loop"), (f"ours@b{batches[-1]}", "predict_loop")]


def of_limits(rates: Mapping[str, Rate], flops: float, batches: Sequence[int]) -> dict[str, float]:
    """Shares of the GEMM rate, for each of our cases in its own precision."""
    shares: dict[str, float] = {}
    for precision in PRECISIONS:
        names = [f"ours_{precision}@b{batch}" for batch in batches]
        shares |= shares_of_limit(rates, dict.fromkeys(names, flops), precision)
    return shares


def table_sizes(table: fields.FieldTable) -> dict[str, list[int]]:
    """Bins and head widths of the fields, in the form that the peer reads."""
    from trainer.model.heads import output_width

    return {"bins": [field.num_bins for field in table], "widths": [output_width(field) for field in table]}


def flops_of_a_note(size: dict[str, int], table: fields.FieldTable) -> float:
    """FLOPs of the products for one note; the first layer's input product is folded into lookup tables."""
    units, head_units = size["units"], size["head_units"]
    lstm = (2 * size["layers"] - 1) * units * 4 * units
    heads = units * (len(table) * head_units + 1) + head_units * sum(table_sizes(table)["widths"])
    return 2.0 * (lstm + heads)


def make_predict_loop(num_notes: int) -> Callable[[], None]:
    """The loop of the well-known tutorial: it draws the pitch, and takes step and duration from the model."""
    import keras
    import tensorflow as tf

    inputs = keras.Input((WINDOW, 3))
    x = keras.layers.LSTM(CLASSIC_UNITS)(inputs)
    outputs = {"pitch": 128, "step": 1, "duration": 1}
    model = keras.Model(inputs, {name: keras.layers.Dense(width, name=name)(x) for name, width in outputs.items()})
    opening = np.random.default_rng(0).random((WINDOW, 3)).astype(np.float32)

    def generate() -> None:
        notes = opening
        for _ in range(num_notes):
            predicted = model.predict(notes[np.newaxis], verbose=0)
            pitch = int(tf.random.categorical(predicted["pitch"], 1)[0, 0])
            step, duration = (max(0.0, float(predicted[name][0, 0])) for name in ("step", "duration"))
            notes = np.append(notes[1:], np.array([[pitch / 128, step, duration]], np.float32), axis=0)

    return generate


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.generate", main))
