"""What a command owes its supervisor: exit statuses, clear mistakes, a clean stop on a signal.

    0    done; everything promised is complete
    2    the user's mistake: one sentence per problem on standard error, no traceback; do not retry
    75   interrupted (SIGTERM, SIGINT) with everything saved; start the same command again
    1    a fault: a traceback, or one sentence for a full disk and the like; retry, then look at the log

A command's `main(argv)` raises `UserError` for mistakes, and `Interrupted` once it has saved; `run` turns both into
statuses. Long work polls `StopSignal.requested`, because a signal handler must not do work of its own.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from job_runtime import compile_cache, early_stop, io_errors, tensorflow_import
from job_runtime.command_line import numerals
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.logs import foreign_lines, json_log, masking
from job_runtime.problem_report import UserError, shorten

OK = 0
FAULT = 1
USER_ERROR = 2
INTERRUPTED = early_stop.INTERRUPTED
TO_CONTINUE = "start the same command again to continue"
MAX_CHARACTERS = 2000  # per problem
TASKS = "sharing the work"  # the group of flags in `--help`

_aliases: dict[str, str] = {}  # what the help of a program calls it, where that is not its own name


@contextlib.contextmanager
def collecting(problems: list[str], flag: str = "") -> Iterator[None]:
    """Adds the user's mistakes in the block to `problems`, so that the next block can be checked too.

    With a flag, each problem begins with it.
    """
    prefix = f"{flag}: " if flag else ""
    try:
        yield
    except UserError as error:
        problems += [f"{prefix}{problem}" for problem in error.problems]
    except OSError as error:
        sentence = io_errors.sentence(error)
        if sentence is None or error.errno not in {errno.ENOENT, *io_errors.OF_A_NAME}:
            raise  # a fault of a disk or a network: the same command may succeed later
        problems.append(f"{prefix}{sentence}")


class Interrupted(Exception):
    """The command was asked to stop, and has saved what it promised to save."""


class StopSignal:
    """Notices SIGTERM and SIGINT; a second SIGINT ends the process at once.

    Use it as a context manager around long work, and look at `requested` between the steps.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        self._previous = {number: signal.getsignal(number) for number in early_stop.SIGNALS}
        self.listen()
        return self

    def listen(self) -> None:
        """Installs the handlers again, after a library has installed its own."""
        for number in self._previous:
            signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.requested = True


def run(program: str, main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Runs `main` and returns the exit status; the last line of a command is `exit_process(run(...))`.

    Outside a StopSignal there is nothing to save, so SIGTERM ends the command as SIGINT does.
    """
    try:
        _prepare_output(program)
    except ValueError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USER_ERROR
    signal.signal(signal.SIGTERM, early_stop.interrupt)
    if signal.getsignal(signal.SIGINT) is early_stop.leave:
        signal.signal(signal.SIGINT, early_stop.interrupt)
    try:
        try:
            return main(sys.argv[1:] if argv is None else argv)
        finally:
            if early_stop.is_command:
                early_stop.ignore()
    except UserError as error:
        for problem in error.problems:
            _complain(f"{program}: {problem}")
        return USER_ERROR
    except (Interrupted, KeyboardInterrupt) as error:
        print(f"{program}: interrupted; {str(error) or TO_CONTINUE}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        sentence = io_errors.sentence(error)
        if sentence is None:
            raise
        _complain(f"{program}: {sentence}")
        return USER_ERROR if isinstance(error, OSError) and error.errno in io_errors.OF_A_NAME else FAULT


def _prepare_output(program: str) -> None:
    """Text or JSON, as the environment asks for; in both, secrets are masked and TensorFlow is quiet.

    Raises:
      ValueError: the environment asks for something else.
    """
    if json_log.is_wanted():
        json_log.install(program)
    elif early_stop.is_command:
        masking.install()
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names may be any bytes
    tensorflow_import.watch(_prepare_tensorflow)


def _prepare_tensorflow() -> None:
    foreign_lines.quiet_tensorflow()
    if early_stop.is_command:
        compile_cache.use()


def _complain(text: str) -> None:
    """Writes one line to standard error, without secrets and never very long; in a JSON log it is an error."""
    text = shorten(masking.mask(text), MAX_CHARACTERS)
    text = text.encode("utf-8", "backslashreplace").decode()  # file names may be any bytes
    if isinstance(sys.stderr, json_log.JsonLines):
        sys.stderr.write_object(text, "ERROR")
    else:
        print(text, file=sys.stderr)


def exit_process(status: int) -> None:
    """Ends the process; the only way a command exits.

    tensorflow-io's S3 client aborts the process in its static destructors, which would turn a finished job into a
    failed pod. Exiting without running them keeps the status. An interrupted command exits in the same way: it has
    saved, and must not wait for threads that are still working.
    """
    early_stop.ignore()
    compile_cache.seal()
    if status == INTERRUPTED or "tensorflow_io" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        logging.shutdown()
        foreign_lines.drain()
        os._exit(status)
    atexit.register(foreign_lines.drain)
    sys.exit(status)


def make_parser(program: str, description: str | None) -> Parser:
    """The parser of a command. Its module's docstring is the help text."""
    shown = _aliases.get(program, program)
    return Parser(prog=shown, description=description and description.replace(program, shown))


def add_alias(program: str, alias: str) -> None:
    """Makes the help of a command call it by another name."""
    _aliases[program] = alias


def add_task_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--task-index` and `--num-tasks`: which share of the work belongs to this process."""
    add = group_of(parser, TASKS).add_argument
    add("--num-tasks", type=int, help="how many tasks share the work (default: 1)")
    add("--task-index", type=int, help="which of them this is (default: $JOB_COMPLETION_INDEX)")


def task_share(args: argparse.Namespace) -> tuple[int, int]:
    """Returns `(task_index, num_tasks)` from the flags and the environment.

    Raises:
      UserError: there is an index but no number of tasks, or the index is out of range.
    """
    index = args.task_index
    if index is None and os.environ.get("JOB_COMPLETION_INDEX"):
        text = os.environ["JOB_COMPLETION_INDEX"]
        if not numerals.is_index(text):
            raise UserError(f"JOB_COMPLETION_INDEX is {text!r}, want a whole number from 0, in the digits 0 to 9")
        index = int(text)
    if args.num_tasks is None:
        if index is not None:
            raise UserError(f"the task index is {index} but --num-tasks is not given; want both")
        return 0, 1
    if args.num_tasks < 1:
        raise UserError(f"--num-tasks is {args.num_tasks}, want at least 1")
    if index is None:
        if args.num_tasks > 1:
            raise UserError(f"--num-tasks is {args.num_tasks} but there is no --task-index; want both")
        index = 0
    if not 0 <= index < args.num_tasks:
        raise UserError(f"the task index is {index}, want 0 to {args.num_tasks - 1}")
    return index, args.num_tasks
