"""A bucket without credentials is the user's mistake: one sentence that says what to do, and status 2."""

import sys

import pytest

from job_runtime.command import USER_ERROR
from tests.engines import runs

pytestmark = pytest.mark.slow

WANTED = {
    "gs": "gs:// needs Google credentials and there are none; run `gcloud auth application-default login`, "
    "or set GOOGLE_APPLICATION_CREDENTIALS; in a cluster, give the pod a service account",
    "s3": "s3:// needs AWS credentials and there are none; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or run `aws configure`; in a cluster, give the pod a service account",
}


@pytest.fixture
def nobody(tmp_path) -> dict[str, str]:
    """An environment of someone who never logged in, on a machine that is nobody's cloud."""
    missing = str(tmp_path / "none")
    google = {"CLOUDSDK_CONFIG": missing, "NO_GCE_CHECK": "true"}
    files = {"AWS_SHARED_CREDENTIALS_FILE": missing, "AWS_CONFIG_FILE": missing}
    return {**google, **files, "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}


def check(text: str, program: str, scheme: str) -> None:
    assert "Traceback" not in text
    last = text.splitlines()[-1]
    assert last.startswith(f"python -m {program}: ")  # then the flag, where it is known
    assert last.endswith(WANTED[scheme])


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_encode_from_a_bucket(nobody, tmp_path, scheme):
    text = runs.encode(f"{scheme}://bucket/midi", tmp_path / "d", env=nobody, status=USER_ERROR)
    check(text, "beam_pipelines.encode_corpus", scheme)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_encode_into_a_bucket(music, nobody, scheme):
    text = runs.encode(music, f"{scheme}://bucket/d", env=nobody, status=USER_ERROR)
    check(text, "beam_pipelines.encode_corpus", scheme)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_train_from_a_bucket(nobody, tmp_path, scheme):
    line = (sys.executable, "-m", "trainer.task", "--data", f"{scheme}://bucket/d", "--output", str(tmp_path / "run"))
    text = runs.run(*line, env=nobody, status=USER_ERROR)
    check(text, "trainer.task", scheme)
