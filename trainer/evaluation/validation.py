"""Validation: the exact likelihood of whole pieces, with the LSTM's state carried from chunk to chunk.

    nll                  nats per note, END included, over the ticks of the grid; the sum of `nll_by_field`
    nll_per_second       the same in nats per second of music; a piece lasts from its first onset to its last end
    accuracy             of categorical heads: how often the likeliest bin is right
    error_milliseconds   of step and duration: mean distance between the head's best guess and the note

An MSE head counts as a Gaussian with the variance of its residual on this split, integrated over each tick; finding
that variance takes a separate pass.

The same pass finds END's shift (`trainer.evaluation.end_shift`); `Evaluation.with_end_shift` has the figures of the
model that has it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.data.batches import make_batch
from trainer.data.pieces import Pieces
from trainer.data.whole_pieces import CHUNK, piece_seconds, plan_whole_pieces
from trainer.distribution.strategy import batch_signature, free_shapes, on_each, part_of, share_out
from trainer.evaluation import end_shift
from trainer.evaluation.end_shift import EndCost
from trainer.evaluation.measures import measure, measure_names
from trainer.model.note_model import NoteModel, State
from trainer.model.recurrent import batch_halves

SMALLEST_DEVIATION = 0.1  # ticks; without it an MSE head that is never wrong would be infinitely sure


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split; the module's docstring says what they mean."""

    nll: float
    nll_per_second: float
    nll_by_field: dict[str, float]
    accuracy: dict[str, float]
    error_milliseconds: dict[str, float]
    deviations: dict[str, float]
    num_notes: int
    end_cost: EndCost
    end_shift: float = 0.0  # that the figures include

    def with_end_shift(self, already: float = 0.0) -> Evaluation:
        """The figures of the model with the shift of END's log odds that this split asks for.

        Args:
          already: the shift that the model has.
        """
        shift = self.end_cost.shift(already)
        gain = self.end_cost.gain(shift) / self.num_notes
        return dataclasses.replace(
            self,
            nll=self.nll - gain,
            nll_per_second=self.nll_per_second * (1 - gain / self.nll),
            nll_by_field={**self.nll_by_field, "pitch": self.nll_by_field["pitch"] - gain},  # END's cost is in pitch
            end_shift=shift,
        )

    def metrics(self) -> dict[str, Any]:
        """The figures as the bundle has them."""
        names = ("nll_per_second", "accuracy", "error_milliseconds", "num_notes")
        return {
            "validation_nll": self.nll,
            "validation_nll_by_field": self.nll_by_field,
            **{name: getattr(self, name) for name in names},
        }


class Evaluator:
    """Evaluates a model on a split under a strategy; compiled once for all validations."""

    def __init__(self, model: NoteModel, strategy: tf.distribute.Strategy, *, batch_size: int, chunk: int = CHUNK):
        self._model, self._strategy, self._batch_size, self._chunk = model, strategy, batch_size, chunk
        self._names = measure_names(model.table)
        self._compiled: Any = None  # traced with the first batch, for batches of any size

    def evaluate(self, pieces: Pieces, *, between_chunks: Callable[[], None] = lambda: None) -> Evaluation:
        """Measures the model on a split.

        Args:
          between_chunks: called between compiled calls; what it raises ends the evaluation.

        Raises:
          ValueError: the split has no note.
        """
        if not pieces.num_notes:
            raise ValueError("the split holds no note, want at least one")
        table = self._model.table
        continuous = [field.name for field in table if field.loss == fields.MSE]
        deviations = dict.fromkeys(continuous, 1.0)
        if continuous:
            per_note, _ = self._pass(pieces, deviations, between_chunks)
            deviations = {name: max(per_note[f"square_{name}"] ** 0.5, SMALLEST_DEVIATION) for name in continuous}
        per_note, end_cost = self._pass(pieces, deviations, between_chunks)
        by_field = {field.name: per_note[f"nll_{field.name}"] for field in table}
        nll = sum(by_field.values())
        return Evaluation(
            nll=nll,
            nll_per_second=nll * pieces.num_notes / float(piece_seconds(pieces).sum()),
            nll_by_field=by_field,
            accuracy={f.name: per_note[f"hits_{f.name}"] for f in table if f.loss == fields.CATEGORICAL},
            error_milliseconds={f.name: per_note[f"error_{f.name}"] for f in table if f.kind == fields.TIME},
            deviations=deviations,
            num_notes=pieces.num_notes,
            end_cost=end_cost,
        )

    def _pass(
        self, pieces: Pieces, deviations: Mapping[str, float], between_chunks: Callable[[], None]
    ) -> tuple[dict[str, float], EndCost]:
        """The measures' means over the notes. Each replica adds up its own; they are summed once, at the end."""
        model, strategy = self._model, self._strategy
        spread = {name: tf.constant(value, tf.float64) for name, value in deviations.items()}
        totals = on_each(strategy, lambda _: tf.zeros([len(self._names) + 2 * len(end_shift.SHIFTS)], tf.float64))
        plan = plan_whole_pieces(
            pieces.num_events, chunk=self._chunk, batch_size=self._batch_size, replicas=strategy.num_replicas_in_sync
        )
        for chunks in plan:
            rows = len(chunks[0]) // strategy.num_replicas_in_sync
            state = on_each(strategy, functools.partial(self._zero_state, rows))
            for windows in chunks:
                batch = make_batch(
                    pieces,
                    windows,
                    table=model.table,
                    batch_size=len(windows),
                    start_bins=model.start_bins,
                    part=part_of(strategy),
                )
                totals, state = self._step(share_out(batch, strategy), state, totals, spread)
                between_chunks()
        sums = strategy.reduce(tf.distribute.ReduceOp.SUM, totals, axis=None).numpy()
        measured, ends = np.split(sums, [len(self._names)])
        per_note = dict(zip(self._names, np.divide(measured, pieces.num_notes).tolist(), strict=True))
        return per_note, EndCost.of_sums(ends, pieces.num_pieces)

    def _zero_state(self, rows: int, _replica: int) -> list[Any]:
        return self._model.zero_state(rows)

    def _step(
        self, batch: Any, state: Any, totals: Any, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, State]:
        if self._compiled is None:
            signature = [
                batch_signature(batch),
                tf.nest.map_structure(lambda value: free_shapes(value, 1), state),
                free_shapes(totals, 0),
                {name: tf.TensorSpec([], tf.float64) for name in deviations},
            ]
            self._compiled = tf.function(self._distributed_step, input_signature=signature, autograph=False)
        return self._compiled(batch, state, totals, deviations)

    def _distributed_step(
        self, batch: Any, state: Any, totals: Any, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, State]:
        return self._strategy.run(self._replica_step, args=(batch, state, totals, deviations))

    def _replica_step(
        self, batch: Mapping[str, tf.Tensor], state: State, totals: tf.Tensor, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, State]:
        rows = tf.shape(batch["bins"])[0]  # rows whose pieces have ended were dropped from the end
        flat = {f"state_{index}": value[:rows] for index, value in enumerate(tf.nest.flatten(state))}
        parts, states = batch_halves.split({**batch, **flat}, whole=("step_key",)), []
        with batch_halves.as_parts():
            # a function is traced once for all parts
            sums_of = tf.function(self._sums, autograph=False) if len(parts) > 1 else self._sums
            for part in parts:
                before = tf.nest.pack_sequence_as(state, [part.pop(name) for name in flat])
                sums, after = sums_of(part, before, deviations)
                totals += sums
                states.append(after)
        return totals, tf.nest.map_structure(lambda *values: tf.concat(values, axis=0), *states)

    def _sums(
        self, part: Mapping[str, tf.Tensor], before: State, deviations: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, State]:
        """What some rows add to the totals, and the state after them."""
        before = self._model.with_labels(before, part["labels"])
        outputs, after = self._model(part["previous"], part["bins"], before, raw=part["raw"], is_note=part["is_note"])
        measures = measure(self._model, outputs, part, deviations)
        is_event = (part["is_note"] + part["is_end"]) > 0
        sums = tf.stack([tf.reduce_sum(values) for values in measures])
        return tf.concat([sums, end_shift.sums(outputs.end_logit, is_event)], axis=0), after
