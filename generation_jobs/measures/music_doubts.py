"""Where generated music is unlike its corpus: sentences for the end of a run, the report and `evaluate`.

Each names the remedy that most likely helps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from generation_jobs.measures.corpus_comparison import Comparison, Means
from trainer.doubts import NEEDS, OTHER_GRID

UNLIKE = 0.8  # of the ceiling; a set with a lower overlap does not sound like the corpus in this respect
LEAST_RECURRENCE = 0.5  # of the corpus's rate
KEY_MARGIN = 0.03  # share of notes
LONG_NOTE = 0.2  # of a piece's length
LOOPS = "loop"  # the measure
LOOP = 0.9  # of the second half: the piece is caught in a loop
MANY_LOOPS, MORE_LOOPS = 0.05, 2  # share of the generated pieces, and times that of the corpus's
_TIMES = ("step", "duration", "density", "polyphony", "groove", "phrase")


class Remedies(NamedTuple):
    """What most likely helps: in general, where all doubts are about times, and where patterns recur too rarely."""

    general: str
    times: str
    patterns: str


_OF_BOX = (  # its user did not train it
    "The model in the box is trained: other seeds, --temperature or --top-p of generate may help, or a model of your "
    "own music."
)
BOX_REMEDIES = Remedies(_OF_BOX, _OF_BOX, _OF_BOX)


def doubts(
    comparisons: Sequence[Comparison], *, is_still_improving: bool | None = None, is_box: bool = False
) -> Iterator[str]:
    """None for music like the corpus.

    Args:
      comparisons: of all measures.
      is_still_improving: whether the best validation of the model's training was the last one, if that is known.
      is_box: whether the model is the one in the box.
    """
    remedies = BOX_REMEDIES if is_box else _of_training(is_still_improving)
    checks = {"recurrence": _recurrence, "key_share": _key, "longest_note": _long_notes, "loop": _loops}
    found = {
        each.measure.name: list(checks[each.measure.name](each, remedies))
        for each in comparisons
        if each.measure.name in checks
    }
    yield from _unlike([each for each in comparisons if not found.get(each.measure.name)], remedies)
    yield from (sentence for sentences in found.values() for sentence in sentences)


def _of_training(is_still_improving: bool | None) -> Remedies:
    general = f"Most likely the model needs {NEEDS[is_still_improving]}."
    return Remedies(
        general=general,
        times=f"All of these are about time: {OTHER_GRID} may suit this music better.",
        patterns=f"{general} --attention (copy, or on beats echo) helps most if it was not used.",
    )


def _unlike(comparisons: Sequence[Comparison], remedies: Remedies) -> Iterator[str]:
    unlike = [each for each in comparisons if each.of_ceiling is not None and each.of_ceiling < UNLIKE]
    if unlike:
        shown = ", ".join(f"{each.measure.title} ({_below(UNLIKE, each.of_ceiling or 0)})" for each in unlike)
        are_times = all(each.measure.name in _TIMES for each in unlike)
        yield (
            f"The generated music is unlike the corpus in {shown}. The numbers are its overlap with the corpus as a "
            f"share of what the corpus's own pieces reach. {remedies.times if are_times else remedies.general}"
        )


def _recurrence(comparison: Comparison, remedies: Remedies) -> Iterator[str]:
    means = comparison.means
    generated, corpus, _ = means
    if generated is not None and corpus is not None and generated < LEAST_RECURRENCE * corpus:
        yield (
            f"Patterns recur too rarely: {generated:.2f} of a piece's notes belong to one that occurred before in it, "
            f"{_corpus(means)}. {remedies.patterns}"
        )


def _key(comparison: Comparison, remedies: Remedies) -> Iterator[str]:
    """The corpus's own parts differ too: what lies between them, or close to either, is no reason for doubt."""
    means = comparison.means
    known = [mean for mean in means[1:] if mean is not None]
    if means.generated is None or means.corpus is None:
        return
    shown = f"{means.generated:.2f} of a piece's notes are in one key, {_corpus(means)}."
    if means.generated < min(known) - KEY_MARGIN:
        little = "A lower --temperature, such as pitch=0.9, helps a little."
        yield f"Too few notes are in key: {shown} {remedies.general} {little}"
    elif means.generated > max(known) + KEY_MARGIN:
        yield f"Too many notes are in key: {shown} A higher --temperature or --top-p for pitch helps most."


def _long_notes(comparison: Comparison, _remedies: Remedies) -> Iterator[str]:
    share, corpus = _shares_from(LONG_NOTE, comparison)
    if share:
        yield (
            f"{100 * share:.1f} % of the pieces have one note for a fifth of their length or more "
            f"({100 * corpus:.1f} % of the corpus's, cut to the same lengths). --max-duration of generate prevents it."
        )


def _loops(comparison: Comparison, _remedies: Remedies) -> Iterator[str]:
    shares = loop_shares(comparison)
    if shares.generated > shares.most:
        yield (
            f"{round(shares.generated * comparison.num_pieces):,} of {comparison.num_pieces:,} generated pieces are "
            f"caught in a loop ({100 * shares.corpus:.1f} % of the corpus's, cut to the same lengths): "
            "nine in ten notes of their second half repeat what came at most eight beats before. "
            "--avoid-loops true of generate or a higher --temperature helps."
        )


class LoopShares(NamedTuple):
    """Shares of the pieces that are caught in a loop; `most` of the generated ones leave no doubt."""

    generated: float
    corpus: float
    most: float


def loop_shares(comparison: Comparison) -> LoopShares:
    share, corpus = _shares_from(LOOP, comparison)
    return LoopShares(share, corpus, max(MANY_LOOPS, MORE_LOOPS * corpus))


def _shares_from(least: float, comparison: Comparison) -> tuple[float, float]:
    """The shares of generated and of corpus pieces with at least this value, an edge of the bins."""
    from_there = comparison.measure.edges >= least
    generated, corpus = (
        0.0 if shares is None else float(shares[from_there].sum())
        for shares in (comparison.generated, comparison.corpus)
    )
    return generated, corpus


def _below(limit: float, value: float) -> str:
    """Two decimals that do not round up to the limit."""
    return f"{min(value, limit - 0.01):.2f}"


def _corpus(means: Means) -> str:
    held_out = "" if means.held_out is None else f", {means.held_out:.2f} of its held-out pieces'"
    return f"{means.corpus:.2f} of the corpus's{held_out}"
