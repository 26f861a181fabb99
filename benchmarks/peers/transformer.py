"""A PyTorch transformer with our fields, heads, bins and notes, trained for a given time.

    python -m benchmarks.peers.transformer SETUP.json

Pre-norm blocks with rotary positions (Su et al. 2021), feed-forward layers with GELU whose width gives our number of
parameters, dropout, AdamW, cosine decay by time after a short warm-up, and our transposition of training windows. Each
field's head sees the earlier fields of its note, so the likelihood of a note is exact, as in our model. Validation
reads every piece in overlapping windows, so a note has at least half a window of context, if it has that many
predecessors.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.note_windows import Split, Windows, cut_for_scoring, gather, load_split
from benchmarks.peers.timed_training import Curve, cpu_clock

WARM_UP_SHARE = 0.03
FINAL_RATE = 0.02
CLIP_NORM = 1.0
VALIDATION_WINDOWS = 32  # per batch


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions: the halves of each head's columns as pairs; `[batch, heads, time, size]`."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=-1)


class Block(nn.Module):
    """Pre-norm causal attention, and a feed-forward layer."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm_attention, self.norm_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.outputs = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, time, width = x.shape
        projected = self.inputs(self.norm_attention(x)).view(batch, time, 3, self.num_heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended = self.outputs(attended.transpose(1, 2).reshape(batch, time, width))
        x = x + functional.dropout(attended, self.dropout, self.training)
        hidden = self.down(functional.gelu(self.up(self.norm_hidden(x))))
        return x + functional.dropout(hidden, self.dropout, self.training)


class Transformer(nn.Module):
    """Embeddings of the previous event, blocks, and our heads: relu(slice of h + embeddings of this note's fields)."""

    def __init__(self, num_bins: list[int], *, width: int, layers: int, heads: int, hidden: int, head_units: int,
                 window: int, dropout: float):  # fmt: skip
        super().__init__()
        self.num_bins, self.head_units, self.dropout = num_bins, head_units, dropout
        self.embeddings = nn.ModuleList(nn.Embedding(bins + 1, width) for bins in num_bins)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head_inputs = nn.Linear(width, len(num_bins) * head_units + 1)
        self.conditions = nn.ModuleList(
            nn.ModuleList(nn.Embedding(bins, head_units) for bins in num_bins[:index]) for index in range(len(num_bins))
        )
        self.head_outputs = nn.ModuleList(nn.Linear(head_units, bins) for bins in num_bins)
        angle = torch.arange(window)[:, None] * 10_000.0 ** -torch.linspace(0, 1, width // heads // 2 + 1)[:-1]
        self.register_buffer("cosine", angle.cos(), persistent=False)
        self.register_buffer("sine", angle.sin(), persistent=False)
        self._initialise(layers)

    def _initialise(self, layers: int) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=len(self.num_bins) ** -0.5)
        for block in self.blocks:
            for linear in (block.outputs, block.down):
                nn.init.normal_(linear.weight, std=(2 * layers * linear.in_features) ** -0.5)
        for linear in self.head_outputs:
            nn.init.normal_(linear.weight, std=(2 / (linear.in_features + linear.out_features)) ** 0.5)

    def forward(self, previous: Tensor, current: Tensor) -> tuple[Tensor, list[Tensor]]:
        """END's logit `[batch, time]`, and each field's logits `[batch, time, bins]`.

        Args:
          previous, current: `[batch, time, num_fields]`, bins of the previous event and of this one.
        """
        x = torch.stack([table(previous[..., i]) for i, table in enumerate(self.embeddings)]).sum(0)
        x = functional.dropout(x, self.dropout, self.training)
        time = x.shape[1]
        for block in self.blocks:
            x = block(x, self.cosine[:time], self.sine[:time])
        hidden_layers = self.head_inputs(functional.dropout(self.norm(x), self.dropout, self.training))
        logits = []
        for index, (tables, output) in enumerate(zip(self.conditions, self.head_outputs, strict=True)):
            hidden = hidden_layers[..., index * self.head_units : (index + 1) * self.head_units]
            for other, table in enumerate(tables):
                hidden = hidden + table(current[..., other])
            logits.append(output(functional.relu(hidden)))
        return hidden_layers[..., -1], logits


def hidden_width(setup: dict[str, Any]) -> int:
    """The width of the feed-forward layers, a multiple of 8, whose number of parameters is nearest to `parameters`."""
    sizes = [sum(p.numel() for p in make_model(setup, hidden).parameters()) for hidden in (8, 16)]
    return 8 * max(1, 1 + round((setup["parameters"] - sizes[0]) / (sizes[1] - sizes[0])))


def make_model(setup: dict[str, Any], hidden: int) -> Transformer:
    names = ("width", "layers", "heads", "head_units", "window", "dropout")
    return Transformer(setup["num_bins"], hidden=hidden, **{name: setup[name] for name in names})


def start_from_unigram(model: Transformer, train: Split, num_bins: list[int]) -> None:
    """Sets output biases to log probabilities counted in the training split, as in our model."""
    is_note = np.ones(len(train.bins), bool)
    is_note[train.first_event[1:] - 1] = False
    with torch.no_grad():
        for index, output in enumerate(model.head_outputs):
            counts = np.bincount(train.bins[is_note, index], minlength=num_bins[index]) + 1
            output.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
        model.head_inputs.bias[-1] = math.log((len(train.first_event) - 1) / train.num_notes)


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def costs(model: Transformer, batch: dict[str, Tensor], log_spans: list[Tensor]) -> list[Tensor]:
    """Each field's nats `[batch, time]` over ticks; END's are in `pitch`, the second field."""
    end_logit, logits = model(batch["previous"], batch["current"])
    is_note, is_end = batch["is_note"].float(), batch["is_end"].float()
    nats_by_field = []
    for index, output in enumerate(logits):
        bins = batch["current"][..., index]
        nats = functional.cross_entropy(output.transpose(1, 2), bins, reduction="none") + log_spans[index][bins]
        nats_by_field.append(nats * is_note)
    end = functional.binary_cross_entropy_with_logits(end_logit, is_end, reduction="none")
    nats_by_field[1] = nats_by_field[1] + end * (is_note + is_end)
    return nats_by_field


def validate(model: Transformer, split: Split, setup: dict[str, Any], log_spans: list[Tensor]) -> dict[str, float]:
    """Nats per note by field: windows overlap by half, and each event counts once."""
    windows, num_known = cut_for_scoring(split.first_event, setup["window"])
    sums = torch.zeros(len(log_spans), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(windows), VALIDATION_WINDOWS):
            rows = slice(at, at + VALIDATION_WINDOWS)
            arrays = gather(split, windows[rows], np.array(setup["num_bins"]))
            is_new = np.arange(arrays["is_note"].shape[1]) >= num_known[rows][:, None]
            batch = tensors(arrays | {name: arrays[name] & is_new for name in ("is_note", "is_end")})
            sums += torch.stack([nats.double().sum() for nats in costs(model, batch, log_spans)])
    model.train()
    return dict(zip(setup["fields"], (sums / split.num_notes).tolist(), strict=True))


class Trainer:
    """Model, optimizer and the position in the data; resumes from its checkpoint."""

    def __init__(self, setup: dict[str, Any], train: Split):
        torch.manual_seed(setup["rng_seed"])
        self.setup, self.train, self.hidden = setup, train, hidden_width(setup)
        torch.manual_seed(setup["rng_seed"])
        self.model = make_model(setup, self.hidden)
        start_from_unigram(self.model, train, setup["num_bins"])
        self.log_spans = [torch.tensor(spans) for spans in setup["log_spans"]]
        decayed = {id(m.weight) for m in self.model.modules() if isinstance(m, nn.Linear)}
        groups = [{"params": [p for p in self.model.parameters() if (id(p) in decayed) == is_decayed],
                   "weight_decay": setup["weight_decay"] * is_decayed} for is_decayed in (True, False)]  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))
        self.windows = Windows(train, setup, np.random.default_rng(setup["rng_seed"]))
        self.steps = 0

    def step(self, share: float) -> int:
        """Makes one step at this share of the time; returns its number of events."""
        warm = min(1.0, (share + 1e-4) / WARM_UP_SHARE)
        cosine = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.setup["learning_rate"] * warm * cosine
        batch = tensors(next(self.windows))
        events = int((batch["is_note"] | batch["is_end"]).sum())
        loss = sum(nats.sum() for nats in costs(self.model, batch, self.log_spans)) / events
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.steps += 1
        return events

    def save(self, path: pathlib.Path) -> None:
        """Saves what a resumed run needs; it starts the interrupted epoch again."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "steps": self.steps}
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def load(self, path: pathlib.Path) -> None:
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        self.windows = Windows(self.train, self.setup, np.random.default_rng([self.setup["rng_seed"], self.steps]))


def checkpoint_of(curve: Curve, after: int = 0) -> pathlib.Path:
    """The file of the checkpoint that belongs to the curve's last point, or to one after it."""
    return curve.folder / f"checkpoint-{len(curve.points) + after}.pt"


def main() -> None:
    setup = json.loads(pathlib.Path(sys.argv[1]).read_text())
    os.sched_setaffinity(0, setup["cores"])
    torch.set_num_threads(len(setup["cores"]))
    arrays = np.load(setup["arrays"])
    train, validation = (load_split(arrays, name) for name in ("train", "validation"))
    trainer = Trainer(setup, train)
    curve = Curve(pathlib.Path(setup["output"]), setup)
    if curve.points:
        trainer.load(checkpoint_of(curve))
    curve.about |= {"parameters": sum(p.numel() for p in trainer.model.parameters()), "hidden": trainer.hidden,
                    "torch": torch.__version__}  # fmt: skip
    while not curve.is_done:
        start = cpu_clock()
        events = trainer.step(curve.share)
        curve.advance(cpu_clock() - start, events)
        if curve.is_due:
            by_field = validate(trainer.model, validation, setup, trainer.log_spans)
            previous = checkpoint_of(curve)
            trainer.save(checkpoint_of(curve, after=1))
            curve.add(by_field, steps=trainer.steps)
            previous.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
