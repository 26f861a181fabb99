"""Size and shape of a note model, apart from its fields. Plain data: importing this imports no TensorFlow."""

from __future__ import annotations

import dataclasses

from job_runtime.command_line.settings import problems_in, setting
from trainer.model.attention.sources import Sources

LEAST_CONTEXT_NOTES = 32  # sixteen of them are reserved for the chord that a note belongs to
MAX_CONTEXT_TICKS = 4096
MAX_UNITS = 2**15
MAX_ATTENTION_NOTES = 2**14
NONE, ECHO, COPY = "none", "echo", "copy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Size and shape of a note model, apart from its fields. Saved in every bundle.

    Recurrent dropout is DropConnect (Merity et al. 2018); embedding dropout is that of Gal and Ghahramani (2016).
    """

    units: int = setting(256, "width of each LSTM layer", at_least=16, at_most=MAX_UNITS, multiple_of=16)
    layers: int = setting(2, "LSTM layers", at_least=1, at_most=256)
    head_units: int = setting(128, "hidden width of each field's head", at_least=16, at_most=MAX_UNITS, multiple_of=16)
    dropout: float = setting(
        0.2, "share of each layer's inputs that is dropped, the same at every note of a window", at_least=0, below=1
    )
    recurrent_dropout: float = setting(
        0.0, "share of the recurrent weights that is dropped, per step", at_least=0, below=1
    )
    embedding_dropout: float = setting(
        0.0, "share of the input symbols that is dropped, per window", at_least=0, below=1
    )
    layer_norm: bool = setting(False, "normalise the inputs of the layers above the first, and of the heads")
    residual: bool = setting(False, "add the inputs of the layers above the first to their outputs")
    tied_embeddings: bool = setting(False, "output classes share the weights of their embeddings")
    context_units: int = setting(
        0,
        "width of the hidden layer that scores each pitch from the preceding notes; 0 for none",
        at_least=0,
        at_most=MAX_UNITS,
        multiple_of=16,
    )
    context_notes: int = setting(
        128, "how many preceding notes the --context-units scores use", at_least=LEAST_CONTEXT_NOTES, at_most=2**20
    )
    context_lags: tuple[int, ...] = setting(
        (),
        "in ticks, such as 24,48,96: marks pitches that sounded that long ago",
        at_least=1,
        at_most=MAX_CONTEXT_TICKS,
    )
    context_periods: tuple[int, ...] = setting(
        (), "in ticks, such as 24,96: the note's position in a beat and in a bar", at_least=1, at_most=MAX_CONTEXT_TICKS
    )
    attention: str = setting(
        NONE,
        "copy: every head can copy what followed earlier, similar moments of the piece, and what sounded"
        " --attention-lags ago; echo: only the latter",
        choices=(NONE, ECHO, COPY),
    )
    attention_notes: int = setting(
        512, "how many preceding notes --attention looks at", at_least=1, at_most=MAX_ATTENTION_NOTES
    )
    attention_lags: tuple[int, ...] = setting(
        (),
        "in ticks, such as 24,48,96: what sounded that long ago can be copied",
        at_least=1,
        at_most=MAX_CONTEXT_TICKS,
    )
    attention_chord: int = setting(
        0,
        "in ticks: for copy, steps match if both are at most this long or neither is; 0: if they are equal",
        at_least=0,
        at_most=MAX_CONTEXT_TICKS,
    )
    attention_dropout: float = setting(
        0.0, "share of the windows that are trained without copying", at_least=0, below=1
    )
    attention_gaps: float = setting(
        0.0, "mean share of the earlier notes that --attention-lags do not find in training", at_least=0, at_most=0.5
    )

    def __post_init__(self) -> None:
        for name in ("context_lags", "context_periods", "attention_lags"):  # JSON has lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def sources(self) -> Sources | None:
        """What can be copied; None without copying."""
        if self.attention == NONE:
            return None
        return Sources(self.attention_notes, self.attention == COPY, self.attention_lags, self.attention_chord)

    def problems(self) -> list[str]:
        """Every value that cannot work, one sentence each."""
        problems = list(problems_in(self))
        if self.attention == ECHO and not self.attention_lags:
            problems.append("attention is echo without attention_lags, want at least one lag")
        return problems
