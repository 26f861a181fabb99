"""Several models as one network: in every field, and for END, the mean of their probabilities.

The interface of `Network`; parts, state and sight are lists, one a model. Each model conditions on the same notes, so
the mean of a field given those before it is again a distribution, and the log likelihood is that of the ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from generation_jobs.decoder.network import Network
from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import mixture


class Ensemble:
    """The models' networks side by side.

    Args:
      bundles: at least two, of one field table.
    """

    def __init__(self, bundles: Sequence[Bundle]):
        self._table = bundles[0].fields
        self._networks = [Network(bundle) for bundle in bundles]

    def zero_state(self, slots: int) -> list[Any]:
        return [network.zero_state(slots) for network in self._networks]

    def trunk(self, previous, state):
        made = [network.trunk(previous, own) for network, own in zip(self._networks, state, strict=True)]
        return [parts for parts, _ in made], [after for _, after in made]

    def end_logit(self, parts):
        logits = [network.end_logit(own) for network, own in zip(self._networks, parts, strict=True)]
        ends = tf.reduce_logsumexp(tf.math.log_sigmoid(tf.stack(logits)), axis=0)
        goes_on = tf.reduce_logsumexp(tf.math.log_sigmoid(-tf.stack(logits)), axis=0)
        return ends - goes_on

    def look(self, parts, state, step):
        return [network.look(p, s, step) for network, p, s in zip(self._networks, parts, state, strict=True)]

    def head(self, index: int, parts, bins, sight):
        """Log probabilities of a field's bins; of a mixture, all models' components, each model's as heavy."""
        sights = [None] * len(parts) if sight is None else sight
        outputs = [
            network.head(index, own, bins, seen)
            for network, own, seen in zip(self._networks, parts, sights, strict=True)
        ]
        if self._table.fields[index].loss == fields.MIXTURE:
            said = [mixture.Mixture.of(output) for output in outputs]
            columns = [getattr(one, name) for name in ("log_weights", "locations", "log_scales") for one in said]
            return tf.concat(columns, axis=-1)
        logs = tf.stack([tf.nn.log_softmax(output) for output in outputs])
        return tf.reduce_logsumexp(logs, axis=0) - math.log(len(outputs))

    def remember(self, state, values, sight):
        sights = [None] * len(state) if sight is None else sight
        return [n.remember(s, values, seen) for n, s, seen in zip(self._networks, state, sights, strict=True)]

    def consume(self, previous, values, state, counts):
        """As `Network.consume`, of each model."""
        return [
            network.consume(previous, values, own, counts) for network, own in zip(self._networks, state, strict=True)
        ]
