"""From a bucket into a bucket: the same bytes as on a disk."""

import pytest

from tests import servers
from tests.engines import runs

pytestmark = pytest.mark.slow

BEAM = ("--runner=FnApiRunner",)


@pytest.mark.parametrize("flags", [(), BEAM], ids=["no engine", "FnApiRunner"])
def test_google_with_the_pods_own_credentials(copy_music, plain, gs_bucket, gcs_server, google, flags):
    source = copy_music(gs_bucket)
    gcs_server.requests.clear()
    text = runs.encode(source, f"{gs_bucket}/d", *flags, env=google)
    assert "Traceback" not in text
    # for the rest of an upload, the emulator itself names an address without TLS
    asked = [one for one in gcs_server.requests if one.method != "CONNECT" and "upload_id=" not in one.path]
    assert asked and all(request.is_secure for request in asked)
    assert {request.authorization for request in asked} == {f"Bearer {servers.TOKEN}"}
    assert runs.files_of(f"{gs_bucket}/d") == plain


def test_google_by_the_emulators_address(copy_music, plain, gs_bucket, gcs_server, tmp_path):
    runs.encode(copy_music(gs_bucket), tmp_path / "d", env=gcs_server.emulator_env)
    assert runs.files_of(tmp_path / "d") == plain


@pytest.mark.parametrize("flags", [(), BEAM], ids=["no engine", "FnApiRunner"])
def test_s3(copy_music, plain, s3_bucket, s3_server, flags):
    runs.encode(copy_music(s3_bucket), f"{s3_bucket}/d", *flags, env=servers.s3_env(s3_server))
    assert runs.files_of(f"{s3_bucket}/d") == plain
