"""The lower part of the note model: from the note before to what the heads see.

    previous note's bins --embed, add--> [batch, time, units] --LSTM layers--> h

Layer norm (Ba et al. 2016) and residual links are outside the LSTM's cell, so that a GPU can use cuDNN's kernels: the
layers above the first see norm(x) and give x + LSTM(norm(x)), the heads see norm(x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from midi_codec.fields import FieldTable
from trainer.model.heads import standardise
from trainer.model.model_config import ModelConfig
from trainer.model.recurrent import dropout, lstm

LayerState = tuple[tf.Tensor, tf.Tensor]  # h and c, each `[batch, units]`


class RecurrentStack:
    """Embeddings and LSTM layers, applied.

    Args:
      config: of the model.
      table: the fields.
      embeddings: a table per field, `[num_bins + 1, units]`.
      lstm_layers: from the lowest up.
      norms: scale and shift `[units]`, by the index of the layer they precede; for the heads the index is `layers`.
    """

    def __init__(
        self,
        config: ModelConfig,
        table: FieldTable,
        *,
        embeddings: Sequence[keras.Variable],
        lstm_layers: Sequence[lstm.LSTM],
        norms: Mapping[int, tuple[keras.Variable, keras.Variable]],
    ):
        self._config, self._table = config, table
        self._embeddings, self._lstm_layers, self._norms = embeddings, lstm_layers, norms

    def __call__(
        self,
        previous: tf.Tensor,
        context_inputs: tf.Tensor | None,
        state: Sequence[LayerState],
        dropout_keys: tf.Tensor | None,
        step_key: tf.Tensor | None,
    ) -> tuple[tf.Tensor, list[LayerState]]:
        """What the heads see, `[batch, time, units]`, and the layers' states afterwards.

        Args:
          previous: `[batch, time, num_fields]` int32, bins of the note before.
          context_inputs: `[batch, time, units]` that is added to the embeddings, or None.
          state: of each layer.
          dropout_keys, step_key: see `trainer.model.note_model.NoteModel`.
        """
        x = self.embed(previous, dropout_keys)
        if context_inputs is not None:
            x += context_inputs
        new_state = []
        for index, (layer, (h, c)) in enumerate(zip(self._lstm_layers, state, strict=True)):
            inputs, kernel = self._inputs(x, dropout_keys, index), self.recurrent_kernel(index, step_key)
            output, h, c = layer(inputs, initial_state=[h, c], recurrent_kernel=kernel)
            x = x + output if self._config.residual and index > 0 else output
            new_state.append((h, c))
        return self._inputs(x, dropout_keys, len(self._lstm_layers)), new_state

    def embed(self, previous: tf.Tensor, keys: tf.Tensor | None) -> tf.Tensor:
        """`[batch, time, units]`, the sum of the fields' embeddings."""
        rows = []
        for index, (field, table) in enumerate(zip(self._table, self._embeddings, strict=True)):
            row = dropout.drop_symbols(
                tf.gather(table, previous[..., index]),
                previous[..., index],
                keys,
                num_symbols=field.num_bins + 1,
                rate=self._config.embedding_dropout,
                stream=len(self._lstm_layers) + 1 + index,  # lower streams drop the inputs of layers and heads
            )
            rows.append(row)
        return tf.add_n(rows)

    def recurrent_kernel(self, index: int, step_key: tf.Tensor | None) -> tf.Tensor | None:
        """A layer's recurrent kernel without the weights that are dropped; None if none is."""
        kernel = self._lstm_layers[index].cell.recurrent_kernel
        return dropout.drop_weights(kernel, step_key, rate=self._config.recurrent_dropout, stream=index)

    def _inputs(self, x: tf.Tensor, keys: tf.Tensor | None, index: int) -> tf.Tensor:
        """What layer `index` sees of x, or what the heads see above the last layer."""
        return dropout.drop_units(self._norm(x, index), keys, rate=self._config.dropout, stream=index)

    def _norm(self, x: tf.Tensor, index: int) -> tf.Tensor:
        if index not in self._norms:
            return x
        scale, shift = self._norms[index]
        return standardise(x) * scale + shift
