import json
import os

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.command import UserError
from tests.trainer.tiny import make_many, make_table
from trainer import strategy
from trainer.batches import Windows, make_batch
from trainer.pieces import stack_pieces


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TF_CONFIG", "JOB_COMPLETION_INDEX"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_one_device_where_nothing_says_otherwise(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")  # tuning workers have one too
    strategy.set_tf_config(None, None)
    strategy.set_tf_config(1, None)
    assert "TF_CONFIG" not in os.environ
    made = strategy.make_strategy()
    assert isinstance(made, tf.distribute.OneDeviceStrategy) and made.num_replicas_in_sync == 1
    assert strategy.is_chief(made)


def test_several_gpus_are_mirrored(monkeypatch):
    devices = tf.config.list_logical_devices("CPU")[:2]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "GPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "mirrored")
    assert strategy.make_strategy() == "mirrored"


def test_tf_config_of_several_workers(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "several")
    assert strategy.make_strategy() == "several"


def test_tf_config_of_one_worker_is_one_device(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}}))
    assert isinstance(strategy.make_strategy(), tf.distribute.OneDeviceStrategy)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": 3}}'])
def test_tf_config_that_cannot_be(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError) as error:
        strategy.make_strategy()
    assert str(error.value).startswith(f"TF_CONFIG is {text!r}, want JSON such as ")


@pytest.mark.parametrize(
    "pattern, want",
    [
        ("train-{index}.train", ["train-0.train:2222", "train-1.train:2222", "train-2.train:2222"]),
        ("127.0.0.1:900{index}", ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002"]),
    ],
)
def test_tf_config_from_the_completion_index(monkeypatch, pattern, want):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    strategy.set_tf_config(3, pattern)
    assert json.loads(os.environ["TF_CONFIG"]) == {
        "cluster": {"worker": want},
        "task": {"type": "worker", "index": 1},
    }


def test_a_tf_config_that_is_there_stays(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "mine")
    strategy.set_tf_config(2, "host-{index}")
    assert os.environ["TF_CONFIG"] == "mine"


@pytest.mark.parametrize(
    "workers, pattern, index, want",
    [
        (0, "a-{index}", "0", ["--num-workers is 0, want at least 1"]),
        (2, None, "0", ["--worker-host-pattern is None, want a host name with {index} in it"]),
        (2, "host", "1", ["--worker-host-pattern is 'host', want a host name with {index} in it"]),
        (2, "a-{index}", "2", ["JOB_COMPLETION_INDEX is '2', want this worker's number, 0 to 1"]),
        (
            2,
            "host",
            "",
            [
                "--worker-host-pattern is 'host', want a host name with {index} in it",
                "JOB_COMPLETION_INDEX is '', want this worker's number, 0 to 1",
            ],
        ),
    ],
)
def test_flags_that_cannot_be(monkeypatch, workers, pattern, index, want):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    with pytest.raises(UserError) as error:
        strategy.set_tf_config(workers, pattern)
    assert error.value.problems == want
    assert "TF_CONFIG" not in os.environ


def test_names_are_the_public_ones():
    assert strategy.name_of(tf.distribute.OneDeviceStrategy("/cpu:0")) == "OneDeviceStrategy"


def test_alone_there_is_nothing_to_agree_on():
    agree = strategy.make_agreement(tf.distribute.OneDeviceStrategy("/cpu:0"))
    assert agree(True, 1.5) == (True, 1.5) and agree(False, 0.0) == (False, 0.0)


def test_a_batch_that_does_not_fill_the_replicas():
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    pieces = stack_pieces(make_many([5]), make_table())
    windows = Windows(np.array([0]), np.array([0]), np.array([6]))
    batch = make_batch(pieces, windows, table=make_table(), batch_size=3, start_bins=make_table().start_bins)
    with pytest.raises(ValueError, match="the batch has 3 rows here, want a multiple of 2 replicas"):
        strategy.share_out(batch, two)
