"""Prints the completion script of a shell, made from the flags of all commands.

    midi-lstm completion bash > ~/.local/share/bash-completion/completions/midi-lstm
    midi-lstm completion zsh > ~/.zfunc/_midi-lstm
    midi-lstm completion tcsh > ~/.midi-lstm.tcsh

docs/command.md says what else each shell needs. Make the script again after an update.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_lstm.commands import COMMANDS, NAME

SHELLS = ("bash", "zsh", "tcsh")


def make_parser() -> Parser:
    parser = command.make_parser("python -m midi_lstm.completion", __doc__)
    parser.add_argument("shell", choices=SHELLS, help="whose script")
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    import shtab

    print(shtab.complete(whole_parser(), args.shell))
    return command.OK


def whole_parser() -> argparse.ArgumentParser:
    """All commands as subparsers of one; those whose packages are not installed complete to no flags, which is said."""
    parser = argparse.ArgumentParser(prog=NAME)
    subparsers = parser.add_subparsers()
    for each in COMMANDS.values():
        try:
            made = each.make_parser()
        except UserError as error:
            print(f"{NAME} completion: {each.name} without its flags: {error}", file=sys.stderr)
            made = Parser()
        for action in made._actions:
            _describe(action)
        # add_parser makes a new one; shtab looks at the parsers' actions alone
        subparsers.add_parser(each.name, help=each.summary, parents=[made], add_help=False)
    return parser


def _describe(action: argparse.Action) -> None:
    """What its value may be, for shtab: one of some words, or else a file unless it is a number."""
    import shtab

    suggested = getattr(action, "suggested", None)  # of a setting
    if suggested:
        action.choices = suggested
    elif suggested is None and action.nargs != 0 and action.type is None and action.choices is None:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
