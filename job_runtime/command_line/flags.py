"""The parser of every command: argparse, but all mistakes in the flags are reported at once and in our words."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any

from job_runtime.command_line import numerals
from job_runtime.problem_report import UserError

EXPECTED: Any = {int: "a whole number", float: "a number"}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """The usage line shows only what must be given."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        needed = [action for action in actions if action.required or not action.option_strings]
        if len(needed) < len(actions):
            needed.append(argparse.Action([], dest="", metavar="[options]"))
        super().add_usage(usage, needed, [], prefix)


class Parser(argparse.ArgumentParser):
    """Like argparse's, but `parse` continues after a mistake, and only `--help` ends the process.

    A flag cannot be abbreviated.
    """

    def __init__(self, **options: Any):
        super().__init__(exit_on_error=False, allow_abbrev=False, formatter_class=HelpFormatter, **options)
        self._value_problems: list[str] = []
        self._required: list[argparse.Action] = []
        self.register("type", int, numerals.whole)
        self.register("type", float, numerals.number)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
        """Parses the flags.

        Raises:
          UserError: every mistake that shows in the values alone.
        """
        parsed, problems = self.parse(sys.argv[1:] if args is None else args)
        if problems:
            raise UserError(problems)
        return parsed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """What argparse calls of the parser of a subcommand. Raises UserError as `parse_args` does."""
        parsed, unknown, problems = self.parse_with_unknown(args)
        if problems:
            raise UserError(problems)
        return parsed, unknown

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The flags and the problems with them, for a command that has more checks of its own.

        A flag whose value cannot be read counts as not given.
        """
        args, unknown, problems = self.parse_with_unknown(argv)
        names = [name for action in self._actions for name in action.option_strings]
        is_value = False
        for text in unknown:
            name = text.partition("=")[0]
            if text.startswith("-") and not is_value:
                near = difflib.get_close_matches(name, names, n=1)
                problems.append(f"{name} is not known" + (f", did you mean {near[0]}?" if near else ""))
            elif not is_value:
                problems.append(f"{text!r} is given without a flag")
            is_value = text.startswith("--") and "=" not in text and not is_value
        return args, problems

    def parse_with_unknown(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
        """Our flags, the arguments that are not ours, and the problems with our flags."""
        required = [action for action in self._actions if action.required]
        arguments, problems = list(argv), []
        self._required = required
        for action in required:
            action.required = False
        try:
            while True:
                self._value_problems = []
                try:
                    args, unknown = super().parse_known_args(arguments)
                    break
                except argparse.ArgumentError as error:
                    problems.append(_sentence(error))
                    arguments = _without(arguments, error.argument_name or "", problems)
        finally:
            for action in required:
                action.required = True
        problems += self._value_problems
        given = " ".join(problems)
        for action in required:
            name = (action.option_strings or [str(action.metavar or action.dest)])[0]
            if getattr(args, action.dest) is None and f"{name} is " not in f"{given} ":
                problems.append(f"{name} is missing, want {action.help or 'a value'}")
        return args, unknown, problems

    def print_help(self, file: Any = None) -> None:
        """The help, which says again which flags are required; the process ends after it."""
        for action in self._required:
            action.required = True
        super().print_help(file)

    def error(self, message: str) -> Any:
        raise UserError(message)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            value = super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            wanted = EXPECTED.get(action.type, error.message)
        else:
            if action.choices is None or value in action.choices or action.nargs == argparse.PARSER:
                return value
            wanted = one_of(list(map(str, action.choices)))
        self._value_problems.append(f"{_name(action)} is {arg_string!r}, want {wanted}")
        return action.default

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """`_get_value` has checked it; argparse would end at the first mistake."""


def group_of(container: argparse._ActionsContainer, title: str, description: str = "") -> argparse._ActionsContainer:
    """The group with this title in `--help`, made when it is first asked for; without a title, the first one.

    What most people need belongs in the first group, ten flags at most.
    """
    if not title:
        return container
    for group in container._action_groups:
        if group.title == title:
            return group
    return container.add_argument_group(title, description or None)


def one_of(choices: Sequence[str]) -> str:
    """`one of a, b`, or the only choice; completes "want ..."."""
    return f"one of {', '.join(choices)}" if len(choices) > 1 else "".join(choices)


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)


def _sentence(error: argparse.ArgumentError) -> str:
    if error.message.startswith("expected"):
        return f"{error.argument_name} is given without a value"
    return f"{error.argument_name} is {error.message}"


def _without(arguments: list[str], name: str, problems: list[str]) -> list[str]:
    """The arguments without the last mention of a flag, so that the others can be parsed."""
    names = tuple(name.split("/"))
    for index in range(len(arguments) - 1, -1, -1):
        if arguments[index] in names or arguments[index].partition("=")[0] in names:
            return arguments[:index] + arguments[index + 1 :]
    raise UserError(problems)
