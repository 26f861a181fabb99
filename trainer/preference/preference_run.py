"""A whole run of fine-tuning on preferences: the loop of `trainer.training.loop` with the step and batches of pairs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from job_runtime import storage
from job_runtime.command import StopSignal
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.split_cache import default_folder, load_split
from trainer.distribution import cluster
from trainer.preference.config import FinetuneConfig
from trainer.preference.pair_plan import NamedPair, PairPlan, lay_out_pairs, split_pairs
from trainer.run_output import checkpoint, run_folder
from trainer.run_output.run_state import RunState
from trainer.training import transfer, whole_run
from trainer.training.hooks import Hooks
from trainer.training.run_checks import RunInputs
from trainer.training.whole_run import Outcome


def describe(settings: FinetuneConfig, start: Bundle, info: DatasetInfo, pairs_hash: str) -> dict[str, Any]:
    """What decides the outcome of a run, as `run.json` holds it."""
    described = run_folder.describe(loop_config(settings, start), dataset=info.hash, init_from=start.hash)
    return described | {"pairs": pairs_hash, "finetune": dataclasses.asdict(settings)}


def loop_config(settings: FinetuneConfig, start: Bundle) -> TrainConfig:
    return settings.train_config(transfer.settings_of(start))


def finetune(
    settings: FinetuneConfig,
    start: Bundle,
    pairs: Sequence[NamedPair],
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
      settings: of the run.
      start: the bundle.
      pairs: that fit its field table.
      data, info: the dataset whose validation split is measured.
      described: of `describe`.
      folder: run folder; a finished run in it is left as it is.
      stop: polled between steps.
      cache_dir: as for `whole_run.train`.

    Raises:
      UserError: folder or devices do not fit.
      command.Interrupted: a signal came; a checkpoint is saved.
      RuntimeError: a loss is not a finite number or explodes.
    """
    config = loop_config(settings, start)
    saved = checkpoint.latest_state(storage.join(folder, "checkpoints"))
    state = RunState() if saved is None else RunState.from_json(saved)
    if state.is_over:
        return Outcome(state, is_chief=cluster.is_chief(), was_finished=True)
    inputs = RunInputs(info, start.fields, start, described)
    strategy = whole_run.make_strategy(config, inputs, stop, alone=False)
    if cluster.is_chief():
        whole_run.claim_folder(folder, inputs, strategy)
    validation = load_split(
        data, info, "validation", start.fields, folder=cache_dir or default_folder(folder), stop=stop
    )

    from trainer.preference.pair_step import PairStep, Score
    from trainer.training.loop import Run

    used, held_out = (lay_out_pairs(side, start.fields) for side in split_pairs(pairs))
    print(f"{len(used)} pairs to train on, {len(held_out)} held out", flush=True)
    step = PairStep(
        config, start, strategy, settings=settings, events_per_pair=float(used.num_events.sum()) / len(used)
    )
    hooks = Hooks(score=Score(step, held_out if len(held_out) else used, settings))
    run = Run(config, step, strategy, folder=folder, is_chief=cluster.is_chief(), hooks=hooks)
    replicas = strategy.num_replicas_in_sync
    plan = functools.partial(PairPlan, used, replicas=replicas, batch_size=config.batch_size, rng_seed=config.rng_seed)
    run.fit(
        used.pieces,
        validation,
        stop=stop,
        origin={
            "dataset": {**start.dataset, "init_from": start.hash, "pairs": described["pairs"]},
            "baselines": start.metrics.get("baselines", {}),
        },
        fresh=False,
        plan_epoch=lambda epoch: plan(epoch=epoch),
    )
    return Outcome(run.state, is_chief=cluster.is_chief())
