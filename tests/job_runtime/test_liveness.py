import json
import os

import pytest

from job_runtime import command, liveness
from job_runtime.logs import progress
from job_runtime.problem_report import UserError


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("PROGRESS_FILE", str(path))
    return path


def test_a_file_that_is_written_now_and_then_is_life(path, capsys):
    argv = ["--max-age-seconds", "100"]
    assert liveness.main(argv) == command.OK  # not begun
    progress.progress(total=3, unit="pieces", label="making").close()
    said = {"label": "making", "done": 0, "total": 3, "unit": "pieces", "percent": 0.0, "per_second": None, "note": ""}
    assert json.loads(path.read_text()) == said
    assert liveness.main(argv) == command.OK
    long_ago = path.stat().st_mtime - 101
    os.utime(path, (long_ago, long_ago))
    assert liveness.main(argv) == command.FAULT
    assert "no progress for 101 s, at most 100 are allowed" in capsys.readouterr().err


def test_without_a_file_to_look_at_it_is_a_mistake(monkeypatch):
    monkeypatch.delenv("PROGRESS_FILE", raising=False)
    with pytest.raises(UserError, match="PROGRESS_FILE is not set"):
        liveness.main(["--max-age-seconds", "1"])
