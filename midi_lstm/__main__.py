"""From a bucket of MIDI files to a trained LSTM, and from the LSTM to new pieces: one command for every stage."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from job_runtime import command
from job_runtime.problem_report import UserError
from midi_lstm.commands import COMMANDS, NAME, STAGES


def start(argv: Sequence[str]) -> int:
    """Runs a subcommand, as `python -m` of its module does, and returns the exit status."""
    if len(argv) == 2 and argv[0] == "help":
        argv = [argv[1], "--help"]
    found = COMMANDS.get(argv[0]) if argv else None
    if found is None:
        return command.run(NAME, main, argv)
    command.add_alias(found.program, found.alias)
    return command.run(found.alias, found.main, argv[1:])


def main(argv: Sequence[str]) -> int:
    """What there is to say without a subcommand.

    Raises:
      UserError: there is no such subcommand.
    """
    if list(argv) in (["--help"], ["-h"], ["help"]):
        print(help_text(), end="")
        return command.OK
    if list(argv) == ["--version"]:
        import importlib.metadata  # takes as long as all the rest

        print(f"{NAME} {importlib.metadata.version(NAME)}")
        return command.OK
    if not argv:
        raise UserError(f"want a command; {NAME} --help lists them")
    modules = {each.module.rpartition(".")[2]: each.name for each in reversed(COMMANDS.values())}
    names = modules | {name: name for name in COMMANDS}
    near = difflib.get_close_matches(argv[0].rpartition(".")[2], names, n=1, cutoff=0.5)
    hint = f"did you mean {names[near[0]]}?" if near else f"{NAME} --help lists the commands"
    raise UserError(f"{argv[0]!r} is not known, {hint}")


def help_text() -> str:
    lines = [f"usage: {NAME} COMMAND [options]", "", __doc__ or "", f"{NAME} COMMAND --help shows the options."]
    for stage, commands in STAGES.items():
        lines += ["", f"{stage}:", *(f"  {each.name:<16}{each.summary}" for each in commands)]
    return "\n".join(lines) + "\n"


def run() -> None:
    """The console script."""
    command.exit_process(start(sys.argv[1:]))


if __name__ == "__main__":
    command.exit_process(start(sys.argv[1:]))
