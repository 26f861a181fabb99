"""PyTorch's training step of a stack of LSTM layers. The first input line is its size, a JSON object.

For each case it tries `nn.LSTM` and a loop over `nn.LSTMCell`, and measures the faster. In bfloat16 both run under
autocast, as in PyTorch's guide to mixed precision (weights, gradients and optimizer stay float32, and the backward pass
is outside autocast), and as layers converted to bfloat16, whose weights, gradients and optimizer are bfloat16 too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import serve


class Cells(nn.Module):
    """The layers as a loop over `nn.LSTMCell`, layer by layer."""

    def __init__(self, units: int, _: int, layers: int):
        super().__init__()
        self.cells = nn.ModuleList(nn.LSTMCell(units, units) for _ in range(layers))

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        for cell in self.cells:
            state, outputs = None, []
            for row in inputs:
                state = cell(row, state)
                outputs.append(state[0])
            inputs = torch.stack(outputs)
        return inputs, None


def make_step(
    layer: Callable[[int, int, int], nn.Module], dtype: torch.dtype, autocast: bool, *, units: int, layers: int,
    batch: int, time: int, optimizer: bool,
) -> Callable[[], None]:  # fmt: skip
    """Forward, mean of squares, backward; with `optimizer`, Adam's step as well."""
    torch.manual_seed(0)
    model = layer(units, units, layers).to(dtype)
    inputs = torch.randn(time, batch, units, dtype=dtype, requires_grad=True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-9)

    def step() -> None:
        adam.zero_grad()
        inputs.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            outputs, _ = model(inputs)
        outputs = outputs.float()
        (outputs * outputs).mean().backward()
        if optimizer:
            adam.step()

    return step


def steps_of(precision: str, **size: Any) -> dict[str, Callable[[], None]]:
    """Every way to train in a precision, by name."""
    kinds = {"float32": (torch.float32, False)}
    if precision == "bfloat16":
        kinds = {"autocast": (torch.float32, True), "converted layers": (torch.bfloat16, False)}
    return {
        f"{layer.__name__}, {name}": make_step(layer, *kind, **size)
        for layer in (nn.LSTM, Cells)
        for name, kind in kinds.items()
    }


def main() -> None:
    size = json.loads(sys.stdin.readline())
    cases: dict[str, Callable[[], object]] = {"gemm_numpy_float32": serve.numpy_gemm()}
    for precision in ("float32", "bfloat16"):
        for case, optimizer in ((f"pytorch_{precision}", False), (f"pytorch_{precision}_adam", True)):
            cases[case] = serve.fastest(case, steps_of(precision, **size, optimizer=optimizer), lambda step: step)
        cases[f"gemm_pytorch_{precision}"] = serve.torch_gemm(getattr(torch, precision))
    serve.serve(cases, ["torch", "numpy"])


if __name__ == "__main__":
    main()
