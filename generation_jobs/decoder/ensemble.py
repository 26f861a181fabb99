"""Several models as one network: in every field, and for END, the mean of their probabilities.

It has the interface of `Network`; head inputs, states and pitch scores are lists, one item per model. Each model
conditions on the same notes, so the mean of a field given those before it is again a distribution, and the log
likelihood is the ensemble's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from generation_jobs.decoder.network import Network
from generation_jobs.settings.label_weights import Condition
from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import mixture
from trainer.model.precision import FLOAT32

PerModel = list[Any]


class Ensemble:
    """The models' networks side by side.

    Args:
      bundles: at least two, with the same field table.
      precision: of the products.
    """

    def __init__(self, bundles: Sequence[Bundle], precision: str = FLOAT32) -> None:
        self._table = bundles[0].fields
        self._networks = [Network(bundle, precision) for bundle in bundles]

    def zero_state(self, slots: int, conditions: Sequence[Condition] | None = None) -> PerModel:
        return [network.zero_state(slots, conditions) for network in self._networks]

    def by_feature(self, state: PerModel) -> PerModel:
        return [network.by_feature(own) for network, own in zip(self._networks, state, strict=True)]

    def by_row(self, state: PerModel) -> PerModel:
        return [network.by_row(own) for network, own in zip(self._networks, state, strict=True)]

    def trunk(
        self, previous: tf.Tensor, state: PerModel, copying_amount: tf.Tensor | None = None
    ) -> tuple[PerModel, PerModel]:
        networks = zip(self._networks, state, strict=True)
        pairs = [network.trunk(previous, own, copying_amount) for network, own in networks]
        return [head_inputs for head_inputs, _ in pairs], [after for _, after in pairs]

    def end_logit(self, head_inputs: PerModel) -> tf.Tensor:
        logits = [network.end_logit(own) for network, own in zip(self._networks, head_inputs, strict=True)]
        ends = tf.reduce_logsumexp(tf.math.log_sigmoid(tf.stack(logits)), axis=0)
        continues = tf.reduce_logsumexp(tf.math.log_sigmoid(-tf.stack(logits)), axis=0)
        return ends - continues

    def score_pitches(self, head_inputs: PerModel, state: PerModel, step: tf.Tensor) -> PerModel:
        return [
            network.score_pitches(own, before, step)
            for network, own, before in zip(self._networks, head_inputs, state, strict=True)
        ]

    def head(
        self, index: int, head_inputs: PerModel, bins: Sequence[tf.Tensor], pitch_scores: PerModel | None
    ) -> tf.Tensor:
        """Log probabilities of a field's bins; of a mixture, all models' components, with equal weight per model."""
        scores = [None] * len(head_inputs) if pitch_scores is None else pitch_scores
        outputs = [
            network.head(index, own, bins, own_scores)
            for network, own, own_scores in zip(self._networks, head_inputs, scores, strict=True)
        ]
        if self._table.fields[index].loss == fields.MIXTURE:
            mixtures = [mixture.Mixture.of(output) for output in outputs]
            columns = [getattr(own, name) for name in ("log_weights", "locations", "log_scales") for own in mixtures]
            return tf.concat(columns, axis=-1)
        logs = tf.stack([tf.nn.log_softmax(output) for output in outputs])
        return tf.reduce_logsumexp(logs, axis=0) - math.log(len(outputs))

    def remember(self, state: PerModel, values: tf.Tensor, pitch_scores: PerModel | None) -> PerModel:
        scores = [None] * len(state) if pitch_scores is None else pitch_scores
        return [
            network.remember(own, values, own_scores)
            for network, own, own_scores in zip(self._networks, state, scores, strict=True)
        ]

    def consume(self, previous: tf.Tensor, values: tf.Tensor, state: PerModel, counts: tf.Tensor) -> PerModel:
        """As `Network.consume`, for each model."""
        return [
            network.consume(previous, values, own, counts) for network, own in zip(self._networks, state, strict=True)
        ]
