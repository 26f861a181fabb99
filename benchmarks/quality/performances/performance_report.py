"""The table and the curves of `benchmarks.performances`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks.quality.performances import performance_data

MODELS = ("categorical", "mixture", "mse", "transformer")
TITLES = {
    "categorical": "LSTM, classes",
    "mixture": "LSTM, mixture",
    "mse": "LSTM, MSE",
    "transformer": "transformer, classes",
}


def collect(output: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
    """All figures of these datasets, from the files of their trainings.

    Returns:
      by dataset: `notes` and `seconds` of music of the validation split, and `models`: by name `nll` (nats per note at
      the best validation), `nll_per_second`, `by_field`; for trainings also `minutes`, `steps`, `events`,
      `parameters`, `curve` (seconds of training and nats per note).
    """
    return {"datasets": {name: _of_dataset(output / name) for name in names}}


def _of_dataset(folder: pathlib.Path) -> dict[str, Any]:
    about = performance_data.read_about(folder)
    notes, seconds = about["validation"]["num_notes"], about["validation"]["seconds"]
    models: dict[str, Any] = {}
    for name, by_field in about["baselines"].items():
        nll = sum(by_field.values())
        models[name] = {"nll": nll, "nll_per_second": nll * notes / seconds, "by_field": by_field}
    for name in MODELS:
        path = folder / name / "curve.json"
        if not path.exists():
            continue
        curve = json.loads(path.read_text())
        points = curve["points"]
        best = min(points, key=lambda point: point["nll"])
        models[name] = {
            "nll": best["nll"],
            "nll_per_second": best["nll"] * notes / seconds,
            "by_field": best["by_field"],
            "minutes": points[-1]["seconds"] / 60,
            "events": points[-1]["events"],
            "steps": points[-1]["steps"],
            "parameters": curve["about"]["parameters"],
            "curve": [[point["seconds"], point["nll"]] for point in points],
        }
    return {"notes": notes, "seconds": seconds, "models": models}


def peer_versions(output: pathlib.Path) -> dict[str, str]:
    """PyTorch's version, from the transformers' trainings; empty without one."""
    abouts = [json.loads(path.read_text())["about"] for path in sorted(output.glob("*/transformer/curve.json"))]
    return {"torch": abouts[-1]["torch"]} if abouts else {}


def as_text(report: dict[str, Any]) -> str:
    """One table per dataset."""
    lines = []
    for name, result in report["datasets"].items():
        fields = list(result["models"]["unigram"]["by_field"])
        lines += [f"\n{name}: {result['notes']:,} notes, {result['seconds']:,.0f} s of music; nats per note"]
        lines += [f"{'':22}{'all':>9}" + "".join(f"{field:>10}" for field in fields) + f"{'a second':>10}{'seen':>12}"]
        for model, row in result["models"].items():
            cells = "".join(f"{row['by_field'][field]:10.3f}" for field in fields)
            seen = f"{row['events']:12,}" if "events" in row else ""
            lines += [f"{TITLES.get(model, model):22}{row['nll']:9.3f}{cells}{row['nll_per_second']:10.2f}{seen}"]
    return "\n".join(lines)


def draw(report: dict[str, Any], output: pathlib.Path) -> None:
    """Writes `NAME.png` for each dataset: nats per note of the validation split against seconds of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, result in report["datasets"].items():
        figure, axes = pyplot.subplots(figsize=(6, 3.6), dpi=80)
        for model, title in TITLES.items():
            if model in result["models"]:
                seconds, nats = zip(*result["models"][model]["curve"], strict=True)
                style = "--" if model == "transformer" else "-"
                axes.plot(seconds, nats, style, marker=".", label=title)
        axes.axhline(result["models"]["5-gram"]["nll"], color="grey", linewidth=1, label="Kneser-Ney 5-gram")
        axes.set(title=name, xlabel="seconds of training", ylabel="nats per note, validation")
        axes.legend(fontsize="small")
        figure.tight_layout()
        figure.savefig(output / f"{name}.png", metadata={"Software": None})
        pyplot.close(figure)
