"""Completion scripts: that of bash in a real bash."""

import subprocess
from pathlib import Path

import pytest

from job_runtime.problem_report import UserError
from midi_lstm import completion


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    import shtab

    path: Path = tmp_path_factory.mktemp("completion") / "midi-lstm.bash"
    path.write_text(shtab.complete(completion.whole_parser(), "bash"))
    return path


def complete(script: Path, *words: str, cwd: Path | None = None) -> list[str]:
    """What bash offers for the last word."""
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "set -- $(complete -p midi-lstm); while [ $1 != -F ]; do shift; done; $2; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    line = ["bash", "--norc", "-c", code, "bash", str(script), "midi-lstm", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=cwd)
    assert done.stderr == ""
    return sorted(done.stdout.split())


def test_commands(script):
    assert complete(script, "e") == ["encode", "evaluate", "evaluate-music", "export", "export-dataset"]
    assert complete(script, "tr") == ["train"]


def test_flags_of_a_command(script):
    assert complete(script, "train", "--context-") == [
        "--context-lags",
        "--context-notes",
        "--context-periods",
        "--context-units",
    ]
    assert complete(script, "generate", "--data", "x", "--max-p") == ["--max-pitch", "--max-polyphony"]
    assert complete(script, "compare", "--compare") == []  # the name in earlier versions


def test_values_of_a_flag(script):
    assert complete(script, "train", "--timing-loss", "m") == ["mixture", "mse"]
    assert complete(script, "train", "--layer-norm", "") == ["false", "true"]
    assert complete(script, "evaluate", "--split", "t") == ["test", "train"]
    assert complete(script, "completion", "") == ["bash", "tcsh", "zsh"]


def test_files(script, tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "notes").write_text("")
    assert complete(script, "train", "--data", "d", cwd=tmp_path) == ["dataset"]
    assert complete(script, "inspect", "n", cwd=tmp_path) == ["notes"]
    assert complete(script, "train", "--units", "", cwd=tmp_path) == []


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_is_printed(shell, capsys):
    assert completion.main([shell]) == 0
    text = capsys.readouterr().out
    assert "midi-lstm" in text and "calibrate-end" in text and "timing-loss" in text


def test_an_unknown_shell_is_the_users_mistake():
    with pytest.raises(UserError, match="shell is 'ksh', want one of bash, zsh, tcsh"):
        completion.main(["ksh"])
