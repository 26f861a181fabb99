"""What libraries write past Python: objects in a log of JSON, nothing that breaks a bar on a terminal."""

import json
import os
import pty
import subprocess
import sys

import pytest

from job_runtime.logs import foreign_lines

NATIVE = "2026-11-29 23:30:10.823401: {} external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:485] Unable to"
ABSL = "I0000 00:00:1764459010.823401    7404 service.cc:146] XLA service initialized"

JSON = r"""
import atexit, os, subprocess, sys, warnings
from job_runtime import command
def main(argv):
    print("ours")
    os.write(2, b"2026-11-29 23:30:10.823401: E xla/cuda_fft.cc:485] Unable to\n")
    os.write(1, b"past Python, to standard output\n")
    subprocess.run([sys.executable, "-c", "print('of a child'); 1 / 0"])
    subprocess.run([sys.executable, "-c", "print('to our standard output')"], stdout=sys.stdout)
    warnings.warn("beware")
    sys.__stderr__.write("the first standard error\n")
    sys.__stderr__.flush()
    print("--password hunter2")
    if argv[0] == "abort":
        os.write(2, b"F0000 00:00:1764459010.823401    7404 x.cc:1] Check failed\n")
        os.abort()
    atexit.register(os.write, 2, b"at exit\n")
    return command.OK
command.exit_process(command.run("demo", main, sys.argv[1:]))
"""


def run(how: str) -> tuple[int, list[dict]]:
    env = {**os.environ, "LOG_FORMAT": "json"}
    done = subprocess.run([sys.executable, "-c", JSON, how], env=env, capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]


def test_every_line_of_a_process_and_its_children_is_an_object():
    status, records = run("well")
    assert status == 0
    assert all(record.keys() >= {"time", "severity", "message", "command"} for record in records)
    said = {record["message"]: record["severity"] for record in records}
    assert said["ours"] == said["past Python, to standard output"] == said["of a child"] == "INFO"
    assert said["to our standard output"] == said["the first standard error"] == "INFO"
    assert said["2026-11-29 23:30:10.823401: E xla/cuda_fft.cc:485] Unable to"] == "ERROR"
    (trace,) = [text for text in said if text.startswith("Traceback")]
    assert said[trace] == "ERROR" and trace.endswith("ZeroDivisionError: division by zero")
    (warning,) = [text for text in said if "UserWarning: beware" in text]
    assert said[warning] == "WARNING"
    assert said["--password …"] == "INFO"


def test_the_last_words_of_a_crash_are_not_lost():
    status, records = run("abort")
    assert status == -6
    said = {record["message"]: record["severity"] for record in records}
    assert said["F0000 00:00:1764459010.823401    7404 x.cc:1] Check failed"] == "ERROR"
    assert said["Fatal Python error: Aborted"] == "ERROR"


TERMINAL = r"""
import os, sys
from job_runtime import command
from job_runtime.logs import foreign_lines
def main(argv):
    foreign_lines.quiet_tensorflow()
    assert sys.stderr.isatty()
    print("a bar 50%%", end="\r", file=sys.stderr, flush=True)
    for line in (%r, %r, "WARNING: All log messages before absl::InitializeLog() is called", "not of TensorFlow", %r):
        os.write(2, line.encode() + b"\n")
    return command.OK
command.exit_process(command.run("demo", main, []))
"""


def test_a_terminal_has_no_chatter():
    ours, theirs = pty.openpty()
    program = TERMINAL % (NATIVE.format("E"), ABSL, NATIVE.format("F"))
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    process = subprocess.Popen([sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    assert process.wait() == 0
    seen = b""
    try:
        while read := os.read(ours, 1 << 16):
            seen += read
    except OSError:  # the other side is closed
        pass
    assert seen.decode().replace("\r\n", "\n") == f"a bar 50%\rnot of TensorFlow\n{NATIVE.format('F')}\n"


@pytest.mark.parametrize(
    ("line", "severity", "is_chatter"),
    [
        (NATIVE.format("I"), "INFO", True),
        (NATIVE.format("W"), "WARNING", True),
        (NATIVE.format("E"), "ERROR", True),
        (NATIVE.format("F"), "ERROR", False),
        (ABSL, "INFO", True),
        ("WARNING:tensorflow:5 out of 5 calls", "WARNING", False),
        ("Traceback (most recent call last):", "ERROR", False),
        ("Fatal Python error: Aborted", "ERROR", False),
        ("training: 5 of 9", "INFO", False),
    ],
)
def test_severities(line, severity, is_chatter):
    assert (foreign_lines.severity_of(line), foreign_lines.is_chatter(line)) == (severity, is_chatter)
