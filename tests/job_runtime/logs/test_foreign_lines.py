"""What libraries write past Python: objects in a log of JSON; no notices in either form, but all real warnings."""

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


COMMAND = r"""
import sys
from job_runtime import command
def main(argv):
    print("a bar 50%", end="\r", file=sys.stderr, flush=True)
    import tensorflow
    return command.OK
command.exit_process(command.run("demo", main, []))
"""
NOTICES = [
    NATIVE.format("I"),
    ABSL,
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    NATIVE.format("E") + " register cuFFT factory: Attempting to register factory for plugin cuFFT when one has",
]
REAL = [
    "not of TensorFlow",
    NATIVE.format("W"),
    NATIVE.format("E"),
    "E0000 00:00:1764459010.823401    7404 x.cc:1] failed call to cuInit: CUDA_ERROR_OUT_OF_MEMORY",
    NATIVE.format("F"),
]
TENSORFLOW = f"""
import os
level = os.environ["TF_CPP_MIN_LOG_LEVEL"]
for line in {[*NOTICES, *REAL]!r}:
    os.write(2, line.encode() + b"\\n")
os.write(2, b"level " + level.encode() + b"\\n")
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """That of a command whose TensorFlow only writes the lines above."""
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return kept | {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}"}


def test_a_terminal_has_no_chatter(environment):
    ours, theirs = pty.openpty()
    line = [sys.executable, "-c", COMMAND]
    process = subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    assert process.wait() == 0
    seen = b""
    try:
        while read := os.read(ours, 1 << 16):
            seen += read
    except OSError:  # the other side is closed
        pass
    real = "".join(f"{line}\n" for line in [*REAL, "level 1"])
    assert seen.decode().replace("\r\n", "\n") == f"a bar 50%\r{real}"


def test_nor_has_a_file(environment):
    done = subprocess.run([sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.replace("\r", "\n").splitlines() == ["a bar 50%", *REAL, "level 1"]


def test_nor_has_a_log_of_json(environment):
    environment["LOG_FORMAT"] = "json"
    done = subprocess.run([sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True)
    messages = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert [text for text in messages if not text.startswith("a bar")] == [*REAL, "level 1"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_notices_show_if_they_are_asked_for(environment, form):
    more = {"TF_CPP_MIN_LOG_LEVEL": "0", "LOG_FORMAT": form}
    done = subprocess.run([sys.executable, "-c", COMMAND], env=environment | more, capture_output=True, text=True)
    for line in [*NOTICES, *REAL, "level 0"]:
        assert line in done.stderr


@pytest.mark.parametrize(
    ("line", "severity", "is_chatter"),
    [
        (NATIVE.format("I"), "INFO", True),
        (NATIVE.format("W"), "WARNING", False),
        (NATIVE.format("E"), "ERROR", False),
        (NOTICES[3], "ERROR", True),
        ("2026-11-30 09:40:06.0: W tensorflow/x.cc:38] TF-TRT Warning: Could not find TensorRT", "WARNING", True),
        ("2026-11-30 09:40:06.0: E x.cc:1] failed call to cuInit: CUDA_ERROR_NO_DEVICE: none", "ERROR", True),
        ("2026-11-30 09:40:06.0: W x.cc:4] Local rendezvous is aborting with status: OUT_OF_RANGE: End of sequence",
         "WARNING", True),
        ("2026-11-30 09:40:06.0: W x.cc:4] Local rendezvous is aborting with status: INTERNAL: x", "WARNING", False),
        (NATIVE.format("F"), "ERROR", False),
        (ABSL, "INFO", True),
        ("WARNING:tensorflow:5 out of 5 calls", "WARNING", False),
        ("2026-11-30 13:18:24.8: E external/xla/slow_operation_alarm.cc:65] ", "ERROR", True),
        ("[Compiling module a_inference_1] Very slow compile? If you want to file a bug, run", "INFO", True),
        ("*" * 32, "INFO", True),
        ("*" * 32 + " kept", "INFO", False),
        ("Traceback (most recent call last):", "ERROR", False),
        ("Fatal Python error: Aborted", "ERROR", False),
        ("training: 5 of 9", "INFO", False),
    ],
)  # fmt: skip
def test_severities(line, severity, is_chatter):
    assert (foreign_lines.severity_of(line), foreign_lines.is_chatter(line)) == (severity, is_chatter)
