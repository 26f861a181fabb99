"""A whole run of fine-tuning: the loop of `trainer.training.loop` with the step and batches of one of two objectives.

Which model is kept: the one with the best figure of the objective that is near enough to the start.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from job_runtime import storage
from job_runtime.command import StopSignal
from midi_codec.dataset import split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.measures import thresholds
from midi_codec.measures.music_measures import Part
from midi_codec.measures.thresholds import Screen
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.split_cache import default_folder, load_split
from trainer.distribution import cluster
from trainer.finetuning import rewards
from trainer.finetuning.config import FinetuneConfig, PairConfig, RewardConfig
from trainer.finetuning.pair_plan import NamedPair, PairPlan, lay_out_pairs, split_pairs
from trainer.finetuning.rewards import Reward
from trainer.run_output import checkpoint, run_folder
from trainer.run_output.run_state import RunState
from trainer.training import transfer, whole_run
from trainer.training.hooks import Hooks, Score
from trainer.training.run_checks import RunInputs
from trainer.training.whole_run import Outcome

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.data.batches import Batch
    from trainer.evaluation.validation import Evaluation
    from trainer.finetuning.drawn_pieces import DrawnPiece
    from trainer.training.sources import Source
    from trainer.training.train_step import TrainStep

MOST_CORPUS_PIECES = 4096  # that drawn pieces are compared with
PAIR_RATE, REWARD_RATE = 1e-4, 3e-4  # learning rates, by default
PAIR_KL, REWARD_KL = 1.0, 0.2  # weights of the divergence, by default
TRAINING, VALIDATION = 0, 1  # keys of the streams of drawn pieces


# The score of a model and its figures, from the lines of the metrics so far, and what is called between compiled calls.
Figures = Callable[[Sequence[Mapping[str, Any]], Callable[[], None]], tuple[float, dict[str, float]]]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a run is for.

    Attributes:
      own: the settings of the objective.
      pairs: for `PairConfig`, those that fit the bundle's field table.
      pairs_hash: of their file.
      screen: for `RewardConfig`, given thresholds; None: those of the training split.
    """

    own: PairConfig | RewardConfig
    pairs: Sequence[NamedPair] = ()
    pairs_hash: str | None = None
    screen: Screen | None = None

    def description(self) -> dict[str, Any]:
        """What decides the outcome, as `run.json` holds it."""
        found = {"pairs": self.pairs_hash, "screen": self.screen and dict(self.screen.thresholds)}
        return {name: value for name, value in found.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What the loop needs of an objective."""

    step: TrainStep
    source: Source
    score: Score


def describe(settings: FinetuneConfig, objective: Objective, start: Bundle, info: DatasetInfo) -> dict[str, Any]:
    """What decides the outcome of a run, as `run.json` holds it."""
    own = objective.own
    config = loop_config(settings, own, start)
    described = run_folder.describe(config, dataset=info.hash, init_from=start.hash)
    chosen = {**dataclasses.asdict(settings), **dataclasses.asdict(own), "kl_weight": kl_weight(settings, own)}
    return json.loads(json.dumps({**chosen, **described, **objective.description()}))


def kl_weight(settings: FinetuneConfig, own: PairConfig | RewardConfig) -> float:
    """Of the divergence from the start."""
    default = PAIR_KL if isinstance(own, PairConfig) else REWARD_KL
    return default if settings.kl_weight is None else settings.kl_weight


def loop_config(settings: FinetuneConfig, own: PairConfig | RewardConfig, start: Bundle) -> TrainConfig:
    """The settings of the loop."""
    if isinstance(own, PairConfig):
        size, epochs, every, rate = 2 * own.num_pairs, own.epochs, own.evaluate_every, PAIR_RATE
    else:
        size, epochs, every, rate = own.num_pieces, float(own.steps), float(own.validate_every), REWARD_RATE
    return TrainConfig(
        **transfer.settings_of(start),
        precision=settings.precision,
        batch_size=size,
        learning_rate=rate if settings.learning_rate is None else settings.learning_rate,
        final_rate=0.1,
        warmup_steps=10,
        epochs=epochs,
        evaluate_every=every,
        patience=settings.patience,
        max_minutes=settings.max_minutes,
        transpose=own.transpose if isinstance(own, PairConfig) else 0,
        rng_seed=settings.rng_seed,
        samples=0,
    )


def finetune(
    settings: FinetuneConfig,
    objective: Objective,
    start: Bundle,
    *,
    data: str,
    info: DatasetInfo,
    described: dict[str, Any],
    folder: str,
    stop: StopSignal,
    cache_dir: str | None = None,
) -> Outcome:
    """Fine-tunes the model of a bundle, or continues the run in the folder, until it is finished.

    Args:
      settings, objective: of the run.
      start: the bundle.
      data, info: the dataset: its validation split is measured, its training split is what rewards compare with.
      described: of `describe`.
      folder: run folder; a finished run in it is left as it is.
      stop: polled between steps.
      cache_dir: as for `whole_run.train`.

    Raises:
      UserError: folder or devices do not fit.
      command.Interrupted: a signal came; a checkpoint is saved.
      RuntimeError: a loss is not a finite number or explodes.
    """
    config = loop_config(settings, objective.own, start)
    saved = checkpoint.latest_state(storage.join(folder, "checkpoints"))
    state = RunState() if saved is None else RunState.from_json(saved)
    if state.is_over:
        return Outcome(state, is_chief=cluster.is_chief(), was_finished=True)
    known = {} if isinstance(objective.own, PairConfig) else _make_rewards(objective, data, info)
    inputs = RunInputs(info, start.fields, start, described)
    strategy = whole_run.make_strategy(config, inputs, stop, alone=False)
    if cluster.is_chief():
        whole_run.claim_folder(folder, inputs, strategy)
    validation = load_split(
        data, info, "validation", start.fields, folder=cache_dir or default_folder(folder), stop=stop
    )

    from trainer.training.loop import Run

    if isinstance(objective.own, PairConfig):
        parts = _of_pairs(settings, objective.own, objective.pairs, config, start, strategy)
    else:
        parts = _of_rewards(settings, objective.own, known, config, start, strategy)
    hooks = Hooks(score=parts.score)
    run = Run(config, parts.step, strategy, folder=folder, is_chief=cluster.is_chief(), hooks=hooks)
    origin = {
        "dataset": {**start.dataset, "init_from": start.hash, **_told(objective)},
        "baselines": start.metrics.get("baselines", {}),
    }
    run.fit(parts.source, validation, stop=stop, origin=origin)
    return Outcome(run.state, is_chief=cluster.is_chief())


def _of_pairs(
    settings: FinetuneConfig,
    own: PairConfig,
    pairs: Sequence[NamedPair],
    config: TrainConfig,
    start: Bundle,
    strategy: tf.distribute.Strategy,
) -> _Parts:
    from trainer.distribution.strategy import part_of
    from trainer.finetuning import pair_step
    from trainer.training.sources import SplitSource

    used, held_out = (lay_out_pairs(side, start.fields) for side in split_pairs(pairs))
    print(f"{len(used)} pairs to train on, {len(held_out)} held out", flush=True)
    step = pair_step.PairStep(
        config,
        start,
        strategy,
        settings=own,
        kl_weight=kl_weight(settings, own),
        events_per_pair=float(used.num_events.sum()) / len(used),
    )
    measured = held_out if len(held_out) else used

    def figures(_: Sequence[Mapping[str, Any]], between: Callable[[], None]) -> tuple[float, dict[str, float]]:
        found = step.measure(measured, between_batches=between)
        return found["pair_loss"], found

    replicas = strategy.num_replicas_in_sync
    plan = functools.partial(PairPlan, used, replicas=replicas, batch_size=config.batch_size, rng_seed=config.rng_seed)
    source = SplitSource(used.pieces, step.model, config, part_of(strategy), lambda epoch: plan(epoch=epoch))
    return _Parts(step, source, _score(figures, settings))


def _told(objective: Objective) -> dict[str, Any]:
    """What the bundle's description says of the objective."""
    own = objective.own
    return {"pairs": objective.pairs_hash} if isinstance(own, PairConfig) else {"rewards": own.rewards}


def _make_rewards(objective: Objective, data: str, info: DatasetInfo) -> Mapping[str, Reward]:
    """The rewards of a run, compared with the first pieces of the training split.

    Raises:
      UserError: one says nothing of this corpus, or fails.
    """
    assert isinstance(objective.own, RewardConfig)
    pieces = itertools.islice(split_reader.read_split(data, info, "train"), MOST_CORPUS_PIECES)
    corpus = [piece.notes for piece in pieces]
    screen = objective.screen or thresholds.fit(corpus, time_base=info.time_base, dataset=info.hash)
    cut = [Part(notes.take(slice(objective.own.max_notes))) for notes in corpus]
    return rewards.make(objective.own.rewards or (), screen=screen, corpus=cut, time_base=info.time_base)


def _of_rewards(
    settings: FinetuneConfig,
    own: RewardConfig,
    known: Mapping[str, Reward],
    config: TrainConfig,
    start: Bundle,
    strategy: tf.distribute.Strategy,
) -> _Parts:
    from trainer.distribution.strategy import part_of
    from trainer.finetuning import drawn_pieces, reward_step

    weights, part = own.rewards or {}, part_of(strategy)
    step = reward_step.RewardStep(config, start, strategy, kl_weight=kl_weight(settings, own), ends=own.draw_endings)
    drawer = drawn_pieces.Drawer(
        step.model,
        start,
        rng_seed=settings.rng_seed,
        max_notes=own.max_notes,
        min_p=own.min_p,
        ends=own.draw_endings,
        fast=strategy.num_replicas_in_sync == 1,
    )

    def values_of(pieces: Sequence[DrawnPiece]) -> dict[str, np.ndarray]:
        return rewards.values_of([piece.part for piece in pieces], known)

    def make_batch(number: int) -> Batch:
        pieces = drawer.draw(own.num_pieces, TRAINING, number)
        advantage = drawn_pieces.advantages(values_of(pieces), weights)
        if not advantage.any():
            _log.warning("step %d: all drawn pieces have the same rewards, so nothing is learned from them", number)
        return drawn_pieces.batch_of(pieces, advantage, step.model, part)

    def figures(before: Sequence[Mapping[str, Any]], between: Callable[[], None]) -> tuple[float, dict[str, float]]:
        pieces: list[DrawnPiece] = []
        while len(pieces) < own.validation_pieces:
            pieces += drawer.draw(own.num_pieces, VALIDATION, len(pieces) // own.num_pieces)
            between()
        del pieces[own.validation_pieces :]
        found: dict[str, float] = {}
        for name, values in values_of(pieces).items():
            found[f"reward_{name}"], found[f"spread_{name}"] = drawn_pieces.mean_and_spread(values)
        reward = drawn_pieces.improvement(found, before[0] if before else found, weights)
        groups = [pieces[begin : begin + own.num_pieces] for begin in range(0, len(pieces), own.num_pieces)]
        batches = (drawn_pieces.batch_of(group, np.zeros(len(group)), step.model, part) for group in groups)
        kl = step.divergence(batches, between_batches=between)
        return -reward, {"reward": reward, **found, "kl": kl}

    return _Parts(step, drawn_pieces.DrawnSource(make_batch), _score(figures, settings))


def _score(figures: Figures, settings: FinetuneConfig) -> Score:
    """The score of a model that is near enough to the start; that of others is infinite."""

    def score(
        evaluation: Evaluation, before: Sequence[Mapping[str, Any]], between_chunks: Callable[[], None]
    ) -> tuple[float, dict[str, float]]:
        value, found = figures(before, between_chunks)
        first = before[0]["validation_nll"] if before else evaluation.nll
        is_near = found["kl"] <= settings.max_kl
        is_good = evaluation.nll - first <= settings.max_nats_lost
        return (value if is_near and is_good else math.inf), found

    return score
