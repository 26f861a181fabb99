"""The subcommands of `midi-lstm`: which module each one is, and what `midi-lstm --help` says of it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from types import ModuleType

from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError

NAME = "midi-lstm"


@dataclasses.dataclass(frozen=True)
class Command:
    """A module with `main(argv)` and `make_parser()`; `python -m MODULE` is the same command.

    extra      of setup.py, which installs what the command imports
    arguments  that it always gets
    """

    name: str
    module: str
    extra: str
    summary: str
    arguments: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """What its own help calls it."""
        return f"python -m {self.module}"

    @property
    def alias(self) -> str:
        return f"{NAME} {self.name}"

    def load(self) -> ModuleType:
        """Imports the module.

        Raises:
          UserError: a package that it needs is not installed.
        """
        try:
            module = importlib.import_module(self.module)
            return importlib.import_module(f"{self.module}.__main__") if hasattr(module, "__path__") else module
        except ModuleNotFoundError as error:
            wanted = f"want pip install '{NAME}[{self.extra}]'"
            raise UserError(f"the package {error.name} is not installed, {wanted}") from error

    def main(self, argv: Sequence[str]) -> int:
        return self.load().main([*self.arguments, *argv])

    def make_parser(self) -> Parser:
        return self.load().make_parser()


STAGES: dict[str, tuple[Command, ...]] = {
    "a corpus becomes a dataset": (
        Command("encode", "beam_pipelines.encode_corpus", "encode", "MIDI files to a dataset"),
        Command("survey", "beam_pipelines.encode_corpus", "encode", "estimate one, and its time", ("--survey",)),
        Command("inspect", "beam_pipelines.inspect", "encode", "show what is in a dataset"),
        Command("export-dataset", "beam_pipelines.export_parquet", "encode", "a dataset as Parquet with a card"),
    ),
    "a dataset becomes a model": (
        Command("train", "trainer.task", "train", "train a model, or resume, or fine-tune one"),
        Command("finetune", "trainer.finetune", "train", "a model that makes more of what pairs or rewards prefer"),
        Command("tune", "trainer.tune", "tune", "search for good settings of training"),
        Command("evaluate", "trainer.evaluate", "train", "likelihoods of models on a split, compared"),
        Command("calibrate-end", "trainer.calibrate_end", "train", "make an older model's pieces end as the corpus's"),
        Command("export", "trainer.export", "train", "a model as a TensorFlow SavedModel"),
    ),
    "a model makes music": (
        Command("calibrate", "generation_jobs.calibrate", "generate", "how much a model should copy"),
        Command("seeds", "generation_jobs.make_seeds", "generate", "a list of openings to continue"),
        Command("generate", "generation_jobs.generate", "generate", "music from silence or from seeds"),
        Command("pairs", "generation_jobs.pairs", "generate", "which pieces are better than others, for finetune"),
        Command("merge", "generation_jobs.merge", "generate", "check a finished job; one manifest, or Parquet"),
    ),
    "music is heard and judged": (
        Command("report", "generation_jobs.report", "generate", "a page of piano rolls, players and comparisons"),
        Command("render", "generation_jobs.render", "generate", "sound files of MIDI, music or a dataset"),
        Command("evaluate-music", "generation_jobs.evaluate", "generate", "measures of music beside the corpus's"),
        Command("compare", "generation_jobs.compare", "generate", "find what music copied from a dataset"),
        Command("index", "generation_jobs.memorisation", "generate", "an index of a dataset, for compare and generate"),
        Command("screen", "generation_jobs.screening", "generate", "thresholds for faults that a corpus does not have"),
    ),
    "all of it": (Command("run", "demo.run", "demo", "from music to new music, with a report, in ten minutes"),),
    "this command": (Command("completion", "midi_lstm.completion", "", "print the completion script of a shell"),),
}
COMMANDS = {each.name: each for commands in STAGES.values() for each in commands}
