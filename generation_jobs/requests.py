"""What the job asks of the decoder, and what it gets back. Plain data: importing this imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from midi_codec.notes import Notes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a value is drawn from a field's distribution; the same for every field.

    temperature  divides the logits; 0 means greedy, the likeliest value every time
    top_k        only the k likeliest values of a field may be drawn; None: all
    top_p        only the fewest likeliest values whose probability reaches it may be drawn; None: all
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to generate.

    key          two uint32, the sample's own random stream
    primer       the notes to continue, on the bundle's grid; None: from silence
    max_notes    how many notes to generate at most, those of the primer not counted
    max_seconds  the piece ends before the first note that would start later than this, counted from the
                 first onset of the piece, the primer's included; None: no such limit
    """

    key: tuple[int, int]
    primer: Notes | None
    max_notes: int
    max_seconds: float | None
    sampling: Sampling


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One generated piece.

    notes             the primer and then what was generated, moved so that the first onset is tick 0
    num_primer_notes  how many of `notes` were given, the leading ones
    log_likelihood    nats, of the generated notes under the model at temperature 1; END's included when reached
    ended             the model ended the piece itself, before any limit did
    """

    notes: Notes
    num_primer_notes: int
    log_likelihood: float
    ended: bool


def is_whole(value: object) -> bool:
    """A whole number as JSON and argparse give it; True and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """A finite number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def sampling_problems(*, temperature: object, top_k: object, top_p: object) -> Iterator[str]:
    """Says what is wrong with these values, a sentence each, without a place; the caller puts that in front."""
    if not is_number(temperature) or temperature < 0:  # type: ignore[operator]
        yield f"temperature is {temperature!r}, want a number, 0 (greedy) or more"
    if top_k is not None and (not is_whole(top_k) or top_k < 1):  # type: ignore[operator]
        yield f"top_k is {top_k!r}, want a whole number, 1 or more"
    if top_p is not None and (not is_number(top_p) or not 0 < top_p <= 1):  # type: ignore[operator]
        yield f"top_p is {top_p!r}, want a number above 0, at most 1"


def length_problems(*, max_notes: object, max_seconds: object) -> Iterator[str]:
    """Says what is wrong with the limits of a piece, a sentence each, without a place."""
    if not is_whole(max_notes) or max_notes < 1:  # type: ignore[operator]
        yield f"max_notes is {max_notes!r}, want a whole number, 1 or more"
    if max_seconds is not None and (not is_number(max_seconds) or max_seconds <= 0):  # type: ignore[operator]
        yield f"max_seconds is {max_seconds!r}, want a number above 0"
