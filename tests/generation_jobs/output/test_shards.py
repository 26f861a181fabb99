import pytest

from generation_jobs.output.shards import Shards, default_pieces_per_shard


def test_shards_hold_runs_of_samples_the_last_one_fewer():
    shards = Shards(10, 4)
    assert len(shards) == 3
    assert [list(shards.numbers(shard)) for shard in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [shards.of_sample(number) for number in range(10)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert len(Shards(0, 4)) == 0


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 5])
def test_tasks_take_every_nth_shard(num_tasks):
    shards = Shards(10, 4)
    by_task = [list(shards.of_task(index, num_tasks)) for index in range(num_tasks)]
    assert sorted(sum(by_task, [])) == [0, 1, 2]
    for index, mine in enumerate(by_task):
        want = [number for shard in mine for number in shards.numbers(shard)]
        assert shards.samples_of_task(index, num_tasks).tolist() == want


def test_names():
    shards = Shards(10, 4)
    assert shards.manifest(1) == "manifest/part-00001-of-00003.jsonl"
    assert shards.records(1) == "records/generated-00001-of-00003.tfrecord"
    assert shards.tar(1) == "midi/pieces-00001-of-00003.tar"
    assert shards.failures(1) == "failures/part-00001-of-00003.jsonl"


@pytest.mark.parametrize(("samples", "want"), [(1, 8), (512, 8), (6400, 100), (100_000, 512), (10**6, 512)])
def test_the_default_size_depends_only_on_the_job(samples, want):
    assert default_pieces_per_shard(samples) == want
