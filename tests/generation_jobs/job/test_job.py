import json
import pathlib
import re

import pytest

from generation_jobs.job import job
from generation_jobs.output import manifest
from generation_jobs.screening.reject_policy import RETRY, Policy
from generation_jobs.seeds import primers, seed_list
from generation_jobs.settings.requests import Settings
from job_runtime.problem_report import UserError
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import MILLISECONDS
from tests.generation_jobs.fakes import DATASET_HASH, make_bundle
from trainer.model import precision

INLINE = {"pitch": [60, 64], "velocity": [80, 90], "start_seconds": [0, 0.5], "duration_seconds": [1, 1]}
LIST = b"\n".join(
    json.dumps(record).encode()
    for record in (
        {"id": "b", "num_samples": 3},
        {"id": "a", "notes": INLINE, "temperature": 0, "max_seconds": 60},
        {"id": "c", "num_samples": 1, "max_notes": 1},
    )
)
ALL = [("b", 0), ("b", 1), ("b", 2), ("a", 0), ("a", 1), ("c", 0)]  # in the order of the list
POLICY = Policy(screen=Screen({}, MILLISECONDS, DATASET_HASH), on_reject=RETRY, max_retries=2)


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


def test_samples_are_numbered_in_the_order_of_the_list(tmp_path):
    this_job = make_job(tmp_path)
    assert [this_job.sample(number) for number in range(6)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    assert [this_job.number_of(*sample) for sample in ALL] == list(range(6))
    assert [this_job.number_of(*sample) for sample in (("b", 3), ("b", -1), ("d", 0))] == [None] * 3
    assert this_job.path(4) == "midi/a/a-00001.mid"
    assert make_job(tmp_path, pieces_per_shard=2).path(4) == "midi/pieces-00002-of-00003.tar!a/a-00001.mid"


def test_the_shares_of_all_tasks_are_every_sample_once(tmp_path):
    for num_tasks in (1, 2, 3, 7):
        jobs = [make_job(tmp_path, num_tasks=num_tasks, task_index=i, pieces_per_shard=1) for i in range(num_tasks)]
        shares = [each.share().tolist() for each in jobs]
        assert sorted(sum(shares, [])) == [0, 1, 2, 3, 4, 5]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_tasks_take_every_nth_shard(tmp_path):
    assert make_job(tmp_path, num_tasks=2, task_index=1, pieces_per_shard=2).share().tolist() == [2, 3]
    assert make_job(tmp_path, num_tasks=2, task_index=0, pieces_per_shard=2).share().tolist() == [0, 1, 4, 5]


def test_a_request_key_depends_on_rng_seed_seed_and_sample():
    assert job.request_key(0, "a", 0) == (0x5B0F4CD7, 0x2D8A1CC1)
    others = ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a1", 0), (0, "a", 0, 1), (0, "a", 0, 2))
    keys = {job.request_key(*args) for args in others}
    assert len(keys) == 7
    assert job.request_key(0, "a", 0, 0) == job.request_key(0, "a", 0)
    assert all(0 <= word < 2**32 for key in keys for word in key)


@pytest.mark.parametrize(
    ("changes", "name", "old", "new"),
    [
        ({"rng_seed": 8}, "rng_seed", "7", "8"),
        ({"settings": Settings(max_notes=20, top_k=3)}, "top_k", "None", "3"),
        ({"samples_per_seed": 3}, "samples_per_seed", "2", "3"),
        ({"policy": POLICY}, "max_retries", "None", "2"),
        ({"bundle": "c" * 32}, "bundle", f"'{'b' * 32}'", f"'{'c' * 32}'"),
    ],
)
def test_an_output_of_other_settings_is_refused(tmp_path, changes, name, old, new):
    job.begin(make_job(tmp_path))
    want = (tmp_path / "job.json").read_bytes()
    with pytest.raises(UserError) as error:
        job.begin(make_job(tmp_path, **changes))
    assert (
        f"--output '{tmp_path}' was started with {name} {old}, now it is {new}; want the same, or another --output"
        in error.value.problems
    )
    assert (tmp_path / "job.json").read_bytes() == want


def test_an_output_of_an_older_format_is_refused_by_name(tmp_path):
    job.begin(make_job(tmp_path))
    path = tmp_path / "job.json"
    path.write_bytes(path.read_bytes().replace(b'"format_version": 3', b'"format_version": 2'))
    with pytest.raises(UserError) as error:
        job.begin(make_job(tmp_path))
    assert error.value.problems == [
        f"--output '{tmp_path}' was started by another version of this program, which writes job format 2; "
        "this one writes 3: finish the job with that version, or choose another --output"
    ]
    assert len(manifest.shards_of(str(tmp_path))) == 1  # what it finished is read


@pytest.fixture
def processor(monkeypatch):
    """Lets a test choose what the processor can do."""
    return lambda has_tiles: monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: has_tiles)


def with_auto(output: pathlib.Path, *, writes: bool = True) -> str:
    return job.with_precision(make_job(output, precision=precision.AUTO), writes=writes).precision


@pytest.mark.parametrize(("first", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_the_first_task_chooses_the_precision_for_all(tmp_path, processor, first, chosen):
    processor(first)
    assert with_auto(tmp_path, writes=False) == chosen and not (tmp_path / "job.json").exists()
    assert with_auto(tmp_path) == chosen
    processor(not first)
    assert with_auto(tmp_path) == with_auto(tmp_path, writes=False) == chosen
    job.begin(make_job(tmp_path, precision=chosen))
    other = {"bfloat16": "float32", "float32": "bfloat16"}[chosen]
    assert job.with_precision(make_job(tmp_path, precision=other), writes=True).precision == other
    with pytest.raises(UserError, match=f"was started with precision '{chosen}', now it is '{other}'"):
        job.begin(make_job(tmp_path, precision=other))


def test_a_job_of_an_earlier_version_continues_in_float32(tmp_path, processor):
    processor(True)
    job.begin(make_job(tmp_path))
    path = tmp_path / "job.json"
    path.write_bytes(path.read_bytes().replace(b' "precision": "float32",\n', b""))
    assert "precision" not in json.loads(path.read_bytes())
    assert with_auto(tmp_path) == "float32"
    job.begin(make_job(tmp_path))


def test_another_number_of_tasks_may_continue(tmp_path):
    job.begin(make_job(tmp_path))
    job.begin(make_job(tmp_path, num_tasks=40, task_index=7))


def test_all_differences_are_reported(tmp_path):
    job.begin(make_job(tmp_path))
    with pytest.raises(UserError) as error:
        job.begin(make_job(tmp_path, seeds_digest="t" * 32, rng_seed=0, settings=Settings()))
    assert [problem.split(" with ")[1].split(" ")[0] for problem in error.value.problems] == [
        "seeds", "rng_seed", "max_notes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "want"),
    [("{", "not JSON"), ("[]", "it is [], want an object"), ("3", "it is 3, want an object")],
)
def test_a_foreign_job_file_is_refused(tmp_path, content, want):
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(UserError, match=f"job.json: {re.escape(want)}"):
        job.begin(make_job(tmp_path))


def test_a_job_keeps_its_seeds_with_their_notes_and_its_thresholds(tmp_path):
    screen = Screen({"length": 9.0}, MILLISECONDS, DATASET_HASH)
    this_job = make_job(tmp_path, policy=Policy(screen=screen))
    job.begin(this_job)
    assert (tmp_path / "thresholds.json").read_text() == screen.to_json()
    kept = seed_list.read(str(tmp_path / "seeds.jsonl"))
    assert kept.problems == []
    assert [json.loads(line) for line in (tmp_path / "seeds.jsonl").read_text().splitlines()] == [
        {"id": "b", "num_samples": 3},
        {"id": "a", "notes": {**INLINE, "program": [0, 0]}, "tempo": 120.0, "temperature": 0, "max_seconds": 60},
        {"id": "c", "num_samples": 1, "max_notes": 1},
    ]
    again, _ = primers.load(kept.seeds, folder="", table=make_bundle().fields)
    assert again.digest == this_job.primers.digest


def test_a_list_by_piece_id_or_file_is_kept_with_notes_and_where_they_are_from(tmp_path):
    seeds, _ = seed_list.parse(LIST)
    origins = {1: {"midi": "a.mid", "track": 2, "from_note": 4, "num_notes": 2}}
    table = make_bundle().fields
    notes = primers.load(seeds, folder="", table=table)[0][1]
    seed = seed_list.Seed(id="x", midi="a.mid", from_note=4, overrides={"top_k": 5, "map_programs": "nearest"})
    data = seed_list.with_notes([seeds[0], seed], [None, notes], origins)
    (_, kept), problems = seed_list.parse(data)
    assert problems == []
    assert (kept.id, kept.midi, kept.from_note, kept.overrides) == ("x", None, 0, {"top_k": 5})
    assert kept.origin == origins[1]
    assert primers.load([kept], folder="", table=table)[0][0] == notes


def test_a_restart_writes_what_a_job_of_an_earlier_version_lacks(tmp_path):
    this_job = make_job(tmp_path)
    job.begin(this_job)
    want = (tmp_path / "seeds.jsonl").read_bytes()
    (tmp_path / "seeds.jsonl").unlink()
    job.begin(this_job)
    assert (tmp_path / "seeds.jsonl").read_bytes() == want
    with pytest.raises(UserError):
        job.begin(make_job(tmp_path, data=b'{"id": "other"}', rng_seed=8))
    assert (tmp_path / "seeds.jsonl").read_bytes() == want


def test_labels_of_the_flags_and_of_seeds(tmp_path):
    data = b'{"id": "a"}\n{"id": "b", "label": "composer=Bach:1,Mozart:3", "guidance": 2}\n{"id": "c", "label": null}\n'
    settings = Settings(label={"composer": "Liszt"}, guidance=1.5)
    this_job = make_job(tmp_path, data=data, settings=settings, samples_per_seed=1)
    assert [this_job.settings_of(seed).label for seed in this_job.seeds] == [
        {"composer": "Liszt"},
        {"composer": {"Bach": 1.0, "Mozart": 3.0}},
        None,
    ]
    assert [this_job.request(number).condition for number in range(3)] == [
        ((("composer", (("Liszt", 1.0),)),), 1.5),
        ((("composer", (("Bach", 0.25), ("Mozart", 0.75))),), 2.0),
        ((), 1.5),
    ]
    assert not this_job.request(2).condition.is_guided
