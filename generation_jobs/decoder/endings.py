"""Where pieces end, for requests with `steer_end`: not too soon, and not amid a phrase because a limit was met.

Early ends: the probability that a piece has ended by its n-th note never exceeds the share of the corpus's pieces that
have at most n notes. END's probability is lowered as far as that takes, up to the length of the shortest 5 %. So this
holds for each piece by itself, whatever the model says, and hence for any number of pieces.

Limits: a piece that would be cut ends at the best place among its last notes: where END is likely and the next note far
away. To look back is exact where an offset that rises towards the limit would have to guess which places are to come.
The likelihood remains the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer import piece_lengths
from trainer.bundle import Bundle

LAST_SHARE, LAST_NOTES = 4, 64  # a piece that met a limit ends within the last quarter of its notes, at most 64


class Events(NamedTuple):
    """What was drawn for a piece, an event per row.

    Attributes:
      values: `[events, num_fields]` int32, a note.
      is_drawn: `[events]` bool, whether it belongs to the piece: False for END and beyond a limit.
      log_likelihood: `[events]` float32; 0 beyond a limit.
      end_logit: `[events]` float32, the log odds that the piece ends before the note.
    """

    values: np.ndarray
    is_drawn: np.ndarray
    log_likelihood: np.ndarray
    end_logit: np.ndarray


def end_before_limit(events: Events, table: fields.FieldTable) -> Events:
    """The events of a piece that met a limit up to the best place for an end, where END takes the note's place."""
    num_notes = int(events.is_drawn.sum())
    first = num_notes - min(num_notes // LAST_SHARE, LAST_NOTES)
    best = first + int(np.argmax(_merits(events, table)[first : num_notes + 1]))
    is_drawn, log_likelihood = events.is_drawn[: best + 1].copy(), events.log_likelihood[: best + 1].copy()
    is_drawn[best], log_likelihood[best] = False, -np.logaddexp(0.0, -events.end_logit[best])
    return Events(events.values[: best + 1], is_drawn, log_likelihood, events.end_logit[: best + 1])


def _merits(events: Events, table: fields.FieldTable) -> np.ndarray:
    """`[events]` float64: END's log odds and the log of the time until the next note; low amid a chord."""
    step = events.values[:, table.names.index("step")]
    return events.end_logit.astype(np.float64) + np.log(np.maximum(step, 1e-9))


class EarlyEnds:
    """What the bundles' corpora say about short pieces; nothing for bundles of earlier versions.

    Of an ensemble's corpora, the one with the fewest short pieces counts at each length.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        shares = [piece_lengths.short_shares(bundle.dataset.get("notes_per_piece", {})) for bundle in bundles]
        size = max(map(len, shares))
        padded = [np.pad(own, (0, size - len(own)), constant_values=1.0) for own in shares]
        self._shares = np.minimum.reduce(padded).astype(np.float32)

    def share(self, position: tf.Tensor) -> tf.Tensor:
        """`[rows]` float32, the share of pieces with fewer notes; what a piece with these notes has behind it."""
        if not len(self._shares):
            return tf.zeros(tf.shape(position))
        last = len(self._shares) - 1
        return tf.where(position > 0, tf.gather(self._shares, tf.clip_by_value(position - 1, 0, last)), 0.0)

    def limit(
        self, probability: tf.Tensor, position: tf.Tensor, before: tf.Tensor, steers: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """END's probability, lowered where it is too early, and the share of pieces that have ended after the event.

        Args:
          probability: `[rows]` float32, the model's own.
          position: `[rows]` int32, the notes that the piece would have.
          before: `[rows]` float32, the share that has ended before.
          steers: `[rows]` bool, whether the rows ask for it.
        """
        if not len(self._shares):
            return probability, before
        share = tf.gather(self._shares, tf.minimum(position, len(self._shares) - 1))
        is_early = steers & (position < len(self._shares))
        allowed = tf.maximum(share - before, 0.0) / (1.0 - before)
        probability = tf.where(is_early, tf.minimum(probability, allowed), probability)
        return probability, tf.where(is_early, before + (1.0 - before) * probability, before)
