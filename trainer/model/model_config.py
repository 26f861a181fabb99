"""Size and shape of a note model, apart from its fields. Plain data: importing this imports no TensorFlow."""

from __future__ import annotations

import dataclasses

LEAST_CONTEXT_NOTES = 32  # sixteen of them are reserved for the chord that a note belongs to
MAX_CONTEXT_TICKS = 4096
SIZES = {
    "units": (16, 2**15, 16),
    "layers": (1, 256, 1),
    "head_units": (16, 2**15, 16),
    "context_units": (0, 2**15, 16),
    "context_notes": (LEAST_CONTEXT_NOTES, 2**20, 1),
}  # the smallest, the largest, and what each is a multiple of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Size and shape of a note model, apart from its fields. Saved in every bundle.

    Attributes:
      units: of each LSTM layer and of the embeddings; a multiple of 16.
      layers: how many LSTM layers.
      head_units: width of each field's hidden layer; a multiple of 16.
      dropout: share of the LSTM layers' inputs and of the heads' inputs that is dropped for a training sequence.
      recurrent_dropout: share of the recurrent kernels' weights that is dropped for a training step (DropConnect:
        Merity et al. 2018).
      embedding_dropout: share of each embedding's symbols that is dropped for a training sequence (Gal and
        Ghahramani 2016).
      layer_norm: normalise the inputs of the layers above the first and of the heads.
      residual: add the inputs of the layers above the first to their outputs.
      tied_embeddings: a categorical head's output kernel is a projection times the field's embedding table.
      context_units: hidden channels per pitch with which pitches are scored by the notes so far
        (`trainer.model.context`); 0 for no context.
      context_notes: how many notes back the context sees.
      context_lags: in ticks; the context knows of each pitch whether it sounded that long ago.
      context_periods: in ticks; the context knows the position of a note within each period.
    """

    units: int = 256
    layers: int = 2
    head_units: int = 128
    dropout: float = 0.2
    recurrent_dropout: float = 0.0
    embedding_dropout: float = 0.0
    layer_norm: bool = False
    residual: bool = False
    tied_embeddings: bool = False
    context_units: int = 0
    context_notes: int = 128
    context_lags: tuple[int, ...] = ()
    context_periods: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("context_lags", "context_periods"):  # JSON has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def problems(self) -> list[str]:
        """Every value that cannot work, one sentence each."""
        problems = []
        for name, (low, high, multiple) in SIZES.items():
            if not low <= getattr(self, name) <= high or getattr(self, name) % multiple:
                wanted = f"a multiple of {multiple}, " if multiple > 1 else ""
                problems.append(f"{name} is {getattr(self, name)}, want {wanted}{low} to {high}")
        for name in ("dropout", "recurrent_dropout", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}, want at least 0 and below 1")
        for name in ("context_lags", "context_periods"):
            wrong = [ticks for ticks in getattr(self, name) if not 1 <= ticks <= MAX_CONTEXT_TICKS]
            if wrong:
                problems.append(f"{name} has {', '.join(map(str, wrong))}, want ticks from 1 to {MAX_CONTEXT_TICKS}")
        return problems
