import threading

import pytest
import tensorflow as tf

from generation_jobs.decoder import groups


@pytest.mark.parametrize(
    ("num_slots", "count", "rows"),
    [(1, 1, 1), (16, 1, 16), (48, 1, 48), (64, 2, 32), (80, 2, 48), (256, 2, 128), (272, 3, 96), (4096, 32, 128)],
)
def test_the_size_of_a_group_depends_on_the_number_of_slots(num_slots, count, rows):
    assert (groups.num_groups(num_slots), groups.rows(num_slots)) == (count, rows)


def test_a_gpu_takes_all_slots_at_once(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert (groups.num_groups(256), groups.rows(256)) == (1, 256)


def test_each_group_is_called_until_it_has_no_more():
    left = {"a": [1, 2], "b": [3], "c": []}

    def call(group: str) -> int | None:
        return left[group].pop(0) if left[group] else None

    assert sorted(groups.results_of_calls(call, list(left))) == [1, 2, 3]
    assert list(groups.results_of_calls(call, [])) == []


def test_groups_run_at_the_same_time(monkeypatch):
    monkeypatch.setattr(groups, "num_cores", lambda: 2)
    both, calls = threading.Barrier(2), {"a": 0, "b": 0}

    def call(group: str) -> str | None:
        both.wait(timeout=60)
        calls[group] += 1
        return group if calls[group] < 3 else None

    assert sorted(groups.results_of_calls(call, ["a", "b"])) == ["a", "a", "b", "b"]


def test_what_a_group_raises_ends_the_others():
    def call(group: str) -> str:
        if group == "bad":
            raise ValueError("no")
        return group

    with pytest.raises(ValueError, match="no"):
        list(groups.results_of_calls(call, ["good", "bad"]))


def test_a_process_that_has_computed_keeps_its_threads():
    tf.constant(1.0)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    groups.use_one_thread_per_group(4096)
    assert tf.config.threading.get_intra_op_parallelism_threads() == threads
