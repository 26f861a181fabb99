"""The whole of a run as a function: what `trainer.task` and `trainer.tune` call. TensorFlow is imported only once
everything that needs none is known to be right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from job_runtime import storage
from job_runtime.command import StopSignal, UserError
from job_runtime.logs import foreign_lines
from midi_codec import fields
from midi_codec.dataset import dataset_info
from midi_codec.music.notes import BEATS
from trainer import bundle as bundle_lib
from trainer.config import TrainConfig
from trainer.distribution import cluster
from trainer.run_output import checkpoint, run_folder
from trainer.run_output.run_state import RunState
from trainer.training import transfer


@dataclasses.dataclass(frozen=True)
class Workers:
    """Processes that train together; see `trainer.distribution.cluster.set_tf_config`."""

    num_workers: int | None = None
    host_pattern: str | None = None


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run begins from, checked.

    Attributes:
      info: of the dataset.
      table: the note fields.
      bundle: whose weights the run starts from, or None.
      described: settings and hashes, as `run.json` holds them.
    """

    info: dataset_info.DatasetInfo
    table: fields.FieldTable
    bundle: bundle_lib.Bundle | None
    described: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a start of a run ended: where the run stands, whether this worker is the one that writes, and whether
    there was nothing to do.
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
    on_validation: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Trains a model, or goes on with the run in the folder, until it is finished.

    Args:
      config: the settings.
      data: dataset folder.
      folder: run folder; a finished run in it is left as it is.
      stop: polled between steps.
      init_from: a bundle to start from instead of random weights.
      workers: processes that train together.
      profile: whether to write a trace of some steps for TensorBoard.
      on_validation: called with each line of `metrics.jsonl`, before the checkpoint; may raise
        `trainer.training.loop.Halted` to
        end the run there. For runs of one process.

    Returns:
      where the run stands at its end; `state.halted` says why, where `on_validation` ended it.

    Raises:
      UserError: settings, dataset, bundle, folder or devices do not fit.
      command.Interrupted: a signal came; a checkpoint is saved.
      RuntimeError: a loss is not a finite number or explodes.
    """
    cluster.set_tf_config(workers.num_workers, workers.host_pattern)
    start = check(config, data=data, folder=folder, init_from=init_from)
    saved = checkpoint.latest_state(storage.join(folder, "checkpoints"))
    state = RunState() if saved is None else RunState.from_json(saved)
    if state.is_over or (state.finished and not cluster.is_chief()):
        return Outcome(state, is_chief=cluster.is_chief(), was_finished=True)
    foreign_lines.quiet_tensorflow()
    # All that a finished run may lack are the samples of its last validation. The chief draws them alone: the other
    # workers may be gone for good.
    alone = state.finished
    return _run(config, start, data=data, folder=folder, stop=stop, profile=profile, hook=on_validation, alone=alone)


def check(config: TrainConfig, *, data: str, folder: str, init_from: str | None = None) -> Start:
    """Everything that can be wrong before a device is touched.

    Raises:
      UserError: see `train`.
    """
    info = dataset_info.load(data)
    bundle = bundle_lib.load(init_from) if init_from else None
    if bundle is None:
        table = make_field_table(info, config, data)
    else:
        check_dataset(info, config, data)
        transfer.check_settings(bundle, config, str(init_from))
        table = transfer.fit_table(bundle, info, data)
    described = run_folder.describe(config, dataset=info.hash, init_from=bundle.hash if bundle else None)
    run_folder.check(folder, described)
    return Start(info, table, bundle, described)


def check_dataset(info: dataset_info.DatasetInfo, config: TrainConfig, place: str) -> None:
    """Raises UserError where a split that training needs is empty, or a setting does not fit the grid."""
    problems = [
        f"{place}: the {split} split holds no piece, want at least one"
        for split in ("train", "validation")
        if not info.splits[split].num_notes or not info.histograms[split]["step"].values
    ]
    if config.tempo and info.time_base == BEATS:
        problems.append(f"tempo is {config.tempo} but {place} lies on a grid of {BEATS}, which has no tempo; want 0")
    if problems:
        raise UserError(problems)


def make_field_table(info: dataset_info.DatasetInfo, config: TrainConfig, place: str) -> fields.FieldTable:
    """The field table of the training split; raises as `check_dataset` does."""
    check_dataset(info, config, place)
    histograms = info.histograms["train"]
    return fields.build_field_table(
        {name: (histograms[name].values, histograms[name].counts) for name in ("step", "duration")},
        programs=info.programs,
        time_base=info.time_base,
        timing_loss=config.timing_loss,
    )


def _run(
    config: TrainConfig,
    start: Start,
    *,
    data: str,
    folder: str,
    stop: StopSignal,
    profile: bool,
    hook: Callable[[dict[str, Any]], None] | None,
    alone: bool,
) -> Outcome:
    """What needs TensorFlow."""
    from trainer.data import pieces
    from trainer.distribution import strategy
    from trainer.evaluation import baselines

    devices = strategy.make_strategy(alone=alone)
    stop.listen()  # with several workers TensorFlow puts a handler of its own on SIGTERM
    replicas, is_chief = devices.num_replicas_in_sync, cluster.is_chief()
    if config.batch_size % replicas:
        raise UserError(f"--batch-size is {config.batch_size}, want a multiple of the {replicas} replicas")
    if not strategy.all_alike(strategy.make_agreement(devices), run_folder.number_of(start.described)):
        raise UserError("the workers' settings or datasets differ; want the same command for all of them")
    if is_chief:
        run_folder.claim(folder, start.described)
        run_folder.note_start(folder, strategy=strategy.name_of(devices), replicas=replicas, devices=_devices())
    from trainer.training.loop import Hooks, Run
    from trainer.training.train_step import TrainStep

    step = TrainStep(config, start.table, devices)
    print(
        f"training on {replicas} replica(s) with {strategy.name_of(devices)},"
        f" {step.kernels} LSTM kernels, {config.precision} products",
        flush=True,
    )
    if start.bundle is not None:
        bundle_lib.set_weights(step.model, start.bundle.weights)
    train, validation = pieces.load_splits(data, start.info, ("train", "validation"), start.table)
    scores = baselines.score_baselines(train, validation, start.table)
    num_duplicates = train.count_duplicates(start.table)
    sampler = _sampler(config, step, folder, allow_duplicates=num_duplicates > 0)
    hooks = Hooks(on_validation=hook, write_samples=sampler, profile=profile)
    run = Run(config, step, devices, folder=folder, is_chief=is_chief, hooks=hooks)
    origin = _origin(start, scores, num_notes=train.num_notes, duplicate_notes=num_duplicates)
    run.train(train, validation, stop=stop, origin=origin, fresh=start.bundle is None)
    return Outcome(run.state, is_chief=is_chief)


def _origin(start: Start, scores: Mapping[str, Any], **counts: int) -> dict[str, Any]:
    """What the bundle says of its dataset, the bundle it was made from, and the baselines; `counts` of its notes."""
    info = start.info
    reading = {name: info.settings[name] for name in ("limits", "cleaning") if name in info.settings}
    dataset = {"hash": info.hash, "time_base": info.time_base, **counts, **reading}
    if start.bundle is not None:
        dataset["init_from"] = start.bundle.hash
    return {"dataset": dataset, "baselines": {name: dataclasses.asdict(score) for name, score in scores.items()}}


def _devices() -> list[str]:
    import tensorflow as tf

    return [f"{device.device_type} {device.name}" for device in tf.config.list_logical_devices()]


def _sampler(
    config: TrainConfig, step: Any, folder: str, *, allow_duplicates: bool
) -> Callable[[int, Mapping[str, float], Any], None] | None:
    """A function of (step, deviations, summary) that writes sample pieces, or None when there shall be none."""
    if not config.samples:
        return None
    from trainer.run_output.samples import SampleWriter

    writer = SampleWriter(
        step.model,
        folder,
        num_pieces=config.samples,
        rng_seed=config.rng_seed,
        allow_duplicates=allow_duplicates,
    )

    def write(step: int, deviations: Mapping[str, float], summary: Any) -> None:
        writer.write(step, deviations, summary)

    return write
