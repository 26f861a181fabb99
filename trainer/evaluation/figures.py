"""From sums per piece to figures with confidence intervals, for several models side by side. Needs only NumPy.

Every figure is a ratio of sums over pieces (nats over notes, right notes over notes), and every figure of every model
comes from the same resamples of pieces (`trainer.evaluation.bootstrap`), so differences between models are paired.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluation import bootstrap
from trainer.evaluation.label_evaluation import KNOWN, LIKELIEST, OTHERS, OWN, UNKNOWN

FORMAT_VERSION = 1
Key = tuple[str, ...]  # the path of a figure in the JSON, such as ("nll_by_field", "pitch")


@dataclasses.dataclass(frozen=True)
class Split:
    """The pieces that were evaluated.

    Attributes:
      piece_id: `[num_pieces]` str.
      group: `[num_pieces]` int, equal for pieces that are not independent observations.
      num_notes, seconds: `[num_pieces]`.
    """

    piece_id: list[str]
    group: np.ndarray
    num_notes: np.ndarray
    seconds: np.ndarray

    @property
    def num_groups(self) -> int:
        return len(np.unique(self.group))

    def to_json(self) -> dict[str, Any]:
        return {
            "num_pieces": len(self.piece_id),
            "num_groups": self.num_groups,
            "num_notes": int(self.num_notes.sum()),
            "seconds": float(self.seconds.sum()),
        }


@dataclasses.dataclass(frozen=True)
class Measured:
    """A model, or a baseline, on a split.

    Attributes:
      name: unique within a report.
      sums: `[num_pieces]` float64 by measure: `nll_FIELD`, `topK_FIELD`, `error_FIELD`; see
        `trainer.evaluation.measures`. For a model with labels also those of `trainer.evaluation.label_evaluation`.
      about: what else the JSON says about it.
    """

    name: str
    sums: Mapping[str, np.ndarray]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def make_report(split: Split, measured: Sequence[Measured], *, num_resamples: int, rng_seed: int) -> dict[str, Any]:
    """The report as JSON: the figures of each, the differences between every two, and the sums per piece.

    A figure is `{"value", "low", "high"}`; `low` and `high` are null if there is only one group to draw from.
    """
    figures = list(_figures(split, measured))
    tops = np.stack([numerator for _, _, numerator, _ in figures], axis=1)
    units = _units(split, measured)
    columns = np.concatenate([tops, np.stack(list(units.values()), axis=1)], axis=1)
    drawn = bootstrap.resample_sums(columns, split.group, num_resamples=num_resamples, rng_seed=rng_seed)
    ratios: dict[str, dict[Key, np.ndarray]] = {each.name: {} for each in measured}
    for index, (name, key, _, unit) in enumerate(figures):
        divisor = tops.shape[1] + list(units).index(unit)
        value = columns[:, index].sum() / columns[:, divisor].sum()
        can_vary = len(np.unique(split.group[units[unit] > 0])) > 1
        draws = np.full(num_resamples, np.nan)  # where nothing is drawn that counts
        np.divide(drawn[:, index], drawn[:, divisor], out=draws, where=can_vary & (drawn[:, divisor] > 0))
        ratios[name][key] = np.append(draws, value)  # the value itself comes last
    return {
        "format_version": FORMAT_VERSION,
        "split": split.to_json(),
        "intervals": {"level": bootstrap.LEVEL, "num_resamples": num_resamples, "rng_seed": rng_seed},
        "models": [{"name": each.name, **each.about, **_nested(ratios[each.name])} for each in measured],
        "differences": [
            {"name": second.name, "minus": first.name, **_nested(_difference(ratios, second, first))}
            for first, second in itertools.combinations(measured, 2)
        ],
        "pieces": {
            "piece_id": split.piece_id,
            "group": split.group.tolist(),
            "num_notes": split.num_notes.tolist(),
            "seconds": split.seconds.tolist(),
            "sums": {each.name: {name: column.tolist() for name, column in each.sums.items()} for each in measured},
        },
    }


def _units(split: Split, measured: Sequence[Measured]) -> dict[str, np.ndarray]:
    """What figures are divided by, `[num_pieces]` float64: for figures of labels, pieces whose value is known."""
    units = {"notes": split.num_notes.astype(np.float64), "seconds": split.seconds}
    for each in measured:
        for name, known in each.sums.items():
            if name.startswith(f"{KNOWN}_"):
                units[f"{each.name} {name}"] = known
                units[f"notes {each.name} {name}"] = known * split.num_notes
    return units


def _figures(split: Split, measured: Sequence[Measured]) -> Iterator[tuple[str, Key, np.ndarray, str]]:
    """For each figure: the name of its model, its key, its sum per piece, and the unit it is divided by."""
    for each in measured:
        nll = np.sum([column for name, column in each.sums.items() if name.startswith("nll_")], axis=0)
        yield each.name, ("nll",), nll, "notes"
        yield each.name, ("nll_per_second",), nll, "seconds"
        for name, column in each.sums.items():
            measure, _, field = name.partition("_")
            if measure == "nll":
                yield each.name, ("nll_by_field", field), column, "notes"
            elif measure == "error":
                yield each.name, ("error_milliseconds", field), column, "notes"
            elif measure.startswith("top"):
                yield each.name, ("accuracy", field, measure), column, "notes"
            elif measure == LIKELIEST:
                yield each.name, ("labels", field, measure), column, f"{each.name} {KNOWN}_{field}"
            elif measure in (OWN, UNKNOWN, OTHERS):
                yield each.name, ("labels", field, measure), column, f"notes {each.name} {KNOWN}_{field}"
            if measure in (UNKNOWN, OTHERS):
                more = column - each.sums[f"{OWN}_{field}"]
                yield each.name, ("labels", field, f"{measure}_minus_own"), more, f"notes {each.name} {KNOWN}_{field}"


def _difference(
    ratios: Mapping[str, Mapping[Key, np.ndarray]], minuend: Measured, subtrahend: Measured
) -> dict[Key, np.ndarray]:
    """The differences of the figures that both have; not those of labels, which may be of different pieces."""
    subtracted = ratios[subtrahend.name]
    return {
        key: draws - subtracted[key]
        for key, draws in ratios[minuend.name].items()
        if key in subtracted and key[0] != "labels"
    }


def _nested(ratios: Mapping[Key, np.ndarray]) -> dict[str, Any]:
    """Figures in nested dictionaries, a level per element of their keys."""
    nested: dict[str, Any] = {}
    for key, draws in ratios.items():
        level = nested
        for name in key[:-1]:
            level = level.setdefault(name, {})
        drawn = draws[:-1][~np.isnan(draws[:-1])]
        low, high = bootstrap.interval(drawn) if len(drawn) else (None, None)
        level[key[-1]] = {"value": float(draws[-1]), "low": low, "high": high}
    return nested
