"""A bundle's weights as the decoder needs them.

The first layer's input product is folded into the embedding tables: a row per bin holds what it adds to the gates'
sums. In the other layers the input kernel and the recurrent kernel are stacked, for one product; in the first layer too
when a context adds to its input. A layer norm's scale and shift are folded into the kernel and bias that follow, and
tied output kernels are multiplied out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model import pitch_context
from trainer.model.heads import tied_kernel
from trainer.model.model_config import ModelConfig

Arrays = tuple[np.ndarray, ...]


def fold(
    weights: dict[str, np.ndarray], table: fields.FieldTable, config: ModelConfig, operand: tf.DType
) -> dict[str, Any]:
    """The bundle's weights as `Network` needs them; kernels of products with the state are transposed."""
    layers = [_folded_layer(weights, config, index) for index in range(config.layers)]
    kernel, recurrent, bias = zip(*layers, strict=True)
    tables = [weights[f"embedding_{field.name}"] @ kernel[0] for field in table]
    tables[0] = tables[0] + bias[0] + sum(weights[f"label_{label.name}"][0] @ kernel[0] for label in table.labels)
    first = [np.zeros_like(kernel[0][:0]) if not config.context_units else kernel[0]]
    stacked = [np.concatenate(pair) for pair in zip([*first, *kernel[1:]], recurrent, strict=True)]
    head_kernel, head_bias = _folded_norm(weights, config, config.layers, weights["head_kernel"], weights["head_bias"])
    if config.context_units:
        above = weights[f"{pitch_context.NAME}/above_kernel"]
        above = np.pad(above, [[0, 0], [0, head_kernel.shape[1] - above.shape[1]]])
        head_kernel = np.concatenate([head_kernel, above])
    return {
        "tables": [tf.constant(t) for t in tables],
        "lstm_kernels": [tf.cast(tf.constant(k.T), operand) for k in stacked],
        "lstm_biases": [tf.constant(b) for b in bias],
        "head_kernel": tf.cast(tf.constant(head_kernel.T), operand),
        "head_bias": tf.constant(head_bias),
        "conditions": [
            [tf.constant(weights[f"condition_{field.name}_{other.name}"]) for other in table.fields[:index]]
            for index, field in enumerate(table)
        ],
        "output_kernels": [_output_kernel(weights, field) for field in table],
        "output_biases": [tf.constant(weights[f"output_bias_{field.name}"]) for field in table],
    }


def label_rows(weights: dict[str, np.ndarray], table: fields.FieldTable, config: ModelConfig) -> dict[str, np.ndarray]:
    """By label, `[values, 4 units]`: what each value adds to the first layer's gates, compared with an unknown one."""
    kernel, _, _ = _folded_layer(weights, config, 0)
    tables = {label.name: weights[f"label_{label.name}"] for label in table.labels}
    return {name: (rows - rows[0]) @ kernel for name, rows in tables.items()}


def _folded_layer(weights: dict[str, np.ndarray], config: ModelConfig, layer: int) -> Arrays:
    """Kernel, recurrent kernel and bias of an LSTM layer, with the layer norm before it folded in."""
    kernel, recurrent, bias = (
        weights[f"lstm_{layer}/lstm_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    kernel, bias = _folded_norm(weights, config, layer, kernel, bias)
    return kernel, recurrent, bias


def _folded_norm(
    weights: dict[str, np.ndarray], config: ModelConfig, index: int, kernel: np.ndarray, bias: np.ndarray
) -> Arrays:
    """Kernel and bias that do to standardised inputs what the given ones do to normalised inputs."""
    if not config.layer_norm or index == 0:
        return kernel, bias
    scale, shift = weights[f"norm_{index}_scale"], weights[f"norm_{index}_shift"]
    return scale[:, None] * kernel, bias + shift @ kernel


def _output_kernel(weights: dict[str, np.ndarray], field: fields.FieldSpec) -> tf.Tensor:
    projection = weights.get(f"output_projection_{field.name}")
    if projection is None:
        return tf.constant(weights[f"output_kernel_{field.name}"])
    return tied_kernel(field, projection, weights[f"embedding_{field.name}"])
