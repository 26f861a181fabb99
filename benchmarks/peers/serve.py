"""A peer's side of a benchmark: a warm process that runs a case per request.

Requests are JSON lines `{"case": name, ...}`, answers `{"seconds": s, ...}`. The first line that it prints holds the
versions.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

GEMM_SIZE = 2048  # the same as the benchmark's own
NUM_TRIALS = 3

_Variant = TypeVar("_Variant")


def serve(cases: Mapping[str, Callable[[], Any]], packages: Sequence[str]) -> None:
    """Answers until standard input ends. A case may return a dictionary to add to its answer."""
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not look like an answer
    print(json.dumps({name: importlib.metadata.version(name) for name in packages}), file=out, flush=True)
    for line in sys.stdin:
        run = cases[json.loads(line)["case"]]
        start = time.perf_counter()
        extra = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, **(extra if isinstance(extra, dict) else {})}), file=out, flush=True)


def fastest(case: str, variants: Mapping[str, _Variant], make: Callable[[_Variant], Callable[[], Any]]) -> _Variant:
    """The variant that runs fastest in a short trial, and says so on standard error.

    Args:
      make: makes the function whose calls are the trials.
    """

    def seconds(variant: _Variant) -> float:
        run = make(variant)
        times = []
        for _ in range(NUM_TRIALS):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    trials = {name: seconds(variant) for name, variant in variants.items()}
    chosen = min(trials, key=trials.__getitem__)
    print(f"{case}: PyTorch runs with {chosen}", file=sys.stderr)
    return variants[chosen]


def numpy_gemm() -> Callable[[], Any]:
    """One product of large square float32 matrices, by NumPy's BLAS."""
    matrix = np.random.default_rng(0).standard_normal((GEMM_SIZE, GEMM_SIZE), np.float32)
    return lambda: matrix @ matrix


def torch_gemm(dtype: Any) -> Callable[[], Any]:
    """The same product by PyTorch, in any precision."""
    import torch

    matrix = torch.randn(GEMM_SIZE, GEMM_SIZE).to(dtype)
    return lambda: matrix @ matrix
