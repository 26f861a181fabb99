"""A command's output as JSON, one object per line, for pods whose logs are collected: `LOG_FORMAT=json`.

    {"time": "2026-11-23T06:20:00.123Z", "severity": "INFO", "message": "encoding: ...", "command": "...", "task": 3}

`severity` is a name that log collectors know: INFO for printed lines and progress, the level of a `logging` record, and
ERROR for the user's mistakes. A traceback is one message. `task` is the completion index, if there is one. Lines of
progress also have `progress`, an object with what `PROGRESS_FILE` holds. Output of C++ libraries, Python's warnings and
child processes becomes objects too (`foreign_lines`), as long as the process lives. Secrets are masked.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import traceback
from types import TracebackType
from typing import TextIO

from job_runtime.logs import foreign_lines, masking

VARIABLE = "LOG_FORMAT"
PLAIN, JSON = "text", "json"


def is_wanted() -> bool:
    """Whether the environment asks for JSON.

    Raises:
      ValueError: it asks for an unknown format.
    """
    value = os.environ.get(VARIABLE, PLAIN)
    if value not in (PLAIN, JSON):
        raise ValueError(f"{VARIABLE} is {value!r}, want {PLAIN} or {JSON}")
    return value == JSON


def install(program: str) -> None:
    """Makes all further output of the process JSON, the traceback of an uncaught exception included."""
    plain_out, plain_errors = foreign_lines.take(foreign_lines.AS_JSON, program)
    errors = JsonLines(plain_errors, program, 2)
    sys.stdout, sys.stderr = JsonLines(plain_out, program, 1), errors
    faulthandler.enable(2)  # a crash in C++ shows where Python was
    handler = logging.StreamHandler(plain_errors)
    handler.setFormatter(JsonFormatter(program))
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(True)  # each in one object

    def write_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        errors.write_object("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), "ERROR")

    sys.excepthook = write_traceback


class JsonFormatter(logging.Formatter):
    """Formats a `logging` record as one JSON object, its traceback included."""

    def __init__(self, program: str):
        super().__init__("%(name)s: %(message)s")
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        return _json_line(super().format(record), record.levelname, self._program)


class JsonLines(io.TextIOBase):
    """A text stream that writes each line it receives as a JSON object.

    Args:
      stream: where the objects go.
      program: the command's name, for the objects.
      descriptor: what child processes inherit; their lines become objects in `foreign_lines`.
    """

    def __init__(self, stream: TextIO, program: str, descriptor: int):
        self._stream, self._program, self._descriptor = stream, program, descriptor
        self._unfinished_line = ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        *lines, self._unfinished_line = (self._unfinished_line + text).split("\n")
        for line in lines:
            if line:
                self.write_object(line, foreign_lines.severity_of(line))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def write_object(self, message: str, severity: str, **fields: object) -> None:
        """Writes one object, in a single call; `fields` are added to it."""
        self._stream.write(_json_line(message, severity, self._program, **fields) + "\n")
        self._stream.flush()


def _json_line(message: str, severity: str, program: str, **fields: object) -> str:
    index = os.environ.get(foreign_lines.INDEX_VARIABLE, "")
    return foreign_lines.json_line(masking.mask(message), severity, program, index, **fields)
