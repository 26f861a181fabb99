import dataclasses
import itertools

import numpy as np
import pytest

from generation_jobs.job import dry_run, job, task
from generation_jobs.job.dry_run import Trial, decode_seconds, describe
from generation_jobs.output import manifest, piece_bytes
from generation_jobs.settings.requests import Result, Settings
from job_runtime.problem_report import UserError
from midi_codec.music.notes import Notes
from tests.generation_jobs.fakes import FakeDecoder
from tests.generation_jobs.job import test_job
from tests.generation_jobs.job.test_task import files_of


def make_job(text: str = '{"id": "a"}\n{"id": "b", "num_samples": 5}\n', **changes: object) -> job.Job:
    values = {"output": "/nowhere/at/all", "samples_per_seed": 3, "rng_seed": 0}
    return test_job.make_job(data=text.encode(), **{**values, **changes})


class Constant:
    """Makes pieces of `num_notes` notes that end by themselves, unless the limit comes first."""

    num_slots, num_steps = 64, 0.0

    def __init__(self, num_notes: int):
        self.num_notes = num_notes
        self.asked: list[list[int]] = []

    def prepare(self, requests):
        self.prepared = [request.max_notes for request in requests]

    def generate(self, requests):
        self.asked.append([request.max_notes for request in requests])
        for index, request in enumerate(requests):
            count = min(self.num_notes, request.max_notes)
            notes = Notes.from_columns(
                pitch=np.full(count, 60),
                velocity=np.full(count, 80),
                start=np.arange(count) * 100,
                duration=np.full(count, 50),
                program=np.zeros(count, np.int64),
            )
            yield index, Result(notes, 0, -1.0, count < request.max_notes)


def measure(this_job: job.Job, decoder, num_slots: int = 64) -> Trial | None:
    """With a clock that advances with each reading: 0, 1, 3, 6, 10, 15 thousandths of a second."""
    readings = itertools.accumulate(itertools.count())

    def clock() -> float:
        return next(readings) / 1000

    return dry_run.measure(this_job, dry_run.left_to_make(this_job), lambda: decoder, num_slots=num_slots, clock=clock)


def test_a_trial_measures_pieces_of_the_share():
    this_job, decoder = make_job(), Constant(10)
    trial = measure(this_job, decoder)
    assert decoder.asked == [[20] * 8]  # all ended
    assert decoder.prepared == [20] * 8
    lines, sizes = [], []
    for sample in this_job.share():
        ((_, result),) = Constant(10).generate([this_job.request(sample)])
        line = this_job.line(sample, result)
        lines.append(len(manifest.dumps(line)) + 1)
        sizes.append(len(piece_bytes.serialize_midi(line, result.notes)))
    assert trial == Trial(
        num_pieces=8,
        num_cut=0,
        start_seconds=0.001,
        step_seconds=0.003 / 11,  # of ten notes and END
        notes=10.0,
        longest=10,
        midi_bytes=sum(sizes) / 8,
        record_bytes=trial.record_bytes,
        line_bytes=sum(lines) / 8,
    )
    assert sum(lines) / 8 < trial.record_bytes < sum(lines) / 8 + 1000  # its line and its columns


def test_pieces_are_spread_over_the_share():
    decoder = Constant(1)
    this_job = make_job('{"id": "a", "max_notes": 7}\n{"id": "b", "max_notes": 9}\n', samples_per_seed=100)
    trial = measure(this_job, decoder, num_slots=16)
    assert trial.num_pieces == 16
    assert decoder.asked[0] == [7] * 8 + [9] * 8


def test_pieces_longer_than_tried_count_at_their_limit():
    decoder = Constant(10**6)
    trial = measure(make_job(settings=Settings(max_notes=5120)), decoder)
    assert decoder.asked == [[32] * 8, [512] * 8]
    assert (trial.num_cut, trial.notes, trial.longest) == (8, 5120.0, 5120)
    assert trial.step_seconds == pytest.approx(0.005 / 512)
    short = measure(make_job(settings=Settings(max_notes=512)), Constant(10**6))
    assert trial.midi_bytes == pytest.approx(10 * short.midi_bytes, rel=0.01)
    assert (short.num_cut, short.notes) == (0, 512.0)


@pytest.mark.parametrize(("seconds", "asked"), [(1.0, [32, 128]), (4.0, [32]), (0.001, [32, 512])])
def test_a_slow_model_tries_fewer_notes(seconds, asked):
    """The first notes take so long; what is tried then takes four seconds at most."""
    this_job, decoder = make_job(settings=Settings(max_notes=5120)), Constant(10**6)
    readings = itertools.count(0, seconds)
    left = dry_run.left_to_make(this_job)
    trial = dry_run.measure(this_job, left, lambda: decoder, num_slots=64, clock=lambda: next(readings))
    assert [set(notes) for notes in decoder.asked] == [{limit} for limit in asked]
    assert trial.step_seconds == seconds / asked[-1]


def test_a_task_without_pieces_has_nothing_to_measure():
    this_job = make_job('{"id": "a"}', samples_per_seed=1, num_tasks=2, task_index=1)
    assert measure(this_job, None) is None
    assert list(describe(this_job, np.arange(0), None, num_slots=64)) == [
        "dry run, nothing is written: 1 piece of 1 seed, 0 in this task of 2"
    ]


def test_pieces_without_notes():
    trial = measure(make_job(), Constant(0))
    assert (trial.notes, trial.longest, trial.step_seconds, trial.record_bytes) == (0.0, 0, 0.003, 0.0)


TRIAL = Trial(
    num_pieces=64,
    num_cut=0,
    start_seconds=20.0,
    step_seconds=0.01,
    notes=199.0,
    longest=300,
    midi_bytes=2000.0,
    record_bytes=1000.0,
    line_bytes=500.0,
)


def test_the_time_depends_on_full_slots_or_on_the_longest_piece():
    assert decode_seconds(TRIAL, num_pieces=6400, num_slots=64) == 200.0
    assert decode_seconds(TRIAL, num_pieces=2, num_slots=64) == pytest.approx(3.01)


def test_the_printed_estimate():
    assert list(describe(make_job(samples_per_seed=6395), np.arange(6400), TRIAL, num_slots=64)) == [
        "dry run, nothing is written: 6,400 pieces of 2 seeds",
        "measured on 64 pieces: 199 notes per piece, including its primer",
        "on this machine the job takes 4 min: 20 s until the decoder is ready, then 3 min, 32.0 pieces per second with "
        "64 slots",
        "all 6,400 pieces together take about 22.4 MB: MIDI files 12.8 MB, records 6.4 MB, manifests 3.2 MB",
    ]
    trial = dataclasses.replace(TRIAL, num_cut=3)
    whole = make_job(samples_per_seed=10**6, num_tasks=4)
    several = list(describe(whole, whole.share(), trial, num_slots=64))
    assert several[:3] == [
        "dry run, nothing is written: 1,000,005 pieces of 2 seeds, 250,368 in this task of 4",
        "measured on 64 pieces, 3 of them cut short and counted at their limit: 199 notes per piece, "
        "including its primer",
        "on this machine this task takes 2 h 11 min: 20 s until the decoder is ready, then 2 h 10 min, 32.0 pieces per "
        "second with 64 slots",
    ]
    assert several[3].startswith("all 1,000,005 pieces together take about 3.5 GB: ")


def test_the_estimate_counts_only_missing_pieces():
    plan = list(describe(make_job(samples_per_seed=6395), np.arange(3200), TRIAL, num_slots=64))
    assert plan[1] == "3,200 already made, 3,200 left to make"
    assert plan[3].startswith("on this machine the rest takes 2 min: 20 s until the decoder is ready, then 2 min, 32.0")
    assert plan[4].startswith("all 6,400 pieces together take about 22.4 MB")
    tasks = list(describe(make_job(samples_per_seed=6395, num_tasks=2), np.arange(0), None, num_slots=64))
    assert tasks[1:] == ["3,200 already made, 0 left to make"]


def test_a_real_trial_of_the_fake_writes_nothing(tmp_path):
    this_job = make_job(output=str(tmp_path / "out"))
    trial = dry_run.measure(this_job, dry_run.left_to_make(this_job), FakeDecoder, num_slots=16)
    assert trial.num_pieces == 8
    assert list(tmp_path.iterdir()) == []


def stop_after(count: int, this_job: job.Job) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        task.run(this_job, lambda: FakeDecoder(stop_after=count), Never())


class Never:
    requested = False


@pytest.mark.parametrize("pieces_per_shard", [None, 8])
def test_finished_pieces_do_not_count_and_do_not_change(tmp_path, pieces_per_shard):
    """Twenty samples in shards of eight, of which a run made eleven."""
    this_job = make_job(output=str(tmp_path), samples_per_seed=15, pieces_per_shard=pieces_per_shard)
    assert dry_run.left_to_make(this_job).tolist() == list(range(20))
    stop_after(11, this_job)
    before = files_of(tmp_path)
    left = dry_run.left_to_make(this_job).tolist()
    assert len(left) == 9 and files_of(tmp_path) == before
    made: list[int] = []

    class Recorder(FakeDecoder):
        def generate(self, requests):
            made.extend(number for number in range(20) for one in requests if one.key == this_job.request(number).key)
            return super().generate(requests)

    task.run(this_job, Recorder, Never())
    assert sorted(made) == left
    assert dry_run.left_to_make(this_job).tolist() == []
    assert measure(this_job, None) is None


def test_a_task_estimates_its_own_shards(tmp_path):
    both = [make_job(output=str(tmp_path), samples_per_seed=15, num_tasks=2, task_index=index) for index in range(2)]
    task.run(both[0], FakeDecoder, Never())
    assert dry_run.left_to_make(both[0]).tolist() == []
    assert dry_run.left_to_make(both[1]).tolist() == list(range(8, 16))


def test_an_output_of_another_job_is_refused(tmp_path):
    task.run(make_job(output=str(tmp_path)), FakeDecoder, Never())
    with pytest.raises(UserError, match="was started with rng_seed 0, now it is 1"):
        dry_run.left_to_make(make_job(output=str(tmp_path), rng_seed=1))
