"""A whole run as a function: what `trainer.task` and `trainer.tune` call.

TensorFlow is imported only once everything that does not need it has been checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from job_runtime import storage
from job_runtime.command import StopSignal
from job_runtime.logs.progress import stage
from job_runtime.problem_report import UserError
from trainer import bundle as bundle_lib
from trainer import piece_lengths
from trainer.config import TrainConfig
from trainer.data.pieces import Pieces
from trainer.data.split_cache import default_folder, load_splits
from trainer.distribution import cluster
from trainer.run_output import checkpoint, run_folder
from trainer.run_output.run_state import RunState
from trainer.training import run_checks, transfer
from trainer.training.hooks import Hooks
from trainer.training.run_checks import RunInputs

MANY_NOTES = 5_000_000  # counting them takes seconds

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.run_output.samples import SampleWriter
    from trainer.training.train_step import TrainStep


@dataclasses.dataclass(frozen=True)
class Workers:
    """Processes that train together; see `trainer.distribution.cluster.set_tf_config`."""

    num_workers: int | None = None
    host_pattern: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one start of a run ended.

    Attributes:
      state: where the run is.
      is_chief: whether this worker is the one that writes.
      was_finished: whether there was nothing to do.
    """

    state: RunState
    is_chief: bool = True
    was_finished: bool = False


def train(
    config: TrainConfig,
    *,
    data: str,
    folder: str,
    stop: StopSignal,
    init_from: str | None = None,
    workers: Workers = Workers(),
    profile: bool = False,
    cache_dir: str | None = None,
    on_validation: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Trains a model, or continues the run in the folder, until it is finished.

    Args:
      config: the settings.
      data: dataset folder.
      folder: run folder; a finished run in it is left as it is.
      stop: polled between steps.
      init_from: a bundle to start from instead of random weights.
      workers: processes that train together.
      profile: whether to write a trace of some steps for TensorBoard.
      cache_dir: local folder for the splits' caches; by default `split_cache.default_folder`.
      on_validation: called with each line of `metrics.jsonl`, before the checkpoint; may raise
        `trainer.training.hooks.Halted` to end the run there. For runs of one process.

    Returns:
      where the run is at its end; `state.halted` says why, where `on_validation` ended it.

    Raises:
      UserError: settings, dataset, bundle, folder or devices do not fit.
      command.Interrupted: a signal came; a checkpoint is saved.
      RuntimeError: a loss is not a finite number or explodes.
    """
    cluster.set_tf_config(workers.num_workers, workers.host_pattern)
    inputs = run_checks.check(config, data=data, folder=folder, init_from=init_from)
    saved = checkpoint.latest_state(storage.join(folder, "checkpoints"))
    state = RunState() if saved is None else RunState.from_json(saved)
    if state.is_over or (state.finished and not cluster.is_chief()):
        return Outcome(state, is_chief=cluster.is_chief(), was_finished=True)
    if not state.finished:
        run_checks.check_bins(folder, inputs.table)

    # A finished run can lack only the samples of its last validation. The chief draws them alone: the other workers
    # may be gone for good.
    strategy = make_strategy(config, inputs, stop, alone=state.finished)
    if cluster.is_chief():
        claim_folder(folder, inputs, strategy)
    splits = load_splits(
        data,
        inputs.info,
        ("train", "validation"),
        inputs.table,
        folder=cache_dir or default_folder(folder),
        stop=stop,
    )
    return _train_on(strategy, config, inputs, *splits, folder=folder, stop=stop, profile=profile, hook=on_validation)


def make_strategy(config: TrainConfig, inputs: RunInputs, stop: StopSignal, *, alone: bool) -> tf.distribute.Strategy:
    """The strategy for the devices there are.

    Raises:
      UserError: the batch size does not fit the replicas, or the workers were started with different commands.
    """
    with stage("loading TensorFlow"):
        from trainer.distribution import strategy as strategies

    strategy = strategies.make_strategy(alone=alone)
    stop.listen()  # again, since with several workers TensorFlow installs a SIGTERM handler of its own
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch-size is {config.batch_size}, want a multiple of the {replicas} replicas")
    if not strategies.all_alike(strategies.make_agreement(strategy), run_folder.number_of(inputs.described)):
        raise UserError("the workers' settings or datasets differ; want the same command for all of them")
    return strategy


def claim_folder(folder: str, inputs: RunInputs, strategy: tf.distribute.Strategy) -> None:
    """Makes the folder this run's, and adds this start to it."""
    import tensorflow as tf

    from trainer.distribution import strategy as strategies

    run_folder.claim(folder, inputs.described)
    run_folder.note_start(
        folder,
        strategy=strategies.name_of(strategy),
        replicas=strategy.num_replicas_in_sync,
        devices=[f"{device.device_type} {device.name}" for device in tf.config.list_logical_devices()],
    )


def _train_on(
    strategy: tf.distribute.Strategy,
    config: TrainConfig,
    inputs: RunInputs,
    train: Pieces,
    validation: Pieces,
    *,
    folder: str,
    stop: StopSignal,
    profile: bool,
    hook: Callable[[dict[str, Any]], None] | None,
) -> Outcome:
    from trainer.data.balance import balanced
    from trainer.distribution import strategy as strategies
    from trainer.evaluation import baselines
    from trainer.training.loop import Run
    from trainer.training.sources import SplitSource
    from trainer.training.train_step import TrainStep

    step = TrainStep(config, inputs.table, strategy)
    print(
        f"training on {strategy.num_replicas_in_sync} replica(s) with {strategies.name_of(strategy)},"
        f" {step.kernels} LSTM kernels, {config.precision} products",
        flush=True,
    )
    if inputs.bundle is not None:
        start = transfer.start_weights(inputs.bundle, inputs.table, inputs.info, bundle_lib.get_weights(step.model))
        bundle_lib.set_weights(step.model, start)
    with stage("counting for the baselines") if train.num_notes > MANY_NOTES else contextlib.nullcontext():
        scores = baselines.score_baselines(train, validation, inputs.table)
        num_duplicates = train.count_duplicates()
    writer = _sample_writer(config, step, folder, allow_duplicates=num_duplicates > 0)
    hooks = Hooks(on_validation=hook, write_samples=None if writer is None else writer.write, profile=profile)

    run = Run(config, step, strategy, folder=folder, is_chief=cluster.is_chief(), hooks=hooks)
    origin = _origin(
        inputs,
        scores,
        num_notes=train.num_notes,
        duplicate_notes=num_duplicates,
        restrike_share=train.restrike_share(),
        notes_per_piece=piece_lengths.describe(train.num_events - 1),
    )
    if config.balance_regex is not None:
        train, times = balanced(train, config.balance_regex)
        print("per epoch: " + ", ".join(f"{name} x{number}" for name, number in times.items()), flush=True)
    source = SplitSource(train, step.model, config, strategies.part_of(strategy))
    run.fit(source, validation, stop=stop, origin=origin, unigram_of=train if inputs.bundle is None else None)
    return Outcome(run.state, is_chief=cluster.is_chief())


def _origin(inputs: RunInputs, scores: Mapping[str, Any], **counts: Any) -> dict[str, Any]:
    """What the bundle records of its dataset, the bundle it was made from, and the baselines.

    Args:
      inputs: of the run.
      scores: of the baselines.
      counts: of the training split's notes and pieces.
    """
    info = inputs.info
    reading = {name: info.settings[name] for name in ("limits", "cleaning") if name in info.settings}
    dataset = {"hash": info.hash, "time_base": info.time_base, **counts, **reading}
    if inputs.bundle is not None:
        dataset["init_from"] = inputs.bundle.hash
    return {"dataset": dataset, "baselines": {name: dataclasses.asdict(score) for name, score in scores.items()}}


def _sample_writer(config: TrainConfig, step: TrainStep, folder: str, *, allow_duplicates: bool) -> SampleWriter | None:
    """None where the settings ask for no samples."""
    if not config.samples:
        return None
    from trainer.run_output.samples import SampleWriter

    return SampleWriter(
        step.model,
        folder,
        num_pieces=config.samples,
        rng_seed=config.rng_seed,
        allow_duplicates=allow_duplicates,
    )
