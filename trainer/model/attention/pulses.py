"""When the next chord begins if the time between chords is that of before: candidates for the step of played music.

Played times are never quite equal, so no match names them. But music keeps its beat, or alternates between two or three
times: a chord often begins as long after the last one as one of the last `NUM_PULSES` chords began after its own. A
chord is a note and those that follow it by at most `Sources.chord` ticks each. Times are taken from the middles of the
steps' bins.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model.attention.matches import MISSING
from trainer.model.attention.sources import NUM_PULSES, Sources
from trainer.model.field_bins import encode_bins


def of_events(table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor) -> tf.Tensor:
    """`[rows, time, NUM_PULSES, num_fields]` int32 bins, `MISSING` but in the step.

    Args:
      table: the fields.
      sources: what is copied.
      columns: `[rows, num_fields, size + time]` int32; event t comes after note t + size and sees as many notes.
    """
    field, step = table["step"], columns[:, table.names.index("step")]
    middles = tf.constant((field.lows + (field.spans - 1) // 2).astype(np.int32))
    onset = tf.cumsum(tf.where(step >= 0, tf.gather(middles, tf.maximum(step, 0)), 0), axis=1)
    chord = tf.cumsum(tf.cast(step > sources.chord_bin(table), tf.int32), axis=1)  # the number of each note's chord
    now, last = onset[:, sources.size :, None], chord[:, sources.size :, None]
    wanted = last - tf.range(NUM_PULSES + 1)  # the last chords of each event
    if columns.shape[2] == sources.size + 1:  # faster than a search in the decoder
        begin = tf.reduce_sum(tf.cast(chord[:, None, None] < wanted[..., None], tf.int32), axis=3)
    else:
        flat = tf.reshape(wanted, [tf.shape(chord)[0], -1])
        begin = tf.reshape(tf.searchsorted(chord, flat), tf.shape(wanted))
    is_seen = (wanted > 0) & (begin >= tf.range(tf.shape(now)[1])[:, None])
    began = tf.gather(onset, begin, axis=1, batch_dims=1)
    times = began[..., :-1] - began[..., 1:]
    wait = began[..., :1] + times - now
    exists = is_seen[..., 1:] & (wait > sources.chord)
    bins = tf.where(exists, encode_bins(field, tf.maximum(wait, 0)), MISSING)
    missing = tf.fill(tf.shape(bins), MISSING)
    return tf.stack([bins if name == "step" else missing for name in table.names], axis=3)
