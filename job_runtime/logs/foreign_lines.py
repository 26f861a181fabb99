"""Lines that libraries write to the process's output without Python: those of TensorFlow and XLA in C++, even at exit.

`take` puts a pipe in place of standard error (and output). This file runs as a small process at the other end of the
pipe, and outlives a crash. There it drops notices, and the few warnings and errors that say nothing; in a JSON log it
makes each of the other lines an object. Python's own output bypasses the pipe. The small process runs isolated, so this
file imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from typing import TextIO

AS_JSON, WITHOUT_CHATTER = "json", "filter"
DRAIN_SECONDS = 1.0
_PAUSE_SECONDS = 0.2  # after this long without input, a traceback counts as complete
_MAX_LINE_BYTES = 1 << 16
_SEVERITIES = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "ERROR"}
_NATIVE = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IWEF]) |([IWEF])\d{4} \d\d:\d\d:\d+\.\d+\s)")
_NAMED = re.compile(r"(?:absl: )?(INFO|WARNING|ERROR|CRITICAL|FATAL)\b")
_NOTICES = re.compile(
    r"WARNING: All log messages before absl::InitializeLog|To enable the following instructions: .*rebuild TensorFlow"
    r"|\[Compiling module .*\] Very slow compile\?|\*{32}$"
    r"|\[libprotobuf ERROR .*Error parsing text-format tensorflow\.XlaSerializedCacheEntry"  # it is binary
)
_HARMLESS = re.compile(  # named as warnings and errors: without a GPU, at the end of a dataset, on a busy machine
    r"Unable to register cu(?:FFT|DNN|BLAS) factory|TF-TRT Warning: Could not find TensorRT"
    r"|failed call to cuInit: (?:CUDA_ERROR_NO_DEVICE|UNKNOWN ERROR \(303\))"
    r"|oneDNN supports DT_INT32 only on platforms with AVX-512"
    r"|Local rendezvous is aborting with status: OUT_OF_RANGE: End of sequence"
    r"|/slow_operation_alarm\.cc:"
)
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_filter: subprocess.Popen[bytes] | None = None


def quiet_tensorflow() -> None:
    """Hides TensorFlow's notices, unless its own variable is set; warnings and errors still show."""
    if _LEVEL in os.environ:
        return
    os.environ[_LEVEL] = "1"  # without notices
    if _filter is None:
        if sys.stderr is sys.__stderr__:
            sys.stderr = take(WITHOUT_CHATTER)[1]
        else:  # in a notebook or a test, where nothing can be left out of what C++ writes
            os.environ[_LEVEL] = "3"


def take(mode: str, program: str = "") -> tuple[TextIO, TextIO]:
    """Puts the pipe in place. Returns standard output and error as they were, for Python's own output."""
    global _filter
    sys.stdout.flush()
    sys.stderr.flush()
    out, errors = os.dup(1), os.dup(2)
    reading, writing = os.pipe()
    _filter = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mode, program, os.environ.get(INDEX_VARIABLE, "")],
        stdin=reading,
        stdout=errors,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C on a terminal must not end it
    )
    os.close(reading)
    os.dup2(writing, 2)
    if mode == AS_JSON:
        os.dup2(writing, 1)
    os.close(writing)
    return tuple(  # type: ignore[return-value]
        open(file, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
        for file in (out, errors)
    )


def process_id() -> int | None:
    """The process at the other end, which must be left alone when all other child processes are ended."""
    return None if _filter is None else _filter.pid


def drain() -> None:
    """Lets the lines written so far through and discards everything after them. Call this last."""
    if _filter is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    if _filter.args[4] == AS_JSON:  # type: ignore[index]
        os.dup2(nowhere, 1)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a child process may still be running and writing
        _filter.wait(DRAIN_SECONDS)


def severity_of(line: str) -> str:
    """The severity that the line itself names; INFO if it names none."""
    if match := _NATIVE.match(line):
        return _SEVERITIES[match[1] or match[2]]
    if match := _NAMED.match(line):
        return {"CRITICAL": "ERROR", "FATAL": "ERROR"}.get(match[1], match[1])
    return "ERROR" if line.startswith(("Traceback (most", "Fatal Python error")) else "INFO"


def is_chatter(line: str) -> bool:
    """Whether it is a notice of a C++ library, or a warning or an error that says nothing."""
    match = _NATIVE.match(line)
    if match is None:
        return _NOTICES.match(line) is not None
    level = match[1] or match[2]
    return level == "I" or (level != "F" and _HARMLESS.search(line) is not None)


def json_line(message: str, severity: str, program: str, index: str, **fields: object) -> str:
    """The object of one message, with more fields; `index` is the completion index, or empty."""
    now = time.time()
    record: dict[str, object] = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z",
        "severity": severity,
        "message": message,
        "command": program,
    }
    if index.isascii() and index.isdecimal() and len(index) <= 18:
        record["task"] = int(index)
    return json.dumps(record | fields, ensure_ascii=False)  # the stream writes lone surrogates as backslash escapes


def _as_object(message: str, program: str, index: str) -> str:
    """A message as a JSON object; one that is an object already stays as it is."""
    if message.startswith("{") and message.endswith("}"):
        try:
            if "message" in json.loads(message):
                return message
        except ValueError:
            pass
    return json_line(message, severity_of(message), program, index)


class _ChatterFilter:
    """Copies lines as they are, without the notices of C++ libraries."""

    is_holding = False

    def write_line(self, line: bytes) -> None:
        if not is_chatter(line.decode("utf-8", "backslashreplace")):
            os.write(1, line + b"\n")

    def pause(self, unfinished: bytes, is_end: bool) -> bytes:
        """Nothing came for a moment, or nothing will: shows half a line, such as a prompt; returns what is left."""
        if is_chatter(unfinished.decode("utf-8", "replace")):
            return unfinished
        os.write(1, unfinished)
        return b""


class _Objects:
    """Writes each line as a JSON object, a whole traceback as one object."""

    def __init__(self, program: str, index: str):
        self._program, self._index = program, index
        self._traceback: list[str] = []
        self._drops = _LEVEL not in os.environ  # otherwise someone wants to see them

    @property
    def is_holding(self) -> bool:
        return bool(self._traceback)

    def write_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip("\r")
        if self._drops and is_chatter(text):
            return
        lines = self._traceback
        if lines and (text.startswith((" ", "\t")) or not text):
            lines.append(text)
        elif lines and not lines[-1].startswith("During handling"):
            lines.append(text)  # the exception itself, which ends the traceback
            self._flush_traceback()
        elif text.startswith("Traceback (most recent call last)"):
            lines.append(text)
        elif text.strip():
            self._write(text)

    def pause(self, unfinished: bytes, is_end: bool) -> bytes:
        """Nothing came for a moment, or nothing will: ends a traceback; returns what is left of half a line."""
        if unfinished and (is_end or len(unfinished) > _MAX_LINE_BYTES):
            self.write_line(unfinished)
            unfinished = b""
        if self._traceback:
            self._flush_traceback()
        return unfinished

    def _flush_traceback(self) -> None:
        self._write("\n".join(self._traceback).rstrip())
        self._traceback.clear()

    def _write(self, message: str) -> None:
        data = f"{_as_object(message, self._program, self._index)}\n".encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(1, data) :]


def _run(mode: str, program: str, index: str) -> None:
    """Copies lines from the pipe to the real output until the pipe is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output: _ChatterFilter | _Objects = _ChatterFilter() if mode == WITHOUT_CHATTER else _Objects(program, index)
    unfinished = b""  # the beginning of a line
    while True:
        is_quiet = not select.select([0], [], [], _PAUSE_SECONDS if unfinished or output.is_holding else None)[0]
        data = b"" if is_quiet else os.read(0, 1 << 16)
        *lines, unfinished = (unfinished + data).split(b"\n")
        for line in lines:
            output.write_line(line)
        if not data:
            unfinished = output.pause(unfinished, is_end=not is_quiet)
            if not is_quiet:
                return


if __name__ == "__main__":
    _run(*sys.argv[1:])
