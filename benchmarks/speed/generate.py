"""Notes generated a second, against a PyTorch step loop and the classic loop of `model.predict`.

    python -m benchmarks.generate

Two LSTM layers of 512 and our heads, random weights, END out of reach, every piece from silence. Ours is the decoder
with everything it does: refilling, draws within bins, likelihoods, pieces put together. PyTorch
generates the same notes with the same products. The classic loop is a small Keras model, a single layer of 128, that is
asked by `model.predict` for each note from the 25 before it, as tutorials do.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

if not __package__:  # run as a file: the rooms lie some folders up
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

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
NUM_NOTES, QUICK_NOTES = 256, 32  # a piece: so many steps a run
PREDICTED_NOTES, QUICK_PREDICTED = 20, 2
NUM_ROUNDS = 7
WINDOW, CLASSIC_UNITS = 25, 128  # of the classic loop
CLASSIC_SIZE = {"units": CLASSIC_UNITS, "layers": 1, "head_units": 128}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generate", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
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
    """Bins and head widths of the fields, as the peer wants them."""
    from trainer.model.heads import output_width

    return {"bins": [field.num_bins for field in table], "widths": [output_width(field) for field in table]}


def flops_of_a_note(size: dict[str, int], table: fields.FieldTable) -> float:
    """Of the products that a note needs; the first layer's input product is folded into its tables."""
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
        made = sum(len(result.notes) for _, result in decoder.generate(requests))
        assert made == batch * num_notes, f"made {made} notes, want {batch * num_notes}"

    return Case(f"{name}@b{batch}", timed(generate), batch * num_notes, "notes")


def make_predict_loop(num_notes: int) -> Callable[[], None]:
    """The loop of the well-known tutorial: pitch drawn, step and duration as the model says."""
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
