"""Our decoder in one precision, as a process that generates for each request (`python -m benchmarks.speed.decoding`).

The first input line is a JSON object: `precision`, and for each case the bundle's size, the number of pieces at once,
and their notes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.harness import synthetic
from benchmarks.peers import serve
from generation_jobs.settings.requests import Request, Sampling


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from generation_jobs.decoder import groups

    groups.use_one_thread_per_group(max(batch for _, batch, _ in setup["cases"].values()))
    cases = {name: make_run(*case, precision=setup["precision"]) for name, case in setup["cases"].items()}
    serve.serve(cases, ["tensorflow", "keras"])


def make_run(size: Mapping[str, int], batch: int, steps: int, *, precision: str) -> Callable[[], None]:
    """Generates that many pieces of that many notes, each from silence."""
    from generation_jobs.decoder.decoder import Decoder

    decoder: Any = Decoder(synthetic.make_bundle(**size), num_slots=batch, precision=precision)
    requests = [
        Request(key=(batch, number), primer=None, max_notes=steps, max_seconds=None, sampling=Sampling())
        for number in range(batch)
    ]

    def generate() -> None:
        generated = sum(len(result.notes) for _, result in decoder.generate(requests))
        assert generated == batch * steps, f"generated {generated} notes, want {batch * steps}"

    return generate


if __name__ == "__main__":
    main()
