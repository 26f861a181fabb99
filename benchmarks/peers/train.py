"""PyTorch's training step of a stack of LSTM layers. The first input line is its size, a JSON object.

In bfloat16 the layers run under autocast, as in PyTorch's guide to mixed precision: weights, gradients and optimizer
stay float32, and the backward pass is outside autocast.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch

from benchmarks.peers import serve


def make_step(*, units: int, layers: int, batch: int, time: int, precision: str, optimizer: bool) -> Callable[[], None]:
    """Forward, mean of squares, backward; with `optimizer`, Adam's step as well."""
    torch.manual_seed(0)
    model = torch.nn.LSTM(units, units, layers)
    inputs = torch.randn(time, batch, units, requires_grad=True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-9)

    def step() -> None:
        adam.zero_grad()
        inputs.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            outputs, _ = model(inputs)
        outputs = outputs.float()
        (outputs * outputs).mean().backward()
        if optimizer:
            adam.step()

    return step


def main() -> None:
    size = json.loads(sys.stdin.readline())
    cases: dict[str, Callable[[], object]] = {"gemm_numpy_float32": serve.numpy_gemm()}
    for precision in ("float32", "bfloat16"):
        cases[f"pytorch_{precision}"] = make_step(**size, precision=precision, optimizer=False)
        cases[f"pytorch_{precision}_adam"] = make_step(**size, precision=precision, optimizer=True)
        cases[f"gemm_pytorch_{precision}"] = serve.torch_gemm(getattr(torch, precision))
    serve.serve(cases, ["torch", "numpy"])


if __name__ == "__main__":
    main()
