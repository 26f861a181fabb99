"""How the note model uses a context: a whole window at once in training, one event at a time in sampling.

The arithmetic is in `trainer.model.context` (notes on the pitch axis) and `trainer.model.pitch_context` (weights); here
it is put in the order in which a model needs it. What is known of a note at its own event, such as what was around its
pitch, becomes an input at the next event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from midi_codec.fields import FieldTable
from trainer.model import context, pitch_context
from trainer.model.head_stack import query_column
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import NotesSoFar, PitchContext, PitchScores
from trainer.model.recurrent import dropout


class WindowContext(NamedTuple):
    """What the notes so far say of every event of a window.

    Attributes:
      notes: the notes before the window and those of it.
      onset: `[rows, time]` int32, of the events.
      surroundings: of the events.
      around: `[rows, time, around_size]`, what is around each event's own pitch.
    """

    notes: context.Memory
    onset: tf.Tensor
    surroundings: context.Surroundings
    around: tf.Tensor


class ContextReader:
    """A `PitchContext` in a note model.

    Args:
      layer: the weights.
      config: of the model.
      table: the fields.
      dropout_stream: the random stream that drops its hidden units.
    """

    def __init__(self, layer: PitchContext, config: ModelConfig, table: FieldTable, *, dropout_stream: int):
        self._layer, self._config, self._table, self._dropout_stream = layer, config, table, dropout_stream

    def empty_state(self, rows: int | tf.Tensor) -> NotesSoFar:
        """The state of pieces that have not begun."""
        config = self._config
        return pitch_context.nothing_so_far(
            rows, notes=config.context_notes, lags=config.context_lags, units=config.context_units
        )

    def state_before(self, batch: Mapping[str, Any]) -> NotesSoFar:
        """The state at the start of a batch's windows, from the notes before them."""
        rows = tf.shape(batch["bins"])[0]
        seen = slice(-self._config.context_notes, None)  # copying may see more
        before, is_note = batch["before"][:, seen], batch["before_is_note"][:, seen]
        last = context.memory_before(self._table, before, is_note, batch["before_tick"])
        empty_note = context.empty_memory(rows, 1)
        earlier = context.Memory(*(tf.concat(pair, axis=1) for pair in zip(empty_note, last, strict=True)))
        surroundings = self._surroundings(earlier, earlier.onset[:, -1:])
        around = context.around(surroundings, last.pitch[:, -1:])
        above = tf.zeros([tf.shape(last.pitch)[0], pitch_context.above_size(self._config.context_units)])
        return NotesSoFar(last, around[:, 0], surroundings.chord_size[:, 0], above)

    def window(self, so_far: NotesSoFar, raw: tf.Tensor, is_note: tf.Tensor) -> WindowContext:
        """Places the notes before each event of a window on the pitch axis.

        Args:
          so_far: at the start of the window.
          raw: `[rows, time, num_fields]` int32, values of the window's notes.
          is_note: `[rows, time]`, 0 where there is none.
        """
        notes = context.remember(so_far.memory, self._table, raw, is_note)
        size = self._config.context_notes
        onset = notes.onset[:, size:]
        surroundings = self._surroundings(notes, onset)
        return WindowContext(notes, onset, surroundings, context.around(surroundings, notes.pitch[:, size:]))

    def window_inputs(self, so_far: NotesSoFar, window: WindowContext) -> tf.Tensor:
        """`[rows, time, units]`, what the LSTM sees at each event: what was known of the note before."""
        size, sizes = self._config.context_notes, window.surroundings.chord_size
        seen = tf.concat([so_far.around[:, None], window.around[:, :-1]], axis=1)
        chord_size = tf.concat([so_far.chord_size[:, None], sizes[:, :-1]], axis=1)
        return self._layer.inputs(seen, tf.maximum(window.notes.onset[:, size - 1 : -1], 0), chord_size)

    def score_window(
        self, so_far: NotesSoFar, window: WindowContext, head_inputs: tf.Tensor, dropout_keys: tf.Tensor | None
    ) -> tuple[tf.Tensor, PitchScores, NotesSoFar]:
        """Scores every pitch at every event.

        Args:
          so_far: at the start of the window.
          window: of `window`.
          head_inputs: `[rows, time, width]`.
          dropout_keys: `[rows, 2]` uint32, or None.

        Returns:
          the head inputs with what was above the note before, the scores, and the state after the window.
        """
        size = self._config.context_notes
        scores = self._scores(window.surroundings, window.onset, head_inputs, dropout_keys)
        above = pitch_context.above(scores, window.notes.pitch[:, size:])
        head_inputs = self.with_above(head_inputs, tf.concat([so_far.above[:, None], above[:, :-1]], axis=1))
        after = NotesSoFar(
            context.newest(window.notes, size),
            window.around[:, -1],
            window.surroundings.chord_size[:, -1],
            above[:, -1],
        )
        return head_inputs, scores, after

    def event_inputs(self, so_far: NotesSoFar) -> tf.Tensor:
        """`[rows, 1, units]`, what the LSTM sees at one event."""
        return self._layer.inputs(so_far.around[:, None], so_far.now, so_far.chord_size[:, None])

    def score_event(self, so_far: NotesSoFar, head_inputs: tf.Tensor, step: tf.Tensor) -> PitchScores:
        """Scores every pitch at one event.

        Args:
          so_far: before the event.
          head_inputs: `[rows, width]`.
          step: `[rows]` int32, ticks since the note before.
        """
        onset = so_far.now + step[:, None]
        return self._scores(self._surroundings(so_far.memory, onset), onset, head_inputs[:, None])

    def with_above(self, head_inputs: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
        """The head inputs with what was above the note before: whether its chord continues depends on that."""
        added = tf.tensordot(above, self._layer.above_kernel, 1)
        return head_inputs + tf.pad(added, [[0, 0], [0, 0], [0, head_inputs.shape[-1] - added.shape[-1]]])

    def _scores(
        self,
        surroundings: context.Surroundings,
        onset: tf.Tensor,
        head_inputs: tf.Tensor,
        dropout_keys: tf.Tensor | None = None,
    ) -> PitchScores:
        keep = dropout.keep_units(
            dropout_keys,
            rate=self._config.dropout,
            stream=self._dropout_stream,
            width=self._config.context_units,
        )
        first = query_column(self._table, self._config)
        return self._layer(surroundings, onset, head_inputs[..., first : first + self._layer.query_units], keep)

    def _surroundings(self, earlier: context.Memory, onset: tf.Tensor) -> context.Surroundings:
        config = self._config
        return context.surroundings(
            earlier, onset, notes=config.context_notes, lags=config.context_lags, time_base=self._table.time_base
        )
