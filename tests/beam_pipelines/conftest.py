"""What several tests of the encode job watch."""

import pytest

from beam_pipelines.encoding import encode_chunk
from beam_pipelines.survey import time_base_choice


@pytest.fixture
def parsed_files(monkeypatch) -> list[int]:
    """How many files each call of the parser got, from here on; without the sample that chooses the grid."""
    counts: list[int] = []
    real = encode_chunk.midi_file.parse_many

    def parse_many(files, **more):
        counts.append(len(files))
        return real(files, **more)

    chosen = time_base_choice.TimeBaseChoice(num_pieces=0, written_share=0.0)
    monkeypatch.setattr(time_base_choice, "choose", lambda *_: chosen)
    monkeypatch.setattr(encode_chunk.midi_file, "parse_many", parse_many)
    return counts
