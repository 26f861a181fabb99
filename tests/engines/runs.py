"""Our commands as processes of their own, with no cloud in their environment but the one a test gives them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from job_runtime import storage

ROOT = Path(__file__).parents[2]
ENCODE = (sys.executable, "-m", "beam_pipelines.encode_corpus")
SHARDS = ("--num-shards", "4")
SECONDS = 90  # what no run here comes near to

_CLOUDS = ("AWS_", "CLOUDSDK_", "GCE_", "GCLOUD_", "GOOGLE_", "S3_", "STORAGE_EMULATOR_HOST")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without what leads to a cloud or past one, and with `more`.

    Beam's worker pool starts `python`, so the one of the tests comes first on the path.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_CLOUDS) and name.lower() not in _PROXIES
    }
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2", **(more or {})}


def run(*line: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
    """Runs to the end; what it printed, errors too. Whatever it started and left ends with it."""
    with tempfile.TemporaryFile("w+") as output:  # not a pipe, which what it left would hold open
        process = subprocess.Popen(
            line, cwd=ROOT, env=environment(env), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            ended = process.wait(SECONDS)
        finally:
            end_group(process)
        output.seek(0)
        text = output.read()
    assert ended == status, text
    return text


def end_group(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def encode(source: str, output: str | Path, *flags: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
    return run(*ENCODE, "--input", source, "--output", str(output), *SHARDS, *flags, env=env, status=status)


def files_of(output: str | Path) -> dict[str, bytes]:
    """Every file of a dataset, wherever it lies, but the one that says when and how it was made."""
    entries = storage.list_files(str(output))
    files = {entry.path.removeprefix(f"{output}/"): storage.read_bytes(entry.path) for entry in entries}
    del files["run_info.json"]
    return files
