"""The training run in the report: curves from its metrics, and a table of scores with the baselines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from trainer import bundle
from trainer.doubts import BASELINES, doubts

METRICS_FILE = "metrics.jsonl"
_BASELINES = tuple(zip(reversed(BASELINES), ("--voice-3", "--voice-1", "--voice-2"), strict=True))  # best first
_FIELD_PREFIX = "validation_nll_"


class _Point(TypedDict):
    step: int


class Run:
    """A training run: its validations and the description of its best bundle.

    Raises:
      UserError: the folder is not a run with at least one validation.
    """

    def __init__(self, root: str) -> None:
        path = storage.join(root, METRICS_FILE)
        try:
            self.points = json_text.load_lines(path, _Point, allow_nan=True)
        except FileNotFoundError as error:
            raise UserError(f"--run {root!r} has no {METRICS_FILE}, want a folder of trainer.task") from error
        if not self.points:
            raise UserError(f"{path!r} is empty, want at least one validation")
        self.description = bundle.load_description(storage.join(root, "bundle"))
        self.metrics: Mapping[str, Any] = self.description["metrics"]
        needed = ("validation_nll", "validation_nll_by_field", "baselines")
        if missing := [name for name in needed if name not in self.metrics]:
            raise UserError(f"{root!r}: the bundle's metrics lack {', '.join(missing)}, want those of trainer.task")

    @property
    def bundle_hash(self) -> str:
        return self.description["hash"]

    @property
    def time_base(self) -> str:
        return self.description["dataset"]["time_base"]

    @property
    def nll(self) -> float:
        """Nats per note of the best model on the validation split."""
        return self.metrics["validation_nll"]

    @property
    def baselines(self) -> dict[str, float]:
        return {name: score["nll"] for name, score in self.metrics["baselines"].items()}

    @property
    def is_still_improving(self) -> bool:
        """Whether the best validation was the last one."""
        return self.metrics.get("step") == self.points[-1]["step"]

    def doubts(self) -> Iterator[str]:
        """Sentences on a model that does not beat a bigram."""
        return doubts(self.metrics, is_still_improving=self.is_still_improving)

    def section(self) -> dict[str, Any]:
        """Note and table for the template."""
        best = f", at step {self.metrics['step']:,}" if "step" in self.metrics else ""
        return {
            "note": "Nats per note on the validation split, including the end of a piece: lower is better. The model "
            f"is the best of {len(self.points):,} validations{best}. Unigram, bigram and 5-gram are counts of the "
            "training split in the same bins: they predict a field from nothing, from the same field of the note "
            "before, and from the last four fields.",
            "table": self._table(),
        }

    def _table(self) -> dict[str, Any]:
        """A row per field; columns for the model, the baselines, and, where they apply, accuracy and error."""
        names = list(self.metrics["validation_nll_by_field"])
        columns = {"model": {"all": self.nll, **self.metrics["validation_nll_by_field"]}}
        for name, _ in _BASELINES:
            score = self.metrics["baselines"].get(name)
            if score:
                columns[name] = {"all": score["nll"], **score["by_field"]}
        cells = [[_decimal(column.get(name)) for column in columns.values()] for name in ["all", *names]]
        head = ["field", *columns]
        for title, key, format_cell in (
            ("accuracy", "accuracy", _percent),
            ("error", "error_milliseconds", _milliseconds),
        ):
            if self.metrics.get(key):
                head.append(title)
                for row, name in zip(cells, ["all", *names], strict=True):
                    row.append(format_cell(self.metrics[key].get(name)))
        rows = [[name, *row] for name, row in zip(["all fields", *names], cells, strict=True)]
        return {"head": head, "rows": rows}

    def charts(self) -> list[dict[str, Any]]:
        """For `lineChart` of charts.js: validation with baselines, validation by field, and training loss."""
        overall = [_line("model", "--accent", self._curve("validation_nll"))]
        steps = [point[0] for point in overall[0]["points"]]
        for name, color in _BASELINES:
            if steps and name in self.baselines:
                level = [[step, self.baselines[name]] for step in (steps[0], steps[-1])]
                overall.append(_line(name, color, level) | {"dashed": True})
        fields = [
            _line(name, f"--voice-{index % 8}", self._curve(_FIELD_PREFIX + name))
            for index, name in enumerate(self.metrics["validation_nll_by_field"])
        ]
        loss = next((name for name in ("train_nll", "train_loss") if self._curve(name)), "train_loss")
        unit = "nats per note, " if loss == "train_nll" else ""
        charts = [
            _chart("Validation", _decimal(self.nll), "nats per note, by training step", overall),
            _chart("Validation by field", "", "nats per note, by training step", fields),
            _chart(
                "Training loss",
                "",
                f"{unit}with dropout and augmentation, by training step",
                [_line("loss", "--voice-4", self._curve(loss))],
            ),
        ]
        return [chart for chart in charts if chart["lines"]]

    def _curve(self, name: str) -> list[list[float]]:
        """(step, value) of each validation that has a finite value; a diverged run has NaN."""
        pairs = [[point["step"], point.get(name)] for point in self.points]
        return [pair for pair in pairs if isinstance(pair[1], int | float) and math.isfinite(pair[1])]


def _chart(title: str, figure: str, note: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "figure": figure, "note": note, "lines": [line for line in lines if line["points"]]}


def _line(name: str, color: str, points: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"name": name, "color": color, "points": points}


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
