"""A model on every piece of a split: exact sums per piece, and counts for calibration; on one device.

The whole split passes through the model once, in chunks, with the LSTM's state carried over. A chunk returns only a few
sums per row, so memory does not grow with the number of notes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.data.batches import make_batch
from trainer.data.pieces import Pieces
from trainer.data.whole_pieces import CHUNK, plan_whole_pieces
from trainer.distribution.strategy import batch_signature, free_shapes
from trainer.evaluation import calibration
from trainer.evaluation.measures import TOP, measure, measure_names
from trainer.model.note_model import NoteModel, State


@dataclasses.dataclass(frozen=True)
class PieceSums:
    """One model on one split.

    Attributes:
      sums: `[num_pieces]` float64 by measure: `nll_FIELD`, `topK_FIELD`, `error_FIELD`; see
        `trainer.evaluation.measures`.
      reliability: of each categorical head, the counts of `calibration.reliability_counts`.
      pit: of each time head, the counts of `calibration.pit_counts`.
    """

    sums: dict[str, np.ndarray]
    reliability: dict[str, np.ndarray]
    pit: dict[str, np.ndarray]

    def nats(self) -> np.ndarray:
        """`[num_pieces]` float64, what each piece costs, all fields together."""
        return np.sum([column for name, column in self.sums.items() if name.startswith("nll_")], axis=0)


def evaluate_pieces(
    model: NoteModel,
    pieces: Pieces,
    *,
    deviations: Mapping[str, float],
    batch_size: int,
    labels: np.ndarray | None = None,
    chunk: int = CHUNK,
    after_chunk: Callable[[int], None] = lambda events: None,
) -> PieceSums:
    """Measures every piece.

    Args:
      deviations: of each MSE head, the standard deviation of its validation residual in ticks.
      batch_size: the most pieces at once.
      labels: `[num_pieces, labels]` int32, what the model is told instead of the pieces' own.
      chunk: events of a piece per compiled call.
      after_chunk: called with the number of events in each chunk; what it raises ends the evaluation.
    """
    names = measure_names(model.table, top=TOP)
    sums = np.zeros((len(names), pieces.num_pieces))
    counts: dict[str, np.ndarray] = {}
    spread = {name: tf.constant(value, tf.float64) for name, value in deviations.items()}
    step = None
    for chunks in plan_whole_pieces(pieces.num_events, chunk=chunk, batch_size=batch_size):
        state = model.zero_state(len(chunks[0]))
        for windows in chunks:
            batch = make_batch(pieces, windows, table=model.table, batch_size=len(windows), start_bins=model.start_bins)
            own = {} if labels is None else {"labels": labels[windows.piece]}
            arrays = {name: tf.constant(array) for name, array in {**batch.as_dict(), **own}.items()}
            step = step or _compile(model, arrays, state, spread)
            chunk_sums, chunk_counts, state = step(arrays, state, spread)
            sums[:, windows.piece] += chunk_sums.numpy()
            for name, value in chunk_counts.items():
                counts[name] = counts.get(name, 0.0) + value.numpy()
            after_chunk(int(windows.length.sum()))
    return PieceSums(
        sums=dict(zip(names, sums, strict=True)),
        reliability={f.name: counts[f"reliability_{f.name}"] for f in model.table if f.loss == fields.CATEGORICAL},
        pit={f.name: counts[f"pit_{f.name}"] for f in model.table if f.kind == fields.TIME},
    )


def _compile(
    model: NoteModel, batch: Mapping[str, tf.Tensor], state: State, deviations: Mapping[str, tf.Tensor]
) -> Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor], State]]:
    """The compiled step, for any number of rows and events."""
    signature = [
        batch_signature(batch),
        tf.nest.map_structure(lambda value: free_shapes(value, 1), state),
        tf.nest.map_structure(tf.TensorSpec.from_tensor, deviations),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def step(
        batch: Mapping[str, tf.Tensor], state: State, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], State]:
        rows = tf.shape(batch["bins"])[0]
        state = model.with_labels(tf.nest.map_structure(lambda value: value[:rows], state), batch["labels"])
        outputs, state = model(batch["previous"], batch["bins"], state, raw=batch["raw"], is_note=batch["is_note"])
        measures = measure(model, outputs, batch, deviations, top=TOP)
        counts = {}
        for index, field in enumerate(model.table):
            output, bins, raw = outputs.fields[field.name], batch["bins"][..., index], batch["raw"][..., index]
            if field.loss == fields.CATEGORICAL:
                counts[f"reliability_{field.name}"] = calibration.reliability_counts(output, bins, batch["is_note"])
            if field.kind == fields.TIME:
                below, up_to = calibration.tick_interval(field, output, bins, raw, deviations.get(field.name))
                counts[f"pit_{field.name}"] = calibration.pit_counts(below, up_to, batch["is_note"])
        return tf.stack([tf.reduce_sum(values, axis=1) for values in measures]), counts, state

    return step
