"""A network that is told a piece's labels more than once: classifier-free guidance (Ho and Salimans 2022).

    logits = without labels + guidance * (with labels - without labels)

for every field and for END. It keeps two states, and takes twice the time. It has the interface of `Network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.network import Network
from generation_jobs.settings.label_weights import Condition


class Pair(NamedTuple):
    """States or head inputs with and without the labels, and `[slots]` float32."""

    told: Any
    untold: Any
    guidance: tf.Tensor


class Guided:
    """A network, or an ensemble, with and without labels."""

    def __init__(self, network: Network | Ensemble) -> None:
        self._network = network

    def zero_state(self, slots: int, conditions: Sequence[Condition] | None = None) -> Pair:
        guidance = [1.0] * slots if conditions is None else [each.guidance for each in conditions]
        network = self._network
        return Pair(network.zero_state(slots, conditions), network.zero_state(slots), tf.constant(guidance, tf.float32))

    def by_feature(self, state: Pair) -> Pair:
        return Pair(self._network.by_feature(state.told), self._network.by_feature(state.untold), state.guidance)

    def by_row(self, state: Pair) -> Pair:
        return Pair(self._network.by_row(state.told), self._network.by_row(state.untold), state.guidance)

    def trunk(self, previous: tf.Tensor, state: Pair, copying_amount: tf.Tensor | None = None) -> tuple[Pair, Pair]:
        told, after_told = self._network.trunk(previous, state.told, copying_amount)
        untold, after_untold = self._network.trunk(previous, state.untold, copying_amount)
        return Pair(told, untold, state.guidance), Pair(after_told, after_untold, state.guidance)

    def end_logit(self, head_inputs: Pair) -> tf.Tensor:
        told, untold = (self._network.end_logit(own) for own in head_inputs[:2])
        return untold + head_inputs.guidance * (told - untold)

    def score_pitches(self, head_inputs: Pair, state: Pair, step: tf.Tensor) -> tuple[Any, Any]:
        told = self._network.score_pitches(head_inputs.told, state.told, step)
        return told, self._network.score_pitches(head_inputs.untold, state.untold, step)

    def head(
        self, index: int, head_inputs: Pair, bins: Sequence[tf.Tensor], pitch_scores: tuple[Any, Any] | None
    ) -> tf.Tensor:
        """Logits of a field's bins; all fields have classes."""
        scores = (None, None) if pitch_scores is None else pitch_scores
        told, untold = (
            self._network.head(index, own, bins, own_scores)
            for own, own_scores in zip(head_inputs[:2], scores, strict=True)
        )
        return untold + head_inputs.guidance[:, None] * (told - untold)

    def remember(self, state: Pair, values: tf.Tensor, pitch_scores: tuple[Any, Any] | None) -> Pair:
        scores = (None, None) if pitch_scores is None else pitch_scores
        told = self._network.remember(state.told, values, scores[0])
        return Pair(told, self._network.remember(state.untold, values, scores[1]), state.guidance)

    def consume(self, previous: tf.Tensor, values: tf.Tensor, state: Pair, counts: tf.Tensor) -> Pair:
        """As `Network.consume`, for both states."""
        told, untold = (self._network.consume(previous, values, own, counts) for own in state[:2])
        return Pair(told, untold, state.guidance)
