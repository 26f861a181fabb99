"""Secrets do not get into what is stored or logged, and the rest stays readable."""

import pytest

from job_runtime.logs import masking


def test_command_lines():
    argv = ["--input", "s3://b/x", "--s3_secret_access_key=abc", "--s3_access_key_id", "AKIA1", "--password", "p w"]
    argv += [
        "--storage=postgresql://tune:hunter2@db/x",
        "--azure_connection_string",
        "A=b;c",
        "--units",
        "3",
        "--seed-token",
    ]
    assert masking.mask_arguments(argv) == [
        *("--input", "s3://b/x", "--s3_secret_access_key=…", "--s3_access_key_id", "…", "--password", "…"),
        *("--storage=postgresql://tune:…@db/x", "--azure_connection_string", "…", "--units", "3", "--seed-token"),
    ]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            "cannot reach postgresql://tune:hunter2@db:5432/x?sslmode=on",
            "cannot reach postgresql://tune:…@db:5432/x?sslmode=on",
        ),
        ("https://u:p%2Fq@host/a and ftp://a:b@c", "https://u:…@host/a and ftp://a:…@c"),
        ("https://a.blob/x?sv=2024&sig=aB%2F3&se=1", "https://a.blob/x?sv=2024&sig=…&se=1"),
        (
            "Endpoint=sb://x/;SharedAccessKeyName=n;AccountKey=Zm9v==;X=1",
            "Endpoint=sb://x/;SharedAccessKeyName=…;AccountKey=…;X=1",
        ),
        ("ran encode --s3_secret_access_key=abc --units 3", "ran encode --s3_secret_access_key=… --units 3"),
        ("ran encode --auth-token abc --units 3", "ran encode --auth-token … --units 3"),
        ("{'password': 'x', \"api_key\": \"y\", 'units': 3}", "{'password': '…', \"api_key\": '…', 'units': 3}"),
        ("PGPASSWORD=x psql", "PGPASSWORD=… psql"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer …"),
    ],
)
def test_text(text, want):
    assert masking.mask(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "--monkey is not known, did you mean --key?",
        "pitch_classes is 'x', want a key such as 'D minor'",
        "gs://bucket/a@b/c: not JSON",
        "the key 'id' is given twice",
        "rng_seed=3 and 5 tokens a second",
        "s3://bucket/name@2x.mid",
    ],
)
def test_what_is_no_secret(text):
    assert masking.mask(text) == text
