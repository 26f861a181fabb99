"""The bundles that a command names: one, or those of an ensemble. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from job_runtime.command import UserError
from midi_codec import fields

if TYPE_CHECKING:
    from trainer.bundle import Bundle


def load(paths: Sequence[str]) -> list[Bundle]:
    """The bundles, which fit each other.

    Raises:
      UserError: all that is wrong with them.
    """
    from trainer import bundle

    loaded, problems = [], []
    for path in paths:
        try:
            loaded.append(bundle.load(path))
        except UserError as error:
            problems += error.problems
    problems = problems or list(misfits(loaded, paths))
    if problems:
        raise UserError(problems)
    return loaded


def misfits(bundles: Sequence[Bundle], names: Sequence[str]) -> Iterator[str]:
    """Why these bundles are no ensemble; `names` are those that the person gave them."""
    first = bundles[0].fields
    seen: dict[str, str] = {}
    for bundle, name in zip(bundles, names, strict=True):
        if bundle.fields != first:
            difference = _difference(first, bundle.fields)
            yield f"--bundle {name!r}: its field table is not that of {names[0]!r} ({difference}), want the same"
        elif bundle.hash in seen:
            yield f"--bundle {name!r} is the same model as {seen[bundle.hash]!r}, want each once"
        seen.setdefault(bundle.hash, name)
    if len(bundles) > 1 and any(field.loss == fields.MSE for field in first):
        yield "--bundle: models with --timing-loss mse give a number, not probabilities, and cannot be averaged"


def joined(hashes: Sequence[str]) -> str:
    """What `job.json` and the manifest name: each hash once, in the order of the command."""
    return "+".join(dict.fromkeys(hashes))


def _difference(one: fields.FieldTable, other: fields.FieldTable) -> str:
    if one.time_base != other.time_base:
        return f"a grid of {other.time_base}, not {one.time_base}"
    if one.names != other.names:
        return f"fields {', '.join(other.names)}, not {', '.join(one.names)}"
    differ = [a.name for a, b in zip(one, other, strict=True) if a != b]
    return f"other values or bins of {', '.join(differ)}" if differ else "another program"
