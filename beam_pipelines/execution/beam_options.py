"""Beam's options from the flags that are not ours, and what is wrong with them."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Sequence

import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners import create_runner

DEFAULT_RUNNER = "FnApiRunner"  # DirectRunner first tries to download another runner

# What Beam 2.72's runners do to this pipeline. Each name is in lower case, without its module and without `runner`.
REFUSED_RUNNERS = {
    "dask": "it loses what a step puts out beside its main output, want --num-tasks on a Dask cluster",
}

# Flags that only the Java part of a runner declares, Beam 2.72. With --job_endpoint the service is asked instead.
JAVA_FLAGS = {
    "FlinkRunner": """allow_non_restored_state attached_mode auto_balance_write_files_sharding_enabled
        auto_watermark_interval checkpoint_timeout_millis checkpointing_interval checkpointing_mode disable_metrics
        enable_stable_input_drain execution_mode_for_batch execution_retry_delay externalized_checkpoints_enabled
        fail_on_checkpointing_errors faster_copy file_input_split_max_size_m_b finish_bundle_before_checkpointing
        flink_conf_dir force_slot_sharing_group force_unaligned_checkpoint_enabled job_check_interval_in_secs
        latency_tracking_interval max_bundle_size max_bundle_time_mills min_pause_between_checkpoints
        num_concurrent_checkpoints number_of_execution_retries object_reuse operator_chaining
        re_iterable_group_by_key_result report_checkpoint_duration retain_externalized_checkpoints_on_cancellation
        savepoint_path shutdown_sources_after_idle_ms state_backend state_backend_storage_path
        unaligned_checkpoint_enabled""",
    "SparkRunner": """batch_interval_millis bundle_size cache_disabled checkpoint_dir checkpoint_duration_millis
        enable_spark_metric_sinks max_records_per_batch min_read_time_millis
        prefer_group_by_key_to_handle_huge_values read_time_percentage storage_level streaming_timeout_ms""",
}
ANSWER_SECONDS = 10.0


def problems_in_flags(flags: Sequence[str]) -> list[str]:
    """Sentences on a runner that cannot be had, and on flags that nobody declares; Beam itself only warns."""
    try:
        name = _parse(flags)[0].runner or DEFAULT_RUNNER
        key = name.rpartition(".")[2].lower().removesuffix("runner")
        if key in REFUSED_RUNNERS:
            return [f"--runner={name} cannot be used: {REFUSED_RUNNERS[key]}"]
        runner = create_runner(name)  # its module may declare more flags
        _, unknown = _parse(flags)
    except (ValueError, ImportError, AttributeError, argparse.ArgumentError) as error:
        return [str(error).removeprefix("argument ")]
    names = [flag.split("=")[0] for flag in unknown if flag.startswith("-")]
    if names:
        known = _flags_of_java(type(runner).__name__, flags)
        names = [name for name in names if name not in known]
        return [f"unknown flag {name}: neither this command nor Apache Beam has it" for name in names]
    return [f"unexpected argument {text!r}" for text in unknown]


def _parse(flags: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The values of the flags of all option classes that were imported, and the arguments that are none of theirs.

    Raises:
      ArgumentError: a value is wrong.
    """
    # Private, but needed: Beam's option classes add their flags to no other parser, and only warn of unknown ones.
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    return parser.parse_known_args(list(flags))


def _flags_of_java(runner: str, flags: Sequence[str]) -> set[str]:
    """The flags that the job service declares, or those of the runner if Beam will start a service or need none.

    Raises:
      ConnectionRefusedError: the job service does not answer.
    """
    endpoint = PipelineOptions(list(flags)).view_as(PortableOptions).job_endpoint
    names = JAVA_FLAGS.get(runner, "").split()
    if endpoint and endpoint != "embed":
        with grpc.insecure_channel(endpoint) as channel:
            service = beam_job_api_pb2_grpc.JobServiceStub(channel)
            request = beam_job_api_pb2.DescribePipelineOptionsRequest()
            try:
                answer = service.DescribePipelineOptions(request, timeout=ANSWER_SECONDS, wait_for_ready=True)
            except grpc.RpcError as error:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "the job service does not answer", endpoint) from error
        names = [option.name for option in answer.options]
    return {f"--{name}" for name in names}


def problems_of_runner(flags: Sequence[str]) -> list[str]:
    """Sentences on what the runner lacks. Dataflow's check asks the cloud: seconds, or minutes if there is none."""
    options = make_options(flags)
    return PipelineOptionsValidator(options, create_runner(options.view_as(StandardOptions).runner)).validate()


def make_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options, with our defaults."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or DEFAULT_RUNNER
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:  # Dataflow saves it by default, and it holds nothing of ours
        setup.save_main_session = False
    return options


def template_path(flags: Sequence[str]) -> str | None:
    """Where a template for Dataflow is to be written. If set, running the pipeline only stages the template."""
    return PipelineOptions(list(flags)).view_as(GoogleCloudOptions).template_location
