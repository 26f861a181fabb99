import dataclasses
import json
import pathlib

import pytest

from generation_jobs import job, manifest, primers, seed_list
from generation_jobs.requests import Settings
from midi_codec import midi_file, records
from midi_codec.command import Interrupted, StopSignal, UserError
from midi_codec.notes import MILLISECONDS
from tests.generation_jobs.fakes import DATASET_HASH, FakeDecoder, make_bundle

INLINE = {"pitch": [60, 64], "velocity": [80, 90], "start_seconds": [0, 0.5], "duration_seconds": [1, 1]}
LIST = b"\n".join(
    json.dumps(record).encode()
    for record in (
        {"id": "b", "num_samples": 3},
        {"id": "a", "notes": INLINE, "temperature": 0, "max_seconds": 60},
        {"id": "c", "num_samples": 1, "max_notes": 1},
    )
)
ALL = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]


def make_job(output: pathlib.Path, *, data: bytes = LIST, **changes: object) -> job.Job:
    seeds, problems = seed_list.parse(data)
    assert problems == []
    loaded, problems = primers.load(seeds, folder="", table=make_bundle().fields)
    assert problems == []
    values = {
        "output": str(output),
        "bundle": "b" * 32,
        "dataset": DATASET_HASH,
        "seeds": seeds,
        "primers": loaded,
        "seeds_digest": "s" * 32,
        "settings": Settings(max_notes=20),
        "samples_per_seed": 2,
        "rng_seed": 7,
    }
    return job.Job(**{**values, **changes})


def run(output: pathlib.Path, decoder: FakeDecoder | None = None, **changes: object) -> job.Summary:
    return job.run(make_job(output, **changes), lambda: decoder or FakeDecoder(), StopSignal())


def files_of(output: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_the_shares_of_all_tasks_are_every_sample_once(tmp_path):
    for num_tasks in (1, 2, 3, 7):
        shares = [make_job(tmp_path, num_tasks=num_tasks, task_index=i).share() for i in range(num_tasks)]
        assert sorted(sum(shares, [])) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_samples_are_dealt_out_in_the_order_of_the_list(tmp_path):
    assert make_job(tmp_path, num_tasks=2, task_index=1).share() == [(0, 1), (1, 0), (2, 0)]


def test_a_request_key_is_of_rng_seed_seed_and_sample():
    assert job.request_key(0, "a", 0) == (0x5B0F4CD7, 0x2D8A1CC1)
    keys = {job.request_key(*args) for args in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a1", 0))}
    assert len(keys) == 5
    assert all(0 <= word < 2**32 for key in keys for word in key)


def test_what_a_job_leaves(tmp_path):
    summary = run(tmp_path)
    names = {f"midi/{seed}/{seed}-{sample:05d}.mid" for seed, sample in ALL}
    tail = "00000-of-00001"
    assert files_of(tmp_path).keys() == names | {
        "job.json",
        f"manifest-{tail}.jsonl",
        f"records/generated-{tail}.tfrecord",
    }
    lines = manifest.read(str(tmp_path))
    assert [(line["seed_id"], line["sample"]) for line in lines] == ALL
    notes = sum(line["checks"]["num_notes_generated"] for line in lines)
    assert (summary.num_samples, summary.num_made, summary.num_notes) == (6, 6, notes)


def test_a_line_says_where_a_piece_comes_from(tmp_path):
    run(tmp_path)
    line = manifest.read(str(tmp_path))[1]
    notes = midi_file.parse((tmp_path / line["path"]).read_bytes())
    assert list(line) == [
        "seed_id", "sample", "rng_seed", "path", "piece_id", "bundle", "dataset", "settings", "num_primer_notes",
        "num_notes", "seconds", "log_likelihood", "ended", "checks", "code_version",
    ]  # fmt: skip
    num_generated = len(notes) - 2
    given = {"temperature": 0.0, "max_notes": 20, "max_seconds": 60.0}
    assert line["settings"] == {**dataclasses.asdict(Settings()), **given}
    assert line["path"] == "midi/a/a-00001.mid"
    assert line["piece_id"] == notes.piece_id
    assert (line["rng_seed"], line["bundle"], line["dataset"]) == (7, "b" * 32, "d" * 32)
    assert (line["num_primer_notes"], line["num_notes"]) == (2, len(notes))
    assert line["seconds"] == pytest.approx(notes.seconds, abs=1e-6)
    assert line["log_likelihood"] == pytest.approx(-1.5 * num_generated - 0.1, abs=1e-6)
    assert line["ended"] == (num_generated < 20)
    assert line["checks"]["num_notes_generated"] == num_generated
    assert notes.pitch[:2].tolist() == [60, 64]


def test_a_midi_file_holds_its_manifest_line(tmp_path):
    run(tmp_path)
    for line in manifest.read(str(tmp_path)):
        assert manifest.dumps(line).encode() in (tmp_path / line["path"]).read_bytes()


def test_records_hold_the_pieces_in_the_dataset_format(tmp_path):
    run(tmp_path)
    path = tmp_path / "records/generated-00000-of-00001.tfrecord"
    pieces = list(records.read_pieces(str(path), time_base=MILLISECONDS))
    lines = [line for line in manifest.read(str(tmp_path)) if line["num_notes"]]
    assert [(p.piece_id, p.group_id, p.source) for p in pieces] == [
        (line["piece_id"], line["seed_id"], line["path"]) for line in lines
    ]
    assert [p.notes for p in pieces] == [
        midi_file.parse((tmp_path / line["path"]).read_bytes()).from_first_onset() for line in lines
    ]


def test_a_piece_without_a_note_has_a_line_and_no_record(tmp_path):
    data = b'{"id": "c", "num_samples": 30, "max_notes": 1}'  # the fake makes 0 notes or 1
    run(tmp_path, data=data)
    lines = manifest.read(str(tmp_path))
    counts = [line["num_notes"] for line in lines]
    assert len(counts) == 30
    assert set(counts) == {0, 1}
    shard = (tmp_path / "records/generated-00000-of-00001.tfrecord").read_bytes()
    assert len(list(records.read_records(shard))) == sum(counts)
    (tmp_path / "manifest-00000-of-00001.jsonl").unlink()
    run(tmp_path, data=data)  # reads the empty pieces back
    assert manifest.read(str(tmp_path)) == lines


def test_the_same_list_twice_in_one_task_or_in_four_gives_the_same(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "again")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "again")
    for index in (2, 0, 3, 1):
        run(tmp_path / "four", num_tasks=4, task_index=index)
    assert manifest.read(str(tmp_path / "four")) == manifest.read(str(tmp_path / "one"))
    one, four = (
        {name: data for name, data in files_of(tmp_path / run).items() if name.endswith(".mid")}
        for run in ("one", "four")
    )
    assert one == four


def test_another_rng_seed_gives_other_music_and_the_same_primer(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "other", rng_seed=8)
    ids = [{line["piece_id"] for line in manifest.read(str(tmp_path / name))} for name in ("one", "other")]
    assert len(ids[0] & ids[1]) < 3  # two pieces without notes may agree


@pytest.mark.parametrize("stop_after", range(7))
def test_a_restart_after_a_kill_makes_only_what_was_not_whole(tmp_path, stop_after):
    run(tmp_path / "straight")
    killed = FakeDecoder(stop_after=stop_after)
    if stop_after < 6:
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "killed", killed)
        assert not (tmp_path / "killed/manifest-00000-of-00001.jsonl").exists()
    restarted = FakeDecoder()
    summary = run(tmp_path / "killed", restarted)
    assert restarted.asked == 6 - stop_after or stop_after == 6
    assert summary.num_made == restarted.asked
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_a_restart_after_a_kill_between_the_last_files_finishes_without_a_decoder(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    (tmp_path / "manifest-00000-of-00001.jsonl").unlink()
    (tmp_path / "records/generated-00000-of-00001.tfrecord").unlink()
    summary = job.run(make_job(tmp_path), lambda: pytest.fail("nothing is missing"), StopSignal())
    assert files_of(tmp_path) == want
    assert (summary.num_samples, summary.num_made) == (6, 0)


def test_a_finished_task_does_nothing(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    summary = job.run(make_job(tmp_path), lambda: pytest.fail("nothing is missing"), StopSignal())
    assert (summary.num_samples, summary.num_made) == (6, 0)
    assert files_of(tmp_path) == want


def test_a_finished_task_does_not_read_its_pieces_again(tmp_path):
    run(tmp_path)
    (tmp_path / "midi/a/a-00000.mid").write_bytes(b"")  # would be refused if it were read
    assert run(tmp_path).num_made == 0


def test_a_half_written_piece_is_not_taken_for_whole(tmp_path):
    run(tmp_path / "straight")
    (tmp_path / "killed/midi/a").mkdir(parents=True)
    (tmp_path / "killed/midi/a/.0123.partial").write_bytes(b"MThd")
    run(tmp_path / "killed")
    (tmp_path / "killed/midi/a/.0123.partial").unlink()
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_a_request_to_stop_is_heard_between_two_pieces(tmp_path):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted, match="1 pieces are whole; start the same command again"):
        job.run(make_job(tmp_path), FakeDecoder, stop)
    assert len([name for name in files_of(tmp_path) if name.endswith(".mid")]) == 1
    assert run(tmp_path).num_made == 5


def test_a_task_without_a_sample_is_done_at_once(tmp_path):
    data = b'{"id": "a", "num_samples": 1}'
    for index in range(3):
        run(tmp_path, data=data, num_tasks=3, task_index=index)
    assert (tmp_path / "manifest-00002-of-00003.jsonl").read_bytes() == b""
    assert len(manifest.read(str(tmp_path))) == 1


@pytest.mark.parametrize(
    ("changes", "name", "old", "new"),
    [
        ({"rng_seed": 8}, "rng_seed", "7", "8"),
        ({"settings": Settings(max_notes=20, top_k=3)}, "top_k", "None", "3"),
        ({"samples_per_seed": 3}, "samples_per_seed", "2", "3"),
        ({"num_tasks": 2}, "num_tasks", "1", "2"),
        ({"bundle": "c" * 32}, "bundle", f"'{'b' * 32}'", f"'{'c' * 32}'"),
    ],
)
def test_an_output_that_was_begun_with_something_else_is_refused(tmp_path, changes, name, old, new):
    run(tmp_path)
    want = files_of(tmp_path)
    with pytest.raises(UserError) as error:
        run(tmp_path, **changes)
    assert error.value.problems == [
        f"--output '{tmp_path}' was begun with {name} {old}, now it is {new}; want the same, or another --output"
    ]
    assert files_of(tmp_path) == want


def test_all_that_differs_is_said_at_once(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError) as error:
        run(tmp_path, seeds_digest="t" * 32, rng_seed=0, settings=Settings())
    assert [problem.split(" with ")[1].split(" ")[0] for problem in error.value.problems] == [
        "seeds", "rng_seed", "max_notes",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_a_job_file_of_someone_else_is_refused(tmp_path, content):
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(UserError, match="is not a job file"):
        run(tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"MThd", midi_file.serialize(FakeDecoder()._result(make_job(pathlib.Path()).request((1, 0))).notes)],
)
def test_a_file_that_stands_in_the_way_is_named(tmp_path, data):
    path = tmp_path / "midi/a/a-00000.mid"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(UserError, match="a-00000.mid' stands where a piece of this job belongs, but it does not say"):
        run(tmp_path)
    assert path.read_bytes() == data


def test_a_piece_that_was_edited_is_named(tmp_path):
    run(tmp_path)
    (tmp_path / "manifest-00000-of-00001.jsonl").unlink()
    path = tmp_path / "midi/a/a-00000.mid"
    line, notes = manifest.parse_piece(path.read_bytes(), time_base=MILLISECONDS)
    path.write_bytes(manifest.serialize_piece(line, dataclasses.replace(notes, velocity=notes.velocity // 2 + 1)))
    with pytest.raises(UserError, match="its notes were changed since; move it away"):
        run(tmp_path)


def test_manifests_of_an_unfinished_job_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no job.json"):
        manifest.read(str(tmp_path))
    run(tmp_path, num_tasks=2, task_index=1)
    with pytest.raises(UserError, match=r"not finished: there is no manifest-00000-of-00002.jsonl \(1 of 2\)"):
        manifest.read(str(tmp_path))
