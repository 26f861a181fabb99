"""The bins of values, in TensorFlow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from midi_codec import fields


def encode_bins(field: fields.FieldSpec, values: tf.Tensor) -> tf.Tensor:
    """`[...]` int32, `FieldSpec.encode` in TensorFlow."""
    if field.kind == fields.CATEGORY:
        lookup = np.zeros(max(field.values) + 1, np.int32)
        lookup[list(field.values)] = np.arange(field.num_bins)
        return tf.gather(tf.constant(lookup), values)
    inner = np.array(field.edges[1:-1], np.int32)
    return tf.reduce_sum(tf.cast(values[..., None] >= inner, tf.int32), axis=-1)


def encode_notes(table: fields.FieldTable, raw: tf.Tensor) -> tf.Tensor:
    """`[..., num_fields]` int32, the bins of notes' values."""
    return tf.stack([encode_bins(field, raw[..., index]) for index, field in enumerate(table)], axis=-1)
