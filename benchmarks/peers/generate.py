"""The note model's step loop in PyTorch. The first input line is its size, a JSON object.

One note per step, under `inference_mode`: summed embeddings, LSTM layers, one head per field that sees the fields
before it, a draw from each head and from END. It keeps the drawn notes, and computes no likelihood. For each batch size
and precision it tries two ways to step the LSTM, two ways to draw, and in bfloat16 both autocast and a converted model;
the fastest combination is measured.
"""

from __future__ import annotations

import copy
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.peers import serve

TRIAL_STEPS = 8


class Variant(NamedTuple):
    """One way to generate."""

    model: StepModel
    autocast: bool
    step: Callable
    draw: Callable

    @torch.inference_mode()
    def generate(self, batch: int, steps: int) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            self.model.generate(batch, steps, self.step, self.draw)


class StepModel(nn.Module):
    """One note for a batch; the same sizes and the same order of products as our model."""

    def __init__(self, *, units: int, layers: int, head_units: int, bins: list[int], widths: list[int]):
        super().__init__()
        self.units, self.layers, self.head_units = units, layers, head_units
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, units) for size in bins)
        self.lstm = nn.LSTM(units, units, layers)
        self.cells = nn.ModuleList(nn.LSTMCell(units, units) for _ in range(layers))
        self.heads = nn.Linear(units, head_units * len(bins) + 1)  # the last column is END
        self.conditions = nn.ModuleList(
            nn.ModuleList(nn.Embedding(size, head_units) for size in bins[:index]) for index in range(len(bins))
        )
        self.outputs = nn.ModuleList(nn.Linear(head_units, width) for width in widths)

    def step_lstm(self, x: torch.Tensor, state: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """`nn.LSTM` on a sequence of one."""
        y, (h, c) = self.lstm(x[None], (state[0], state[1]))
        return y[0], [h, c]

    def step_cells(self, x: torch.Tensor, state: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """One `nn.LSTMCell` per layer."""
        h, c = list(state[0]), list(state[1])
        for layer, cell in enumerate(self.cells):
            h[layer], c[layer] = cell(x, (h[layer], c[layer]))
            x = h[layer]
        return x, [h, c]

    def zero_state(self, batch: int) -> list[torch.Tensor]:
        return [torch.zeros(self.layers, batch, self.units, dtype=self.heads.weight.dtype) for _ in range(2)]

    def generate(self, batch: int, steps: int, step: Callable, draw: Callable) -> torch.Tensor:
        """`[steps, batch, num_fields]` bins."""
        notes = torch.empty(steps, batch, len(self.embeddings), dtype=torch.long)
        ended = torch.zeros(batch, dtype=torch.bool)
        previous = [torch.full((batch,), table.num_embeddings - 1) for table in self.embeddings]
        state = self.zero_state(batch)
        for index in range(steps):
            x = self.embeddings[0](previous[0])
            for table, bins in zip(self.embeddings[1:], previous[1:], strict=True):
                x = x + table(bins)
            h, state = step(x, state)
            hidden_layers = self.heads(h)
            ended |= torch.rand(batch) < torch.sigmoid(hidden_layers[:, -1] - 100)
            drawn: list[torch.Tensor] = []
            for field, output in enumerate(self.outputs):
                hidden = hidden_layers[:, field * self.head_units : (field + 1) * self.head_units]
                for condition, bins in zip(self.conditions[field], drawn, strict=True):
                    hidden = hidden + condition(bins)
                drawn.append(draw(torch.softmax(output(torch.relu(hidden)), dim=1, dtype=torch.float32)))
            previous = drawn
            notes[index] = torch.stack(drawn, dim=1)
        return notes


def draw_multinomial(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(probabilities, 1)[:, 0]


def draw_race(probabilities: torch.Tensor) -> torch.Tensor:
    """The same distribution: the first of exponential clocks, each ticking at its probability."""
    return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(dim=1)


def variants_of(precision: str, model: StepModel) -> dict[str, Variant]:
    """Every way to generate in a precision, by name."""
    if precision == "float32":
        models = {"float32": (model, False)}
    else:
        models = {"autocast": (model, True), "a converted model": (copy.deepcopy(model).to(torch.bfloat16), False)}
    return {
        f"{name}, {step}, {draw.__name__}": Variant(own, autocast, getattr(own, step), draw)
        for name, (own, autocast) in models.items()
        for step, draw in itertools.product(("step_lstm", "step_cells"), (draw_multinomial, draw_race))
    }


def fastest(case: str, variants: Mapping[str, Variant], batch: int, steps: int) -> Callable[[], None]:
    chosen = serve.fastest(case, variants, lambda variant: lambda: variant.generate(batch, TRIAL_STEPS))
    return lambda: chosen.generate(batch, steps)


def main() -> None:
    size = json.loads(sys.stdin.readline())
    torch.manual_seed(0)
    runs = size.pop("runs")
    model = StepModel(**size).eval()
    cases: dict[str, Callable[[], object]] = {"gemm_numpy_float32": serve.numpy_gemm()}
    for precision in ("float32", "bfloat16"):
        variants = variants_of(precision, model)
        for batch, steps in runs:
            case = f"pytorch_{precision}@b{batch}"
            cases[case] = fastest(case, variants, batch, steps)
        cases[f"gemm_pytorch_{precision}"] = serve.torch_gemm(getattr(torch, precision))
    serve.serve(cases, ["torch", "numpy"])


if __name__ == "__main__":
    main()
