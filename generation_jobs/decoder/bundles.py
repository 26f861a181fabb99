"""The bundles that a command names: one, or those of an ensemble. Importing this imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from generation_jobs.settings.requests import SETTINGS, Settings
from job_runtime.command import collecting
from job_runtime.command_line.settings import problems_with
from job_runtime.logs.progress import stage
from job_runtime.problem_report import UserError
from midi_codec import fields
from trainer.bundle import FILE_NAME

if TYPE_CHECKING:
    from generation_jobs.decoder.decoder import Decoder
    from trainer.bundle import Bundle


def load(paths: Sequence[str]) -> list[Bundle]:
    """The bundles, which can form an ensemble.

    Raises:
      UserError: every problem with them.
    """
    from trainer import bundle

    loaded: list[Bundle] = []
    problems: list[str] = []
    for path in paths:
        with collecting(problems):
            loaded.append(bundle.load(path))
    problems = problems or list(ensemble_problems(loaded, paths))
    if problems:
        raise UserError(problems)
    return loaded


def ensemble_problems(bundles: Sequence[Bundle], names: Sequence[str]) -> Iterator[str]:
    """Why these bundles cannot form an ensemble; `names` are the paths as given."""
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


def sampling(bundles: Sequence[Bundle]) -> dict[str, Any]:
    """Settings to generate with that `generation_jobs.calibrate` found.

    For an ensemble they are those that all models agree on, and the mean amount of copying of those that copy.

    Raises:
      UserError: every one that is no setting, or not a value of it.
    """
    every = [bundle.sampling for bundle in bundles]
    if not any(every):
        return {}
    found = {name: value for name, value in every[0].items() if all(each.get(name) == value for each in every)}
    if amounts := [bundle.sampling.get("copying", 1.0) for bundle in bundles if bundle.copies]:
        found["copying"] = sum(amounts) / len(amounts)
    problems = [f"{name} is not a setting" for name in found if name not in SETTINGS]
    if problems := [*problems, *problems_with(Settings, found)]:
        raise UserError(f"sampling of {FILE_NAME}: {problem}" for problem in problems)
    return found


def make_decoder(bundles: Sequence[Bundle], num_slots: int, precision: str) -> Decoder:
    """Imports TensorFlow, and shows that it does."""
    with stage("loading TensorFlow and the model"):
        from generation_jobs.decoder import groups
        from generation_jobs.decoder.decoder import Decoder

        groups.use_one_thread_per_group(num_slots)
        return Decoder(bundles, num_slots=num_slots, precision=precision)


def joined(hashes: Sequence[str]) -> str:
    """The hashes as `job.json` and the manifest name them: each once, in the order of the command."""
    return "+".join(dict.fromkeys(hashes))


def _difference(first: fields.FieldTable, other: fields.FieldTable) -> str:
    if first.time_base != other.time_base:
        return f"a grid of {other.time_base}, not {first.time_base}"
    if first.names != other.names:
        return f"fields {', '.join(other.names)}, not {', '.join(first.names)}"
    if first.labels != other.labels:
        return "other labels, or other values of them"
    differ = [a.name for a, b in zip(first, other, strict=True) if a != b]
    return f"other values or bins of {', '.join(differ)}" if differ else "another program"
