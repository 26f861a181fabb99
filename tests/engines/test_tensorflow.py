"""Datasets in buckets as TensorFlow sees them, with its own `gs://` and tensorflow-io's `s3://`; and a training on one.

TensorFlow runs in processes of its own: it reads the environment once, and tensorflow-io aborts a process at its end.
"""

import hashlib
import sys

import pytest

from job_runtime import storage
from midi_codec.dataset.tfrecord_framing import read_records
from tests import servers
from tests.engines import runs

pytestmark = pytest.mark.slow

READ = """
import hashlib, os, sys
import tensorflow as tf
if sys.argv[1].startswith("s3://"):
    import tensorflow_io
for record in tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(sys.argv[1] + "/*.tfrecord"))):
    print("record", hashlib.sha256(record.numpy()).hexdigest(), flush=True)
os._exit(0)
"""
SMALL = ("--units", "16", "--head-units", "16", "--batch-size", "4", "--window", "16", "--epochs", "1")


def put(plain: dict[str, bytes], bucket: str) -> str:
    """Writes the dataset into a bucket; its folder."""
    for name, data in plain.items():
        storage.write_bytes(f"{bucket}/d/{name}", data)
    return f"{bucket}/d"


def digests(plain: dict[str, bytes]) -> list[str]:
    shards = [data for name, data in sorted(plain.items()) if name.endswith(".tfrecord")]
    return [hashlib.sha256(record).hexdigest() for shard in shards for record in read_records(shard)]


def read_by_tensorflow(folder: str, env: dict[str, str]) -> list[str]:
    text = runs.run(sys.executable, "-c", READ, folder, env=env)
    return [line.removeprefix("record ") for line in text.splitlines() if line.startswith("record ")]


def test_shards_in_google_storage(plain, gs_bucket, gcs_server, google):
    folder = put(plain, gs_bucket)
    gcs_server.requests.clear()
    assert read_by_tensorflow(folder, google) == digests(plain)
    asked = [request for request in gcs_server.requests if request.method != "CONNECT"]
    assert {request.authorization for request in asked} == {f"Bearer {servers.TOKEN}"}


def test_shards_in_s3(plain, s3_bucket, s3_server):
    folder = put(plain, s3_bucket)
    assert read_by_tensorflow(folder, servers.s3_env(s3_server)) == digests(plain)


def test_a_training_on_google_storage_alone(plain, gs_bucket, google):
    line = (sys.executable, "-m", "trainer.task", "--data", put(plain, gs_bucket), "--output", f"{gs_bucket}/run")
    runs.run(*line, *SMALL, "--samples", "1", env=google)
    names = {
        entry.path.removeprefix(f"{gs_bucket}/run/").split("/")[0] for entry in storage.list_files(f"{gs_bucket}/run")
    }
    assert names == {"bundle", "checkpoints", "metrics.jsonl", "run.json", "samples", "starts.jsonl", "tensorboard"}
