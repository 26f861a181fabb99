"""Makes a model's pieces end as often as those of its corpus.

    python -m trainer.calibrate_end --bundle run/bundle --data dataset --output run/calibrated

A model trained on windows of long pieces is right about END in windows. In a whole piece, where it remembers more, it
ends too soon: on some corpora twice as often as the pieces do. This command adds one number to END's log odds: the one
with which, over the whole pieces of the validation split, the probabilities of END add up to the number of pieces. It
is also the most likely one. Nothing else changes. See docs/train.md.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from job_runtime import command, storage
from job_runtime.logs import foreign_lines
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle

if TYPE_CHECKING:
    from trainer.data.pieces import Pieces
    from trainer.model.note_model import NoteModel

PROGRAM = "python -m trainer.calibrate_end"
SPLIT = "validation"
HEAD_BIAS = "head_bias"
LIMIT = 30.0  # of the shift, in either direction
HALVINGS = 60
BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class EndLogits:
    """END's log odds at each event of a split, `[events]` float64, and whether the piece ends there."""

    logits: np.ndarray
    is_end: np.ndarray

    def expected(self, shift: float = 0.0) -> float:
        """The expected number of ends."""
        return float(_sigmoid(self.logits + shift).sum())

    def nll(self, shift: float = 0.0) -> float:
        """Nats of all events together."""
        return float(np.logaddexp(0.0, np.where(self.is_end, -1.0, 1.0) * (self.logits + shift)).sum())


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--bundle", required=True, help="bundle folder that the trainer wrote")
    parser.add_argument("--data", required=True, help="dataset that it was trained on")
    parser.add_argument("--output", required=True, help="folder for the calibrated bundle")
    args = parser.parse_args(argv)
    model, info = check(args.bundle, args.data, args.output)
    foreign_lines.quiet_tensorflow()
    from trainer.data.pieces import load_split

    pieces = load_split(args.data, info, SPLIT, model.fields)
    ends = end_logits(model.build_model(), pieces)
    shift = find_shift(ends)
    changed = shifted(model, ends, shift)
    bundle_lib.save(args.output, changed)
    number = pieces.num_pieces
    for title, by in (("before", 0.0), ("after", shift)):
        expected, nats = ends.expected(by), ends.nll(by) / number
        print(f"{title:<7} {expected:,.1f} ends expected of {number:,} pieces, {nats:.3f} nats per piece for END")
    print(f"END's log odds {shift:+.3f}: {args.output} ({changed.hash})")
    return command.OK


def check(folder: str, data: str, output: str) -> tuple[Bundle, DatasetInfo]:
    """Raises UserError with every mistake."""
    problems = storage.output_problems("--output", output)
    is_own_folder = not problems and os.path.realpath(folder) == os.path.realpath(output)
    model, info = None, None
    with command.collecting(problems):
        model = bundle_lib.load(folder)
    with command.collecting(problems):
        info = dataset_info.load(data)
    if model and info and model.dataset["hash"] != info.hash:
        problems.append(
            f"--data is dataset {info.hash}, the bundle was trained on {model.dataset['hash']}; want the latter"
        )
    if info and not info.splits[SPLIT].num_notes:
        problems.append(f"{data}: the {SPLIT} split holds no note, want some to calibrate with")
    if is_own_folder:
        problems.append("--output is the bundle's own folder, want another")
    if problems or model is None or info is None:
        raise UserError(problems)
    return model, info


def end_logits(model: NoteModel, pieces: Pieces) -> EndLogits:
    """END's logits over whole pieces, with the state carried from beginning to end."""
    import tensorflow as tf

    from trainer.data.batches import make_batch
    from trainer.data.whole_pieces import CHUNK, plan_whole_pieces

    logits: list[np.ndarray] = []
    is_end: list[np.ndarray] = []
    for chunks in plan_whole_pieces(pieces.num_events, chunk=CHUNK, batch_size=BATCH_SIZE):
        state = model.zero_state(len(chunks[0]))
        for windows in chunks:
            rows = len(windows)
            batch = make_batch(pieces, windows, table=model.table, batch_size=rows, start_bins=model.start_bins)
            state = tf.nest.map_structure(lambda value, rows=rows: value[:rows], state)
            outputs, state = model(batch.previous, batch.bins, state, raw=batch.raw, is_note=batch.is_note)
            is_event = (batch.is_note + batch.is_end) > 0
            logits.append(outputs.end_logit.numpy()[is_event].astype(np.float64))
            is_end.append(batch.is_end[is_event] > 0)
    return EndLogits(np.concatenate(logits), np.concatenate(is_end))


def find_shift(ends: EndLogits) -> float:
    """The shift with which the probabilities add up to the number of ends, by bisection: the sum ascends with it.

    It is within `LIMIT` of 0; if no number would do (every event is an end), it is the limit.
    """
    low, high, wanted = -LIMIT, LIMIT, float(ends.is_end.sum())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if ends.expected(middle) < wanted else (low, middle)
    return (low + high) / 2


def shifted(model: Bundle, ends: EndLogits, shift: float) -> Bundle:
    """The bundle with END's bias shifted, and the validation likelihoods that follow; all else is unchanged."""
    bias = model.weights[HEAD_BIAS].copy()
    bias[end_column(model)] += np.float32(shift)
    metrics: dict[str, Any] = dict(model.metrics)
    gain = (ends.nll() - ends.nll(shift)) / metrics["num_notes"]
    by_field = metrics["validation_nll_by_field"]
    metrics["validation_nll_by_field"] = {**by_field, "pitch": by_field["pitch"] - gain}  # END's cost is in pitch
    metrics["nll_per_second"] *= 1 - gain / metrics["validation_nll"]
    metrics["validation_nll"] -= gain
    metrics["end_shift"] = metrics.get("end_shift", 0.0) + shift
    return dataclasses.replace(model, weights={**model.weights, HEAD_BIAS: bias}, metrics=metrics)


def end_column(model: Bundle) -> int:
    """The index of END's bias in the head bias."""
    return model.config["head_units"] * len(model.fields)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -values))


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
