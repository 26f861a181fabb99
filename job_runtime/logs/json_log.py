"""What a command says as JSON, one object a line, for pods whose logs are collected: `LOG_FORMAT=json`.

    {"time": "2026-11-23T06:20:00.123Z", "severity": "INFO", "message": "encoding: ...", "command": "...", "task": 3}

`severity` is a name that collectors know: INFO for what is printed and for progress, WARNING and ERROR as `logging`
gave them, ERROR for what a command says of the user's mistakes, and a traceback is one message. `task` is the
completion index, where there is one. What libraries in C++, Python's warnings and other processes write becomes
objects too (`foreign_lines`), for the process's whole life. Secrets are masked.
"""

from __future__ import annotations

import datetime
import faulthandler
import io
import json
import logging
import os
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

from job_runtime.command_line import numerals
from job_runtime.logs import foreign_lines, masking

VARIABLE = "LOG_FORMAT"
PLAIN, JSON = "text", "json"
INFO, ERROR = "INFO", "ERROR"


def is_wanted() -> bool:
    """Whether the environment asks for JSON.

    Raises:
      ValueError: it asks for something else.
    """
    value = os.environ.get(VARIABLE, PLAIN)
    if value not in (PLAIN, JSON):
        raise ValueError(f"{VARIABLE} is {value!r}, want {PLAIN} or {JSON}")
    return value == JSON


def install(program: str) -> None:
    """From now on the process's output is JSON; what is raised and not caught too."""
    plain_out, plain_errors = foreign_lines.take(foreign_lines.AS_JSON, program)
    out, errors = JsonLines(plain_out, program, 1), JsonLines(plain_errors, program, 2)
    sys.stdout, sys.stderr = out, errors
    faulthandler.enable(2)  # a crash in C++ says where Python stood
    handler = _Handler(errors)
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(True)  # each whole, in one object

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), ERROR)

    sys.excepthook = say


class JsonLines(io.TextIOBase):
    """A text stream that writes each line it is given as a JSON object.

    Args:
      stream: where they go.
      program: whose they are.
      descriptor: for processes that are started, whose lines become objects on their way.
    """

    def __init__(self, stream: TextIO, program: str, descriptor: int):
        self._stream, self._program, self._descriptor = stream, program, descriptor
        self._begun = ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line:
                self.say(line, foreign_lines.severity_of(line, INFO))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def say(self, message: str, severity: str) -> None:
        """Writes one object, whole."""
        now = datetime.datetime.now(datetime.UTC)
        record: dict[str, Any] = {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "severity": severity,
            "message": masking.mask(message),
            "command": self._program,
        }
        index = os.environ.get("JOB_COMPLETION_INDEX", "")
        if numerals.is_index(index):
            record["task"] = int(index)
        self._stream.write(json.dumps(record, ensure_ascii=False) + "\n")  # half characters: as backslashes
        self._stream.flush()


class _Handler(logging.Handler):
    """`logging`'s records, a traceback in the same object."""

    def __init__(self, lines: JsonLines):
        super().__init__()
        self._lines = lines
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.say(self.format(record), record.levelname)
        except Exception:
            self.handleError(record)
