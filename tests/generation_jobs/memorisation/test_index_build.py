"""Indexes made by tasks, interrupted or at once: the same bytes."""

from __future__ import annotations

import functools

import pytest

from generation_jobs.memorisation import __main__ as memorisation_command
from generation_jobs.memorisation import suffix_sort
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.memorisation.index_build import Build, in_batches
from job_runtime import command
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.generation_jobs.memorisation.test_corpus_index import build_of, files_of, melody, piece_of
from tests.generation_jobs.report_fakes import make_dataset

PIECES = [piece_of(melody(60, number, num_pitches=5), number) for number in range(9)]
SOURCES = [PIECES[:4], [], PIECES[4:8], PIECES[8:]]


@pytest.fixture(autouse=True)
def several_buckets(monkeypatch):
    monkeypatch.setattr(suffix_sort, "BUCKET", 100)


def parts_of(folder) -> set[str]:
    return {path.parent.name for path in folder.rglob("sizes.json")} | {path.name for path in folder.rglob("order-*")}


def test_any_division_gives_the_same_bytes(tmp_path):
    build_of(SOURCES, tmp_path / "whole").finish()
    assert build_of(SOURCES, tmp_path / "tasks").make_share(1, 2) is False
    assert parts_of(tmp_path / "tasks") == {"text-00001", "text-00003"}
    assert build_of(SOURCES, tmp_path / "tasks").make_share(0, 2) is True  # all text is there: its buckets, too
    text = {f"text-0000{part}" for part in range(4)}
    assert parts_of(tmp_path / "tasks") == text | {"order-00000", "order-00002", "order-00004"}
    build = build_of([[], [], [], []], tmp_path / "tasks")  # what is there is not read again
    build.finish()
    assert build.is_done
    assert files_of(tmp_path / "tasks") == files_of(tmp_path / "whole")
    found = Index.load(str(tmp_path / "tasks"))
    assert (found.num_pieces, found.columns.name_of(8)) == (9, ("id8", "8.mid"))


def test_a_stop_leaves_whole_parts_and_a_restart_makes_the_others(tmp_path):
    build_of(SOURCES, tmp_path / "whole").finish()
    for num_asked in range(1, 20):
        asked = functools.partial(next, iter([False] * num_asked + [True] * 99))
        build = Build(str(tmp_path / "index"), SOURCES, MILLISECONDS, "d" * 32, is_stopped=asked)
        with pytest.raises(Interrupted):
            build.finish()
        assert not build.is_done
        with pytest.raises(UserError, match="holds no whole index"):
            Index.load(str(tmp_path / "index"))
    build_of(SOURCES, tmp_path / "index").finish()
    assert files_of(tmp_path / "index") == files_of(tmp_path / "whole")


def test_an_index_of_other_pieces_is_replaced(tmp_path):
    Build(str(tmp_path), [PIECES[:2]], MILLISECONDS, "e" * 32).finish()
    build = build_of(SOURCES, tmp_path)
    assert not build.is_done
    build.finish()
    assert (build.is_done, Index.load(str(tmp_path)).num_pieces) == (True, 9)


def test_pieces_on_another_grid_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="piece 0 is on the grid of milliseconds, want beats"):
        Build(str(tmp_path), [PIECES], BEATS, "d" * 32).finish()


def test_batches_have_so_many_notes():
    assert [[piece.source for piece in some] for some in in_batches(PIECES[:5], 100)] == [
        ["0.mid", "1.mid"], ["2.mid", "3.mid"], ["4.mid"],
    ]  # fmt: skip


def test_the_command_shares_the_work(tmp_path, capsys):
    make_dataset(tmp_path / "data", {"train": [piece.notes for piece in PIECES]})
    flags = ["--data", str(tmp_path / "data"), "--output"]
    for more in (["a", "--num-tasks", "2", "--task-index", "1"], ["a", "--num-tasks", "2", "--task-index", "0"], ["a"]):
        assert memorisation_command.main([*flags, str(tmp_path / more[0]), *more[1:]]) == command.OK
    assert memorisation_command.main([*flags, str(tmp_path / "b")]) == command.OK
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"task 0 of 2 has made its parts in {tmp_path / 'a'}"
    (tmp_path / "old").write_bytes(b"PK")
    with pytest.raises(UserError, match="--output '.*old' is a file, want a folder"):
        memorisation_command.main([*flags, str(tmp_path / "old")])
