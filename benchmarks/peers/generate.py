"""The note model's step loop in PyTorch. The first input line is its size, a JSON object.

One note per step, under `inference_mode`: summed embeddings, LSTM layers, one head per field that sees the fields
before it, a draw from each head and from END. It keeps the drawn notes, and computes no likelihood. For each batch size
it tries two ways to step the LSTM and two ways to draw, and the fastest pair is measured.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.peers import serve

TRIAL_STEPS = 8


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
        return [torch.zeros(self.layers, batch, self.units) for _ in range(2)]

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
                drawn.append(draw(torch.softmax(output(torch.relu(hidden)), dim=1)))
            previous = drawn
            notes[index] = torch.stack(drawn, dim=1)
        return notes


def draw_multinomial(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(probabilities, 1)[:, 0]


def draw_race(probabilities: torch.Tensor) -> torch.Tensor:
    """The same distribution: the first of exponential clocks, each ticking at its probability."""
    return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(dim=1)


@torch.inference_mode()
def fastest(model: StepModel, batch: int, steps: int) -> Callable[[], None]:
    """The fastest of the four variants, chosen by a short trial."""
    variants = list(itertools.product((model.step_lstm, model.step_cells), (draw_multinomial, draw_race)))

    def seconds(variant: tuple[Callable, Callable]) -> float:
        start = time.perf_counter()
        model.generate(batch, TRIAL_STEPS, *variant)
        return time.perf_counter() - start

    trials = [min(seconds(variant) for _ in range(3)) for variant in variants]
    best = variants[trials.index(min(trials))]
    print(f"batch {batch}: PyTorch steps with {best[0].__name__}, {best[1].__name__}", file=sys.stderr)
    return torch.inference_mode()(lambda: (model.generate(batch, steps, *best), None)[1])


def main() -> None:
    size = json.loads(sys.stdin.readline())
    torch.manual_seed(0)
    batches, steps = size.pop("batches"), size.pop("steps")
    model = StepModel(**size).eval()
    cases = {f"pytorch_float32@b{batch}": fastest(model, batch, steps) for batch in batches}
    cases["gemm_pytorch_float32"] = serve.torch_gemm(torch.float32)
    cases["gemm_numpy_float32"] = serve.numpy_gemm()
    serve.serve(cases, ["torch", "numpy"])


if __name__ == "__main__":
    main()
