"""What several tests of the encode job watch."""

import pytest

from beam_pipelines.encoding import encode_chunk
from beam_pipelines.survey import time_base_choice


@pytest.fixture
def parsed_files(monkeypatch) -> list[int]:
    """How many files each call of the parser got, from here on; without the sample for advice on the grid."""
    counts: list[int] = []
    real = encode_chunk.midi_file.parse_many

    def parse_many(files, **more):
        counts.append(len(files))
        return real(files, **more)

    monkeypatch.setattr(time_base_choice, "advice", lambda *_: None)
    monkeypatch.setattr(encode_chunk.midi_file, "parse_many", parse_many)
    return counts
