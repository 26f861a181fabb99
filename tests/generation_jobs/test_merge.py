"""One manifest of a whole job: what it holds, and everything that keeps it from being written."""

import json
import signal

import pytest

from generation_jobs import manifest, merge
from midi_codec import command, storage, waiting
from midi_codec.command import Interrupted, UserError
from tests.generation_jobs.test_job import ALL, run

TASKS = 3


def finish(output, *indexes: int) -> None:
    for index in indexes or range(TASKS):
        run(output, num_tasks=TASKS, task_index=index)


def merged(output, *more: str) -> list[dict]:
    assert merge.main(["--output", str(output), *more]) == command.OK
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def problems(output) -> list[str]:
    with pytest.raises(UserError) as error:
        merge.main(["--output", str(output)])
    assert not (output / "manifest.jsonl").exists()
    return error.value.problems


def rewrite(output, index: int, change) -> None:
    path = output / manifest.manifest_name(index, TASKS)
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))


def test_all_lines_in_order(tmp_path, capsys):
    finish(tmp_path)
    lines = merged(tmp_path)
    assert [(line["seed_id"], line["sample"]) for line in lines] == ALL
    assert lines == manifest.read(str(tmp_path))
    assert capsys.readouterr().out == f"6 pieces, each of them there once: {tmp_path}/manifest.jsonl\n"
    before = (tmp_path / "manifest.jsonl").read_bytes()
    merged(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_bytes() == before


def test_a_job_that_is_not_finished_names_what_is_missing(tmp_path):
    finish(tmp_path, 0, 2)
    assert problems(tmp_path) == [f"'{tmp_path}' is not finished: there is no manifest-00001-of-00003.jsonl (1 of 3)"]
    with pytest.raises(UserError, match="holds no job.json"):
        merge.main(["--output", str(tmp_path / "none")])


def test_lines_that_are_lost_or_there_twice(tmp_path):
    finish(tmp_path)
    rewrite(tmp_path, 0, lambda lines: lines[:1])  # of a-0 and b-1, the first two of task 0
    first = json.loads((tmp_path / manifest.manifest_name(0, TASKS)).read_text())
    rewrite(tmp_path, 1, lambda lines: [*lines, json.dumps(first)])
    found = problems(tmp_path)
    assert f"{tmp_path}: sample {first['sample']} of '{first['seed_id']}' is there 2 times, want once" in found
    assert f"{tmp_path}: manifest-00000-of-00003.jsonl has 1 lines, want 2 of 6" in found
    assert any("is no sample of this job" in problem for problem in found)


def test_a_sample_in_the_middle_that_is_missing(tmp_path):
    finish(tmp_path)
    rewrite(tmp_path, 1, lambda lines: [line for line in lines if '"sample": 1' not in line])
    assert f"{tmp_path}: sample 1 of 'b' is missing" in problems(tmp_path)


def test_files_that_are_gone_changed_or_strangers(tmp_path):
    finish(tmp_path)
    lines = manifest.read(str(tmp_path))
    (tmp_path / lines[0]["path"]).unlink()
    other = tmp_path / lines[1]["path"]
    other.write_bytes((tmp_path / lines[2]["path"]).read_bytes())
    cut = tmp_path / lines[3]["path"]
    cut.write_bytes(cut.read_bytes()[:40])
    (tmp_path / "midi" / "stranger.mid").write_bytes(b"MThd")
    assert problems(tmp_path) == [
        f"{tmp_path}: '{tmp_path}/{lines[0]['path']}' does not exist, but a manifest names it",
        f"{tmp_path}: '{other}' holds another line than its task's manifest",
        f"{tmp_path}: '{cut}' is damaged: it does not say what it was generated from",
        f"{tmp_path}: '{tmp_path}/midi/stranger.mid' is no sample of this job",
    ]


def test_records_that_are_gone_or_too_few(tmp_path):
    finish(tmp_path)
    gone, short = (tmp_path / manifest.records_name(index, TASKS) for index in (0, 1))
    gone.unlink()
    short.write_bytes(b"")
    found = problems(tmp_path)
    assert len(found) == 2 and f"'{gone}' cannot be read" in found[0]
    assert found[1].startswith(f"{tmp_path}: '{short}' holds 0 examples, want ")


def test_waiting_for_the_tasks(tmp_path, monkeypatch):
    left = [0, 1, 2]
    monkeypatch.setattr(waiting, "_sleep", lambda *_: finish(tmp_path, left.pop(0)))
    assert len(merged(tmp_path, "--wait-minutes", "5")) == 6 and left == []


def test_waiting_ends_when_no_task_ends(tmp_path):
    finish(tmp_path, 0)
    with pytest.raises(UserError, match="is not finished"):
        merge.main(["--output", str(tmp_path), "--wait-minutes", "0"])


def test_a_signal_ends_the_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting.time, "sleep", lambda _: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        merge.main(["--output", str(tmp_path), "--wait-minutes", "5"])


def test_a_time_that_cannot_be_waited(tmp_path):
    with pytest.raises(UserError, match="--wait-minutes is -1.0, want a number from 0"):
        merge.main(["--output", str(tmp_path), "--wait-minutes", "-1"])


def test_a_bucket(tmp_path, gs_bucket):
    finish(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"{gs_bucket}/music/{path.relative_to(tmp_path)}", path.read_bytes())
    assert merge.main(["--output", f"{gs_bucket}/music"]) == command.OK
    assert len(storage.read_text(f"{gs_bucket}/music/manifest.jsonl").splitlines()) == 6
