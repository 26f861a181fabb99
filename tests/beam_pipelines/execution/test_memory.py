"""The memory of an encode does not grow with its files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.harness import machine, midi_tars

pytestmark = pytest.mark.slow

FEW, MANY = 3000, 9000  # files; without a collection after each part they took 20 KB each
MOST_MEGABYTES = 60  # that MANY may take more than FEW: 17 were measured, and 207 without that collection

ENCODE = """
import json, sys
from beam_pipelines import encode_corpus
from benchmarks.harness.phases import phase
figures = {}
for name in sys.argv[2:]:
    with phase(figures, name):
        encode_corpus.main(["--input", f"{sys.argv[1]}/{name}.tar", "--output", f"{sys.argv[1]}/{name}"])
print(json.dumps({name: figure["own_megabytes"] for name, figure in figures.items()}))
"""


def test_the_most_memory_of_an_encode_is_that_of_a_part(tmp_path):
    for key, size in enumerate((FEW, MANY)):
        midi_tars.write_tar(tmp_path / f"files{size}.tar", key=key, num_files=size)
    names = [f"files{size}" for size in (FEW, MANY)]
    done = subprocess.run(
        [sys.executable, "-c", ENCODE, str(tmp_path), *names], cwd=machine.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout.splitlines()[-1]).values()
    assert many - few < MOST_MEGABYTES
