"""Lines that libraries write to a process's output past Python: TensorFlow's, XLA's and others' in C++, at exit too.

`take` puts a pipe in the place of standard error (and output). At its other end this file runs as a small process,
which outlives a crash: it makes each line a JSON object, or, on a terminal, drops the chatter that would break a
progress bar and lets the rest pass. Our own lines go past the pipe.
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
_SEVERITIES = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "ERROR"}
_NATIVE = re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ([IWEF]) |([IWEF])\d{4} \d\d:\d\d:\d+\.\d+\s)")
_NAMED = re.compile(r"(?:absl: )?(INFO|WARNING|ERROR|CRITICAL|FATAL)\b")
_CHATTER = re.compile(
    r"WARNING: All log messages before absl::InitializeLog|To enable the following instructions: .*rebuild TensorFlow"
)
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_taken: subprocess.Popen[bytes] | None = None


def quiet_tensorflow() -> None:
    """Call it before TensorFlow is imported: its start-up notices are not news. The variable, where it is set, wins."""
    if _LEVEL in os.environ:
        return
    os.environ[_LEVEL] = "3"
    if sys.stderr.isatty():
        sys.stderr = take(WITHOUT_CHATTER)[1]


def take(mode: str, program: str = "") -> tuple[TextIO, TextIO]:
    """Puts the pipe in place; standard output and error as they were, for lines of our own."""
    global _taken
    sys.stdout.flush()
    sys.stderr.flush()
    out, errors = os.dup(1), os.dup(2)
    reading, writing = os.pipe()
    _taken = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mode, program, os.environ.get("JOB_COMPLETION_INDEX", "")],
        stdin=reading,
        stdout=errors,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is for us
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
    """Of the other end, which whoever ends all processes below this one leaves alone."""
    return None if _taken is None else _taken.pid


def drain() -> None:
    """Call it last: lines that were written are let through, and what comes still is not."""
    if _taken is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    if _taken.args[4] == AS_JSON:  # type: ignore[index]
        os.dup2(nowhere, 1)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process that we started lives on, and may write
        _taken.wait(DRAIN_SECONDS)


def severity_of(line: str, otherwise: str = "INFO") -> str:
    """As the line itself says it."""
    if found := _NATIVE.match(line):
        return _SEVERITIES[found[1] or found[2]]
    if found := _NAMED.match(line):
        return {"CRITICAL": "ERROR", "FATAL": "ERROR"}.get(found[1], found[1])
    return "ERROR" if line.startswith(("Traceback (most", "Fatal Python error")) else otherwise


def is_chatter(line: str) -> bool:
    """Whether it is a notice of a library in C++ that ends nothing; a fatal one, its last word, is none."""
    found = _NATIVE.match(line)
    return (found is not None and "F" not in found.groups()) or _CHATTER.match(line) is not None


def as_object(message: str, program: str, index: str) -> str:
    """A message as a line of JSON; one that is an object already stays as it is."""
    if message.startswith("{") and message.endswith("}"):
        try:
            if "message" in json.loads(message):
                return message
        except ValueError:
            pass
    now = time.time()
    record = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z",
        "severity": severity_of(message),
        "message": message,
        "command": program,
    }
    if index.isascii() and index.isdecimal():
        record["task"] = int(index[:18])  # type: ignore[assignment]
    return json.dumps(record)


def _run(mode: str, program: str, index: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begun = b""  # of a line
    held: list[str] = []  # the lines of a traceback
    while True:
        # A traceback is whole, and half a line is all there will be for now, when nothing comes for a moment.
        is_quiet = not select.select([0], [], [], 0.2 if begun or held else None)[0]
        read = b"" if is_quiet else os.read(0, 1 << 16)
        *lines, begun = (begun + read).split(b"\n")
        if begun and (not read) and (mode == WITHOUT_CHATTER or not is_quiet or len(begun) > 1 << 16):
            if mode == WITHOUT_CHATTER and not is_chatter(begun.decode("utf-8", "replace")):
                os.write(1, begun)
                begun = b""
            elif mode == AS_JSON:
                lines, begun = [*lines, begun], b""
        for line in lines:
            text = line.decode("utf-8", "backslashreplace").rstrip("\r")
            if mode == WITHOUT_CHATTER:
                if not is_chatter(text):
                    os.write(1, line + b"\n")
            elif held and (text.startswith((" ", "\t")) or not text):
                held.append(text)
            elif held and not held[-1].startswith("During handling"):
                held.append(text)  # the error itself, which ends the traceback
                _say(held, program, index)
            elif text.startswith("Traceback (most recent call last)"):
                held.append(text)
            elif text.strip():
                _say([text], program, index)
        if held and not read:
            _say(held, program, index)
        if not read and not is_quiet:
            return


def _say(lines: list[str], program: str, index: str) -> None:
    data = f"{as_object(chr(10).join(lines).rstrip(), program, index)}\n".encode("utf-8", "backslashreplace")
    lines.clear()
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    _run(*sys.argv[1:])
