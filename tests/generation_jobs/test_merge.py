"""The manifest of a whole job: its content, and every reason not to write it."""

import json
import signal

import pytest
from pyarrow import parquet

from generation_jobs import merge
from generation_jobs.output import manifest
from generation_jobs.screening.reject_policy import DROP, Policy
from job_runtime import command, storage, waiting
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import MILLISECONDS
from tests.generation_jobs.fakes import DATASET_HASH
from tests.generation_jobs.job.test_job import ALL
from tests.generation_jobs.job.test_task import run
from tests.generation_jobs.job.test_task_screened import policy

TASKS = 3
PART = "manifest/part-0000{}-of-00003.jsonl"


@pytest.fixture(autouse=True)
def shards_of_two_pieces(monkeypatch):
    monkeypatch.setattr("generation_jobs.output.shards._DEFAULT_PIECES", (2, 2))


def finish(output, *indexes: int, **changes) -> None:
    for index in indexes or range(TASKS):
        run(output, num_tasks=TASKS, task_index=index, **changes)


def merged(output, *more: str) -> list[dict]:
    assert merge.main(["--output", str(output), *more]) == command.OK
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def problems(output) -> list[str]:
    with pytest.raises(UserError) as error:
        merge.main(["--output", str(output)])
    assert not (output / "manifest.jsonl").exists()
    *found, last = error.value.problems
    assert last.endswith(manifest.START_AGAIN)
    return found or [last.removesuffix(f"; {manifest.START_AGAIN}")]


def rewrite(output, index: int, change) -> None:
    path = output / PART.format(index)
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))


def test_all_lines_in_order(tmp_path, capsys):
    finish(tmp_path)
    lines = merged(tmp_path)
    assert [(line["seed_id"], line["sample"]) for line in lines] == ALL
    assert lines == manifest.read(str(tmp_path))
    assert capsys.readouterr().out == f"6 samples, each exactly once: {tmp_path}/manifest.jsonl\n"
    before = (tmp_path / "manifest.jsonl").read_bytes()
    merged(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_bytes() == before


def test_missing_shards_of_an_unfinished_job_are_named(tmp_path):
    finish(tmp_path, 0, 2)
    assert problems(tmp_path) == [f"'{tmp_path}' is not finished: there is no {PART.format(1)} (1 of 3)"]
    with pytest.raises(UserError, match="holds no job.json"):
        merge.main(["--output", str(tmp_path / "none")])


def test_lines_that_are_missing_repeated_or_out_of_order(tmp_path):
    finish(tmp_path)
    first, second = (tmp_path / PART.format(0)).read_text().splitlines()  # b 0 and b 1
    rewrite(tmp_path, 0, lambda lines: lines[:1])
    found = problems(tmp_path)
    assert f"{tmp_path}: '{PART.format(0)}' has 1 lines, want 2" in found
    last = "sample 1 of 'b' or the first of another seed"
    assert f"{tmp_path}: '{PART.format(1)}', line 1 is sample 2 of 'b', want {last}" in found
    assert f"{tmp_path}: '{tmp_path}/midi/b/b-00001.mid' is not a sample of this job" in found

    rewrite(tmp_path, 0, lambda lines: [first, first])
    assert f"{tmp_path}: '{PART.format(0)}', line 2 is sample 0 of 'b', want {last}" in problems(tmp_path)
    rewrite(tmp_path, 0, lambda lines: [second, first])
    assert f"{tmp_path}: '{PART.format(0)}', line 1 is sample 1 of 'b', want the first of a seed" in problems(tmp_path)


def test_lines_of_another_job(tmp_path):
    finish(tmp_path)
    rewrite(tmp_path, 2, lambda lines: [line.replace('"rng_seed": 7', '"rng_seed": 8') for line in lines])
    assert f"{tmp_path}: '{PART.format(2)}', line 1 has rng_seed 8, want 7 as before" in problems(tmp_path)


@pytest.mark.parametrize("pieces_per_shard", [None, 2])
def test_pieces_that_were_left_out(tmp_path, pieces_per_shard):
    finish(tmp_path, policy=policy("drop"), pieces_per_shard=pieces_per_shard)
    lines = merged(tmp_path)
    assert [(line["seed_id"], line["sample"]) for line in lines] == ALL
    assert 0 < sum(line["path"] is None for line in lines) < 6


def test_tar_shards(tmp_path):
    finish(tmp_path, pieces_per_shard=2)
    assert len(merged(tmp_path)) == 6
    (tmp_path / "manifest.jsonl").unlink()
    paths = [tmp_path / f"midi/pieces-0000{shard}-of-00003.tar" for shard in range(3)]
    names = [f"'{tmp_path}/{line['path']}'" for line in manifest.read(str(tmp_path))]
    paths[0].unlink()
    paths[1].write_bytes(paths[2].read_bytes())
    assert problems(tmp_path) == [f"{tmp_path}: {name} does not exist, but a manifest names it" for name in names[:4]]
    paths[2].write_bytes(b"x" * 1024)
    *_, last = problems(tmp_path)
    assert f"'{paths[2]}' is damaged: " in last
    paths[1].unlink()  # of the right size: the restart cannot tell
    finish(tmp_path, pieces_per_shard=2)
    assert len(merged(tmp_path)) == 6


def test_truncated_and_invalid_manifests(tmp_path):
    finish(tmp_path)
    paths = [tmp_path / PART.format(index) for index in range(3)]
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    paths[1].write_text('{"seed_id": "b"}\n')
    paths[2].write_text("[]\n")
    found = problems(tmp_path)
    assert found[0].startswith(f"{tmp_path}: {paths[0]}:2: not JSON: ")
    assert f'{tmp_path}: {paths[1]}:1: ended is missing, want true or false or "steered"' in found
    assert found[-1] == f"{tmp_path}: {paths[2]}:1: it is [], want an object"
    finish(tmp_path)
    assert len(merged(tmp_path)) == 6


def test_folders_in_place_of_files(tmp_path):
    finish(tmp_path)
    for name in ("midi/b/b-00000.mid", "records/generated-00001-of-00003.tfrecord"):
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    midi, records = problems(tmp_path)
    assert midi.startswith(f"{tmp_path}: '{tmp_path}/midi/b/b-00000.mid' cannot be read: ")
    assert records.startswith(f"{tmp_path}: '{tmp_path}/records/generated-00001-of-00003.tfrecord' cannot be read: ")


def test_partial_files_of_killed_tasks_are_deleted(tmp_path):
    finish(tmp_path)
    (tmp_path / "midi/.0123456789abcdef.partial").write_bytes(b"half of a tar")
    merged(tmp_path)
    assert not (tmp_path / "midi/.0123456789abcdef.partial").exists()


def test_missing_changed_and_foreign_files(tmp_path):
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
        f"{tmp_path}: '{other}' holds a line that differs from its manifest",
        f"{tmp_path}: '{cut}' is damaged: it does not say what it was generated from; delete it, and generate --only "
        f"{lines[3]['seed_id']}:{lines[3]['sample']} with the job's flags makes it again",
        f"{tmp_path}: '{tmp_path}/midi/stranger.mid' is not a sample of this job",
    ]


def test_missing_incomplete_and_foreign_records(tmp_path):
    finish(tmp_path)
    gone, short, other = (tmp_path / f"records/generated-0000{index}-of-00003.tfrecord" for index in range(3))
    other.write_bytes(gone.read_bytes())
    gone.unlink()
    short.write_bytes(b"")
    found = problems(tmp_path)
    assert len(found) == 3 and f"'{gone}' cannot be read" in found[0]
    assert found[1].startswith(f"{tmp_path}: '{short}' holds 0 examples, want ")
    assert str(other) in found[2]


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


def test_invalid_waiting_times(tmp_path):
    with pytest.raises(UserError, match="--wait-minutes is '-1', want a number, 0 or more"):
        merge.main(["--output", str(tmp_path), "--wait-minutes", "-1"])


def test_a_bucket(tmp_path, gs_bucket):
    finish(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"{gs_bucket}/music/{path.relative_to(tmp_path)}", path.read_bytes())
    assert merge.main(["--output", f"{gs_bucket}/music"]) == command.OK
    assert len(storage.read_text(f"{gs_bucket}/music/manifest.jsonl").splitlines()) == 6


def test_selected_pieces_have_a_manifest_of_their_own(tmp_path, capsys):
    finish(tmp_path)
    kept = tmp_path / "kept.csv"
    kept.write_text("piece,mark,note\nc-00000,keep,\nb-00001,keep,good\nb-00000,reject,\n")
    merged(tmp_path, "--select", str(kept))
    names = [f"{line['seed_id']}-{line['sample']:05d}" for line in manifest.read(str(tmp_path))]
    lines = [json.loads(line) for line in (tmp_path / "selected.jsonl").read_text().splitlines()]
    assert lines == [manifest.read(str(tmp_path))[names.index(name)] for name in ("b-00001", "c-00000")]
    assert capsys.readouterr().out.endswith(f"2 pieces selected: {tmp_path}/selected.jsonl\n")
    kept.write_text("b-00009\n")
    assert problems_of_list(tmp_path, kept) == [
        f"{kept}:1: 'b-00009' is none of the pieces, want the name of a .mid file or SEED:SAMPLE"
    ]


def problems_of_list(output, kept) -> list[str]:
    with pytest.raises(UserError) as error:
        merge.main(["--output", str(output), "--select", str(kept)])
    return error.value.problems


def exported(output, *more: str) -> list[dict]:
    assert merge.main(["--output", str(output), "--export", "parquet", "--license", "CC0-1.0", *more]) == command.OK
    return parquet.read_table(output / "parquet/data/train-00000-of-00001.parquet").to_pylist()


@pytest.mark.parametrize("pieces_per_shard", [None, 2])
def test_an_export_has_a_row_per_piece(tmp_path, pieces_per_shard, capsys):
    finish(tmp_path, pieces_per_shard=pieces_per_shard)
    rows = exported(tmp_path)
    lines = manifest.read(str(tmp_path))
    assert [(row["seed_id"], row["sample"]) for row in rows] == ALL
    assert [json.loads(row["manifest_line"]) for row in rows] == lines
    assert [row["piece_id"] for row in rows] == [line["piece_id"] for line in lines]
    for name in ("rng_seed", "bundle", "num_primer_notes", "num_notes", "log_likelihood"):
        assert [row[name] for row in rows] == [line[name] for line in lines]
    fifth = rows[ALL.index(("a", 1))]
    assert (fifth["pitch"][:2], fifth["start"][:2], fifth["velocity"][:2]) == ([60, 64], [0, 500], [80, 90])
    assert (fifth["split"], fifth["time_base"]) == ("train", "milliseconds")
    assert fifth["ended"] == ("itself" if lines[ALL.index(("a", 1))]["ended"] else "cut")
    assert f"{tmp_path}/parquet: 6 pieces, {sum(line['num_notes'] for line in lines)} notes" in capsys.readouterr().out
    card = (tmp_path / "parquet" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\n")
    assert f"# {tmp_path.name}\n\n6 pieces" in card and '"rng_seed": 7,\n' in card
    merged(tmp_path)  # the export is not in the way of the check


def test_a_piece_without_notes_and_pieces_that_were_left_out(tmp_path):
    finish(tmp_path, policy=policy("drop"))
    lines = [line for line in manifest.read(str(tmp_path)) if line["path"] is not None]
    rows = exported(tmp_path)
    assert [row["piece_id"] for row in rows] == [line["piece_id"] for line in lines] and 0 < len(rows) < 6
    left_out = 6 - len(rows)
    wanted = f"Samples: 6; {left_out} were left out by screening, {len(rows)} are here\n"
    assert wanted in (tmp_path / "parquet" / "README.md").read_text()


def test_a_job_without_pieces_has_nothing_to_export(tmp_path):
    strict = Screen({"length": 0.0}, MILLISECONDS, DATASET_HASH)  # a piece is at most this long
    finish(tmp_path, policy=Policy(screen=strict, on_reject=DROP))
    with pytest.raises(UserError, match="has no piece to export: screening left out all 6 samples"):
        exported(tmp_path)


def test_only_selected_pieces_are_exported(tmp_path):
    finish(tmp_path)
    kept = tmp_path / "kept.csv"
    kept.write_text("c-00000\nb-00001\n")
    rows = exported(tmp_path, "--select", str(kept), "--name", "The best")
    assert [(row["seed_id"], row["sample"]) for row in rows] == [("b", 1), ("c", 0)]
    assert "# The best\n\n2 pieces" in (tmp_path / "parquet" / "README.md").read_text()


def test_flags_of_an_export_need_one_another(tmp_path):
    for argv, says in (
        (["--export", "parquet"], "--license is missing, want "),
        (["--license", "pddl"], "--license is given without --export, want both or neither"),
        (["--export", "csv"], "--export is 'csv', want parquet"),
    ):
        with pytest.raises(UserError, match=says):
            merge.main(["--output", str(tmp_path), *argv])
