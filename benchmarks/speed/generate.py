"""Notes generated per second, against a PyTorch step loop and the classic loop of `model.predict`.

    python -m benchmarks.generate

Two LSTM layers of 512 and our heads, random weights, END disabled, every piece from silence. Ours is the whole decoder:
refilling, draws within bins, likelihoods, assembling pieces. PyTorch generates the same number of notes with the same
products. The classic loop is the tutorials': a small Keras model, a single layer of 128, predicts each note from the
last 25 by `model.predict`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import machine, synthetic
from benchmarks.harness.peer_process import PeerProcess, peers_installed
from benchmarks.harness.rounds import Case, measure, print_report, timed
from benchmarks.speed.gemm import gemm_case, shares_of_limit
from generation_jobs.settings.requests import Request, Sampling
from job_runtime import command
from midi_codec import fields

SIZE = {"units": 512, "layers": 2, "head_units": 128}
QUICK_SIZE = {"units": 32, "layers": 2, "head_units": 16}
BATCHES, QUICK_BATCHES = (1, 64, 256), (1, 16)
NUM_NOTES, QUICK_NOTES = 256, 32  # per piece, so also steps per run
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
    versions: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        with_peers = peers_installed(required=not args.quick)
        bundle = synthetic.make_bundle(**size)
        ours = [our_case(bundle, batch, num_notes) for batch in batches]
        like_classic = our_case(synthetic.make_bundle(**CLASSIC_SIZE), batches[-1], num_notes, "ours_one_layer_of_128")
        gemm = gemm_case("float32")
        predicted = QUICK_PREDICTED if args.quick else PREDICTED_NOTES
        cases = [
            *ours,
            like_classic,
            Case("predict_loop", timed(make_predict_loop(predicted)), predicted, "notes"),
            gemm,
        ]
        if with_peers:
            setup = {**size, **table_sizes(bundle.fields), "batches": batches, "steps": num_notes}
            peer = stack.enter_context(PeerProcess("generate", setup))
            versions = peer.versions
            for batch, case in zip(batches, ours, strict=True):
                cases.append(case.of_peer(f"pytorch_float32@b{batch}", peer.seconds))
            for name in ("gemm_pytorch_float32", "gemm_numpy_float32"):
                cases.append(gemm.of_peer(name, peer.seconds))
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
    flops = {case.name: flops_of_a_note(size, bundle.fields) for case in ours}
    print_report(
        "generate",
        rates,
        pairs=[(f"ours_float32@b{batch}", f"pytorch_float32@b{batch}") for batch in batches]
        + [(like_classic.name, "predict_loop"), (ours[-1].name, "predict_loop")],
        of_limit=shares_of_limit(rates, flops, "float32"),
        machine=machine.describe(["tensorflow", "keras", "numpy"], versions),
    )
    return command.OK


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


def our_case(bundle: Any, batch: int, num_notes: int, name: str = "ours_float32") -> Case:
    from generation_jobs.decoder.decoder import Decoder

    decoder = Decoder(bundle, num_slots=batch)
    requests = [
        Request(key=(batch, number), primer=None, max_notes=num_notes, max_seconds=None, sampling=Sampling())
        for number in range(batch)
    ]

    def generate() -> None:
        generated = sum(len(result.notes) for _, result in decoder.generate(requests))
        assert generated == batch * num_notes, f"generated {generated} notes, want {batch * num_notes}"

    return Case(f"{name}@b{batch}", timed(generate), batch * num_notes, "notes")


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
