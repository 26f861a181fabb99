"""PyTorch's training step of a stack of LSTM layers. The first line in is its size, a JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch

from benchmarks.peers import serve


def make_step(*, units: int, layers: int, batch: int, time: int, optimizer: bool) -> Callable[[], None]:
    """Forward, mean of squares, backward; with `optimizer`, Adam's step as well."""
    torch.manual_seed(0)
    model = torch.nn.LSTM(units, units, layers)
    inputs = torch.randn(time, batch, units, requires_grad=True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-9)

    def step() -> None:
        adam.zero_grad()
        inputs.grad = None
        outputs, _ = model(inputs)
        (outputs * outputs).mean().backward()
        if optimizer:
            adam.step()

    return step


def main() -> None:
    size = json.loads(sys.stdin.readline())
    serve.serve(
        {
            "pytorch_float32": make_step(**size, optimizer=False),
            "pytorch_float32_adam": make_step(**size, optimizer=True),
            "gemm_pytorch_float32": serve.torch_gemm(torch.float32),
            "gemm_numpy_float32": serve.numpy_gemm(),
        },
        ["torch", "numpy"],
    )


if __name__ == "__main__":
    main()
