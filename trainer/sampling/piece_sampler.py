"""Draws whole pieces from a model while it is being trained, all at once, by one compiled loop over notes.

Unless asked for, nothing is left out and nothing sharpened (temperature 1): the pieces are draws from the distribution
whose likelihood is reported. Drawing reads the model's weights and changes nothing. It takes no part in a strategy's
collectives, so one worker may do it alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model.note_model import NoteModel, State
from trainer.model.pitch_context import PitchScores
from trainer.sampling import field_sampling


class Drawn(NamedTuple):
    """One piece.

    Attributes:
      values: `[num_notes, num_fields]` int32, at least one note.
      ended: whether END was drawn after the last note.
      log_likelihood: nats of all notes, and of END where it was drawn, under the model itself.
    """

    values: np.ndarray
    ended: bool
    log_likelihood: float


class PieceSampler:
    """Draws pieces from a model with its current weights.

    Args:
      model: the model; its weights are read at every draw.
      max_notes: of a piece.
      min_p: pitches less likely than this fraction of the likeliest are not drawn; 0: any is.
      ends: whether END is drawn; otherwise all pieces have `max_notes` notes.
      allow_duplicates: see `field_sampling.draw_note`.
      fast: compiles the loop with XLA, which takes seconds once and then makes it several times as fast. Not for
        variables of several devices.
    """

    def __init__(
        self,
        model: NoteModel,
        *,
        max_notes: int,
        min_p: float = 0.0,
        ends: bool = True,
        allow_duplicates: bool = True,
        fast: bool = False,
    ):
        self._model, self._max_notes, self._min_p, self._ends = model, max_notes, min_p, ends
        self._allow_duplicates = allow_duplicates
        self._draw = tf.function(self._draw_values, autograph=False, jit_compile=fast)

    def draw(self, deviations: Mapping[str, float], keys: np.ndarray) -> list[Drawn]:
        """One piece per key.

        Args:
          deviations: of MSE heads, the residual's standard deviation in ticks, by field.
          keys: `[num_pieces, 2]` uint32, a random stream per piece.
        """
        names = [field.name for field in self._model.table if field.loss == fields.MSE]
        values, *columns = self._draw(
            {name: tf.constant(deviations[name], tf.float64) for name in names}, tf.constant(keys)
        )
        rows = zip(values.numpy(), *(column.numpy().tolist() for column in columns), strict=True)
        return [Drawn(piece[:length], ended, log_likelihood) for piece, length, ended, log_likelihood in rows]

    def _draw_values(
        self, deviations: Mapping[str, tf.Tensor], keys: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """`[num_pieces, max_notes, num_fields]` int32, and of each piece its length, whether it ended, and its nats."""
        model, num_pieces, num_fields = self._model, keys.shape[0], len(self._model.table)

        def body(
            index: tf.Tensor,
            previous: tf.Tensor,
            state: State,
            running: tf.Tensor,
            lengths: tf.Tensor,
            ended: tf.Tensor,
            nats: tf.Tensor,
            values: Any,
        ) -> tuple:
            note, end_logit, is_end, state = self._draw_event(index, previous, state, deviations, keys)
            is_end &= self._ends & (index > 0)  # no dataset has a piece without notes
            event = tf.where(is_end, 0.0, note.log_likelihood) - tf.nn.softplus(tf.where(is_end, -end_logit, end_logit))
            nats += tf.where(running, event, 0.0)
            ended |= running & is_end
            running &= ~is_end
            lengths += tf.cast(running, tf.int32)
            return index + 1, note.bins, state, running, lengths, ended, nats, values.write(index, note.values)

        start = tf.tile(tf.constant(model.start_bins)[None], [num_pieces, 1])
        values = tf.TensorArray(tf.int32, self._max_notes, element_shape=[num_pieces, num_fields])
        none, every = tf.fill([num_pieces], False), tf.fill([num_pieces], True)
        counts, nats = tf.zeros([num_pieces], tf.int32), tf.zeros([num_pieces])
        begin = (0, start, model.zero_state(num_pieces), every, counts, none, nats)
        *_, lengths, ended, nats, values = tf.while_loop(
            lambda _index, _previous, _state, running, *_: tf.reduce_any(running),
            body,
            (*begin, values),
            parallel_iterations=1,
            maximum_iterations=self._max_notes,
        )
        return tf.transpose(values.stack(), [1, 0, 2]), lengths, ended, nats

    def _draw_event(
        self, index: tf.Tensor, previous: tf.Tensor, state: State, deviations: Mapping[str, tf.Tensor], keys: tf.Tensor
    ) -> tuple[field_sampling.DrawnNote, tf.Tensor, tf.Tensor, State]:
        """One note of every piece, END's logit, whether END is drawn instead, and the state after the note."""
        model, num_pieces, table = self._model, keys.shape[0], self._model.table
        free = field_sampling.RowSettings(tf.ones([num_pieces]))
        likely = dataclasses.replace(free, min_p=tf.fill([num_pieces], self._min_p)) if self._min_p else free
        h, state = model.trunk(previous[:, None, :], state)
        head_inputs = model.head_inputs(h, state)
        indices = tf.fill([num_pieces], index)
        uniforms = field_sampling.note_uniforms(keys, indices, len(table))
        candidates, end_logit = model.candidates(state), head_inputs[:, model.end_column]
        is_end = field_sampling.draw_end(tf.sigmoid(end_logit), uniforms[:, 0], free)
        scores: list[PitchScores | None] = [None]

        def head(field_index: int, bins: Sequence[tf.Tensor], values: Sequence[tf.Tensor]) -> tf.Tensor:
            if table.fields[field_index].name == "pitch":
                scores[0] = model.score_pitches(state, head_inputs, values[table.names.index("step")])
            return model.head(field_index, head_inputs, bins, scores[0], candidates)

        note = field_sampling.draw_note(
            table,
            head,
            uniforms[:, 1:],
            [likely if field.name == "pitch" else free for field in table],
            previous=previous,
            is_first=indices == 0,
            deviations=deviations,
            allow_duplicates=self._allow_duplicates,
        )
        return note, end_logit, is_end, model.remember(state, note.values, scores[0])
