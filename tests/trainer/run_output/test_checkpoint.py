import logging

import keras
import numpy as np
import pytest

from trainer.run_output import checkpoint


def make_variables(value: float) -> list[keras.Variable]:
    return [
        keras.Variable(np.full((20, 3), value, np.float32), name="kernel"),
        keras.Variable(np.array(int(value), np.int64), dtype="int64", name="iterations"),
    ]


def save(folder, step: int) -> None:
    checkpoint.save(str(folder), step, make_variables(float(step)), {"best": 1.5 * step})


def restore(folder, variables=None) -> tuple[dict | None, list[np.ndarray]]:
    variables = make_variables(0.0) if variables is None else variables
    state = checkpoint.restore_latest(str(folder), variables)
    return state, [np.asarray(variable.value) for variable in variables]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back_and_two_are_kept(tmp_path):
    for step in (3, 12, 200):
        save(tmp_path, step)
    state, (kernel, iterations) = restore(tmp_path)
    assert state == {"step": 200, "best": 300.0}
    assert (kernel == 200).all() and iterations == 200
    assert names(tmp_path) == ["step-00000012.npz", "step-00000200.npz"]


def test_nothing_to_restore(tmp_path):
    state, (kernel, _) = restore(tmp_path / "none")
    assert state is None and (kernel == 0).all()


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * len(data)]
)
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path, caplog, damage):
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = tmp_path / "step-00000002.npz"
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        state, (kernel, iterations) = restore(tmp_path)
    assert state == {"step": 1, "best": 1.5} and (kernel == 1).all() and iterations == 1
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{newest}: passed over, not a whole checkpoint of this run: ")


def test_a_flipped_byte_anywhere_is_found_or_harmless(tmp_path, caplog):
    save(tmp_path, 1)
    save(tmp_path, 2)
    newest = tmp_path / "step-00000002.npz"
    data = newest.read_bytes()
    for place in range(0, len(data), 7):
        newest.write_bytes(flip(data, place))
        state, (kernel, iterations) = restore(tmp_path)
        step = state["step"]
        assert step in (1, 2) and (kernel == step).all() and iterations == step
    assert len(caplog.records) > len(data) / 28  # most of the file is checked
    caplog.clear()


def test_all_damaged_is_a_new_start(tmp_path, caplog):
    save(tmp_path, 1)
    (tmp_path / "step-00000001.npz").write_bytes(b"")
    state, (kernel, _) = restore(tmp_path)
    assert state is None and (kernel == 0).all() and len(caplog.records) == 1


@pytest.mark.parametrize(
    "shapes, want",
    [
        ([(20, 3)], "holds 2 variables, want 1"),
        ([(20, 3), (), (4,)], "holds 2 variables, want 3"),
        ([(20, 4), ()], "other is (20, 3), want (20, 4)"),
    ],
)
def test_a_checkpoint_of_other_variables(tmp_path, caplog, shapes, want):
    save(tmp_path, 1)
    state, _ = restore(tmp_path, [keras.Variable(np.zeros(shape, np.float32), name="other") for shape in shapes])
    assert state is None
    assert caplog.records[0].getMessage().endswith(want)


def test_a_damaged_newest_does_not_cost_the_good_ones(tmp_path):
    """After going on from the one before, the next save must leave two, one of them good."""
    save(tmp_path, 1)
    save(tmp_path, 5)
    (tmp_path / "step-00000005.npz").write_bytes(b"")
    save(tmp_path, 3)  # the run went on from step 1
    state, _ = restore(tmp_path)
    assert state["step"] == 3


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert names(tmp_path) == ["notes.txt", "step-00000002.npz", "step-00000003.npz"]


def test_buckets_too(gs_bucket):
    for step in (1, 2, 3):
        save(f"{gs_bucket}/run/checkpoints", step)
    state, (kernel, _) = restore(f"{gs_bucket}/run/checkpoints")
    assert state["step"] == 3 and (kernel == 3).all()
    assert [path.rsplit("/", 1)[1] for path in checkpoint.paths(f"{gs_bucket}/run/checkpoints")] == [
        "step-00000002.npz",
        "step-00000003.npz",
    ]


def test_a_new_start_after_damaged_ones_keeps_what_it_saves(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
        (tmp_path / f"step-{step:08d}.npz").write_bytes(b"x")
    assert restore(tmp_path)[0] is None
    for step in (0, 1, 2):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-00000001.npz", "step-00000002.npz"]
    assert restore(tmp_path)[0] == {"step": 2, "best": 3.0}


def test_an_error_of_the_storage_is_no_damaged_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def fail(_):
        raise TimeoutError("the bucket does not answer")

    monkeypatch.setattr(checkpoint.array_file, "read", fail)
    with pytest.raises(TimeoutError):
        restore(tmp_path)
    with pytest.raises(TimeoutError):
        checkpoint.latest_state(str(tmp_path))
