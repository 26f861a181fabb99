import json

import pytest

from job_runtime.logs import progress as progress_module
from job_runtime.logs.progress import progress, stage


@pytest.fixture
def clock(monkeypatch):
    """Seconds as the module sees them: `clock[0]`."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_every_ten_seconds_and_at_the_end(clock, capsys):
    with progress(total=2000, unit="pieces", label="encoding") as bar:
        for _ in range(5):
            clock[0] += 4
            bar.update(400)
        bar.note("loss 1.25")
    assert capsys.readouterr().err.splitlines() == [
        "encoding: 1,200 of 2,000 pieces, 100.0 per second, 8 s left",
        "encoding: 2,000 pieces in 20.0 s; loss 1.25",
    ]


def test_what_comes_before_the_first_update_is_not_extrapolated(clock, capsys):
    with progress(total=1000, unit="pieces", label="generating") as bar:
        clock[0] += 60  # compiling
        bar.update(1)
        clock[0] += 10
        bar.update(100)
    assert capsys.readouterr().err.splitlines() == [
        "generating: 1 of 1,000 pieces",
        "generating: 101 of 1,000 pieces, 10.0 per second, 90 s left",
        "generating: 101 of 1,000 pieces in 70.0 s",
    ]


def test_what_an_earlier_run_did_is_not_extrapolated(clock, capsys):
    with progress(total=1000, unit="notes", label="training", done=500) as bar:
        clock[0] += 10
        bar.update(100)
        clock[0] += 10
        bar.update(100)
    assert capsys.readouterr().err.splitlines() == [
        "training: 600 of 1,000 notes",
        "training: 700 of 1,000 notes, 10.0 per second, 30 s left",
        "training: 700 of 1,000 notes in 20.0 s",
    ]


def test_the_caller_may_know_how_long_it_takes(clock, capsys):
    with progress(total=3, unit="pieces", label="generating") as bar:
        clock[0] += 10
        bar.expect(7.6)
        bar.update(1)
        bar.expect(1.0)
        bar.update(2)
    assert capsys.readouterr().err.splitlines() == [
        "generating: 1 of 3 pieces, 8 s left",
        "generating: 3 pieces in 10.0 s",
    ]


def test_a_stage_says_what_is_done_and_how_long_it_took(clock, capsys):
    with stage("compiling"):
        assert capsys.readouterr().err == "compiling\n"
        clock[0] += 6.04
    assert capsys.readouterr().err == "compiling: 6.0 s\n"


def test_a_stage_on_a_terminal_takes_one_line(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress_module.sys.stderr, "isatty", lambda: True, raising=False)
    with stage("compiling"):
        clock[0] += 6
    assert capsys.readouterr().err == "compiling ... 6.0 s\n"


def test_a_stage_during_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(progress_module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress(total=2, unit="files", label="reading") as bar, stage("compiling"):
        bar.update(1)
    seen = capsys.readouterr().err.split("\r")
    assert any(text.startswith("reading:   0%") and "compiling" in text for text in seen)
    assert any("compiling: 0.0 s\n" in text for text in seen)


def test_iterating_counts_and_closes(clock, capsys):
    assert list(progress(["a", "b"], unit="files", label="reading")) == ["a", "b"]
    assert capsys.readouterr().err == "reading: 2 files in 0.0 s\n"


def test_an_early_end_says_how_far_it_came(clock, capsys):
    with pytest.raises(RuntimeError), progress(total=3, unit="files", label="reading") as bar:
        bar.update(1)
        raise RuntimeError
    assert capsys.readouterr().err == "reading: 1 of 3 files in 0.0 s\n"


def test_unknown_total(clock, capsys):
    bar = progress(iter("abc"), unit="files", label="reading")
    assert list(bar) == ["a", "b", "c"]
    bar.close()
    assert capsys.readouterr().err == "reading: 3 files in 0.0 s\n"


def test_one_is_not_plural(clock, capsys):
    assert list(progress(["a"], unit="train shards", label="reading")) == ["a"]
    with progress(total=1, unit="files", label="encoding"):
        pass
    assert capsys.readouterr().err == "reading: 1 train shard in 0.0 s\nencoding: 0 of 1 file in 0.0 s\n"


def test_nothing_to_iterate_is_an_error():
    with pytest.raises(TypeError, match="counts by update"):
        list(progress(total=3))


def test_a_file_is_written_as_often_as_a_line(clock, tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("PROGRESS_FILE", str(path))
    bar = progress(total=9, unit="steps", label="training")
    found = []
    for _ in range(4):
        clock[0] += 6
        bar.update(2)
        bar.note("loss 2")
        found.append(json.loads(path.read_text()))
    assert [(record["done"], record["note"]) for record in found] == [
        (0, ""),
        (4, "loss 2"),
        (4, "loss 2"),
        (8, "loss 2"),
    ]
    assert found[-1] == {
        **{"label": "training", "done": 8, "total": 9, "unit": "steps", "note": "loss 2"},
        **{"percent": 88.89, "per_second": 0.333},
    }
    assert [each.name for each in tmp_path.iterdir()] == ["progress.json"]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress_module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress(total=2, unit="files", label="reading") as bar:
        bar.update(2)
    assert "reading: 100%" in capsys.readouterr().err
