"""The upper part of the note model: one head per field, each of which sees the fields of its note before it.

    head of field k:  relu(k-th part of the head inputs + embeddings of fields 1..k-1 of this same note) -> output of k

The head inputs are one product with h: every head's hidden layer before the note's own fields are added, then END's
logit, then what a context asks of h. The outputs are those of `trainer.model.heads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import context
from trainer.model.attention import copying
from trainer.model.attention.past import Candidates
from trainer.model.heads import HeadOutputs, head_output, tied_kernel
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import PitchScores
from trainer.model.recurrent import hoisted_lstm

END_COLUMNS = fields_lib.WIDTH_MULTIPLE  # the first is END's logit; the others keep the product's width a multiple


class _Parts(NamedTuple):
    """The head inputs: each head's hidden layer, END's columns, each head's queries of what to copy."""

    hidden: list[tf.Tensor]
    end: tf.Tensor
    queries: list[tf.Tensor]


class HeadStack:
    """The heads, applied.

    Args:
      config: of the model.
      table: the fields.
      precision: of the products that give the head inputs.
      kernel, bias: of that product.
      conditions: embeddings `[num_bins, head_units]` by (field, earlier field).
      output_kernels, output_biases: of each field.
      embeddings: of each field, for tied output kernels.
    """

    def __init__(
        self,
        config: ModelConfig,
        table: fields_lib.FieldTable,
        *,
        precision: str,
        kernel: keras.Variable,
        bias: keras.Variable,
        conditions: Mapping[tuple[str, str], keras.Variable],
        output_kernels: Sequence[keras.Variable],
        output_biases: Sequence[keras.Variable],
        embeddings: Sequence[keras.Variable],
        copy_weights: copying.Copying | None = None,
    ):
        self._config, self._table, self._precision = config, table, precision
        self._kernel, self._bias, self._conditions = kernel, bias, conditions
        self._output_kernels, self._output_biases = output_kernels, output_biases
        self._embeddings, self._copying = embeddings, copy_weights

    def inputs(self, h: tf.Tensor) -> tf.Tensor:
        """`[..., width]`, the head inputs, from h `[..., units]`."""
        operand = hoisted_lstm.operand_rounding(self._precision)
        return tf.cast(tf.tensordot(operand(h), operand(self._kernel), 1), tf.float32) + self._bias

    def outputs(
        self,
        head_inputs: tf.Tensor,
        current: tf.Tensor,
        scores: PitchScores | None,
        candidates: Candidates | None = None,
    ) -> HeadOutputs:
        """Every head's output for a whole window.

        Args:
          head_inputs: `[batch, time, width]`.
          current: `[batch, time, num_fields]` int32, bins of the notes predicted.
          scores: of a context, or None.
        """
        bins = [current[..., index] for index in range(len(self._table))]
        parts = self._parts(head_inputs)
        outputs = {
            field.name: self._output(index, parts, bins[:index], scores, candidates)
            for index, field in enumerate(self._table)
        }
        return HeadOutputs(end_logit=parts.end[..., 0], fields=outputs)

    def with_levels(self, head_inputs: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """The head inputs with what the heads see of how much matches."""
        assert self._copying is not None
        gap = copy_column(self._table, self._config) - query_column(self._table, self._config)
        operand = hoisted_lstm.operand_rounding(self._precision)
        return head_inputs + copying.level_inputs(
            self._copying.tensors, self._table, candidates, gap=gap, operand=operand
        )

    def output(
        self,
        index: int,
        head_inputs: tf.Tensor,
        bins: Sequence[tf.Tensor],
        scores: PitchScores | None,
        candidates: Candidates | None = None,
    ) -> tf.Tensor:
        """The output of one head; arguments as for `trainer.model.note_model.NoteModel.head`."""
        return self._output(index, self._parts(head_inputs), bins, scores, candidates)

    def _parts(self, head_inputs: tf.Tensor) -> _Parts:
        """Split once: the gradient of a slice is as wide as what it was cut from."""
        config, num_fields = self._config, len(self._table)
        sizes = [config.head_units] * num_fields + [END_COLUMNS, 3 * config.context_units]
        if (sources := config.sources) is not None:
            sizes += [sources.num_candidates] * num_fields
        rest = int(head_inputs.shape[-1]) - sum(sizes)
        parts = tf.split(head_inputs, [*sizes, rest], axis=-1)
        return _Parts(parts[:num_fields], parts[num_fields], parts[num_fields + 2 : -1])

    def _output(
        self,
        index: int,
        parts: _Parts,
        bins: Sequence[tf.Tensor],
        scores: PitchScores | None,
        candidates: Candidates | None,
    ) -> tf.Tensor:
        field, hidden = self._table.fields[index], parts.hidden[index]
        for other, other_bins in zip(self._table.fields[:index], bins, strict=True):
            hidden += tf.gather(self._conditions[field.name, other.name], other_bins)
        # A bfloat16 product would round logits, and a mixture's locations, to three digits.
        product = tf.tensordot(tf.nn.relu(hidden), self._output_kernel(index), 1)
        if field.name == "pitch" and scores is not None:
            added = context.on_pitch_axis(scores.scores, field.width)
            product += added if len(product.shape) == 3 else added[:, 0]
        if candidates is not None and field.loss == fields_lib.CATEGORICAL:
            assert self._copying is not None
            queries = parts.queries[index]
            if len(product.shape) == 2:  # of one event
                queries, bins = queries[:, None], [column[:, None] for column in bins]
            added = copying.added_logits(self._copying.tensors, self._table, index, candidates, queries, bins)
            product += tf.reshape(added, tf.shape(product))
        return head_output(field, product, tf.convert_to_tensor(self._output_biases[index]))

    def _output_kernel(self, index: int) -> tf.Tensor | keras.Variable:
        field, kernel = self._table.fields[index], self._output_kernels[index]
        return tied_kernel(field, kernel, self._embeddings[index]) if is_tied(field, self._config) else kernel


def end_column(table: fields_lib.FieldTable, config: ModelConfig) -> int:
    """The column of the head inputs that holds END's logit."""
    return len(table) * config.head_units


def query_column(table: fields_lib.FieldTable, config: ModelConfig) -> int:
    """The first column of the head inputs that a context takes."""
    return end_column(table, config) + END_COLUMNS


def copy_column(table: fields_lib.FieldTable, config: ModelConfig) -> int:
    """The first column of the head inputs that copying takes."""
    return query_column(table, config) + 3 * config.context_units


def is_tied(field: fields_lib.FieldSpec, config: ModelConfig) -> bool:
    """Whether the head takes its output kernel from the field's embedding table."""
    return config.tied_embeddings and field.loss == fields_lib.CATEGORICAL
