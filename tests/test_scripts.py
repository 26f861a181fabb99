"""The shell scripts of the Makefile where they must refuse: one clear sentence and a status."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def commands(tmp_path):
    """A folder to be the whole PATH: the few commands the scripts need, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "dirname", "grep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def add_command(folder, name, script):
    (folder / name).write_text(f"#!{shutil.which('sh')}\n{script}\n")
    (folder / name).chmod(0o755)


def run(script, *args, path, **environment):
    env = {"PATH": str(path), "HOME": os.environ.get("HOME", "/"), **environment}
    line = [str(path / "bash"), str(ROOT / "scripts" / script), *args]
    return subprocess.run(line, env=env, capture_output=True, text=True)


def test_without_a_fitting_python_one_sentence_says_how_to_get_one(commands, tmp_path):
    add_command(commands, "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    add_command(commands, "python3", 'case "$2" in *version_info*) exit 1;; esac; exit 0')  # another version
    done = run("make_venv.sh", str(tmp_path / "venv"), path=commands)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no Python 3.11 or 3.12 here; on Debian 12 or Ubuntu 24.04: apt-get install python3-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_cannot_make_an_environment_names_the_package(commands, tmp_path):
    script = 'case "$2" in *"print("*) echo 3.11;; *version_info*) exit 0;; *) exit 1;; esac'
    add_command(commands, "python3.11", script)
    done = run("make_venv.sh", str(tmp_path / "venv"), path=commands)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "make setup: python3.11 cannot make a virtual environment; on Debian: apt-get install python3.11-venv"
    ]


@pytest.mark.parametrize("ci, status", [("", 0), ("true", 1)])
def test_a_missing_system_package_is_named_and_fails_in_ci(commands, ci, status):
    add_command(commands, "tail", "exit 0")
    done = run("install_debian.sh", path=commands, CI=ci, PYTHON=sys.executable)
    assert done.returncode == status
    first = done.stderr.splitlines()[0]
    assert first.startswith("make test: not installed: ")
    assert first.endswith("chromium")
    assert "on Debian: apt-get install " in first


def test_a_failing_apt_shows_why_and_goes_on_outside_ci(commands):
    for name in ("tail", "rm", "env"):
        (commands / name).symlink_to(str(shutil.which(name)))
    add_command(commands, "apt-get", "echo 'E: no network' >&2; exit 100")
    add_command(commands, "sudo", 'shift; exec "$@"')
    done = run("install_debian.sh", path=commands, PYTHON=sys.executable)
    assert done.returncode == 0
    assert "E: no network" in done.stderr
    assert "the tests that need them are skipped" in done.stderr
