"""Beam's options from the flags that are not ours, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner

DEFAULT_RUNNER = "FnApiRunner"  # DirectRunner first tries to download another runner


def problems_in_flags(flags: Sequence[str]) -> list[str]:
    """Sentences on flags that none of Beam's option classes knows; Beam itself only warns."""
    # Private, but needed: Beam's option classes add their flags to no other parser, and only warn of unknown ones.
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    names = [flag.split("=")[0] for flag in unknown if flag.startswith("-")]
    if names:
        return [f"unknown flag {name}: neither this command nor Apache Beam has it" for name in names]
    return [f"unexpected argument {text!r}" for text in unknown]


def problems_of_runner(flags: Sequence[str]) -> list[str]:
    """Sentences on what the runner lacks. Dataflow's check asks the cloud: seconds, or minutes if there is none."""
    options = make_options(flags)
    try:
        runner = create_runner(options.view_as(StandardOptions).runner)
    except ValueError as error:  # no such runner
        return [str(error)]
    return PipelineOptionsValidator(options, runner).validate()


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
