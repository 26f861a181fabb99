"""The results of a study: a page with plots, the same as JSON, and the best settings.

    OUTPUT/report.html     one file that needs no network
    OUTPUT/trials.json     every trial: its values, state and validations
    OUTPUT/best.yaml       settings of the best trial, for `trainer.task --config`

The files do not reveal where the study is stored.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import TrialState

from job_runtime import html_page, storage
from trainer.tune import trials as trials_lib
from trainer.tune.search_space import SearchSpace, write_config
from trainer.tune.trials import Attempt

REPORT_FILE, TRIALS_FILE, BEST_FILE = "report.html", "trials.json", "best.yaml"
MOST_LEGENDS = 12  # lines of a plot; a longer legend would hide it
_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def describe(study: Study) -> dict[str, Any]:
    """Every trial, and the best of the completed ones, as JSON."""
    all_attempts = trials_lib.attempts(study)
    of_trial = trials_lib.current(all_attempts)
    trials = [_describe_trial(attempt) for _, attempt in sorted(of_trial.items())]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return {
        "study": study.study_name,
        "counts": {name: sum(trial["state"] == name for trial in trials) for name in _STATES.values()},
        "best": min(complete, key=lambda trial: trial["value"])["trial"] if complete else None,
        "importances": _importances(study),
        "trials": trials,
    }


def _describe_trial(attempt: Attempt) -> dict[str, Any]:
    frozen = attempt.frozen
    lost = frozen.state == TrialState.FAIL and attempt.reason is None  # the next attempt will be added soon
    return {
        "trial": attempt.trial,
        "state": "waiting" if lost else _STATES[frozen.state],
        "value": frozen.value if frozen.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        "params": frozen.params,
        "attempts": len(attempt.earlier) + 1,
        "worker": frozen.user_attrs.get(trials_lib.WORKER),
        "reason": attempt.reason,
        "seconds": round(frozen.duration.total_seconds(), 1) if frozen.duration else None,
        "validations": {str(number): value for number, value in sorted(frozen.intermediate_values.items())},
    }


def best_params(study: Study) -> tuple[int, float, dict[str, Any]] | None:
    """Number, value and parameters of the best completed trial; None if there is none."""
    described = describe(study)
    if described["best"] is None:
        return None
    best = next(trial for trial in described["trials"] if trial["trial"] == described["best"])
    return best["trial"], best["value"], best["params"]


def write_best(study: Study, space: SearchSpace, path: str, *, without: Sequence[str] = ()) -> bool:
    """Writes the best trial's settings; returns whether there is one."""
    best = best_params(study)
    if best is None:
        return False
    trial, value, params = best
    heading = f"study {study.study_name}, trial {trial}: {value:.5f} nats per note on the validation split"
    write_config(path, space.config_of(params), heading=heading, without=without)
    return True


def write(study: Study, space: SearchSpace, output: str, *, without: Sequence[str] = ()) -> None:
    """Writes the three files. If several workers write at once, the newest files remain in the end."""
    while True:
        described = describe(study)
        storage.write_bytes(storage.join(output, TRIALS_FILE), (json.dumps(described, indent=1) + "\n").encode())
        storage.write_bytes(storage.join(output, REPORT_FILE), _page(study, described))
        write_best(study, space, storage.join(output, BEST_FILE), without=without)
        # Another worker may have ended a trial meanwhile, and this report may have overwritten a newer one.
        if describe(study)["counts"] == described["counts"]:
            return


def _page(study: Study, described: dict[str, Any]) -> bytes:
    best = next((trial for trial in described["trials"] if trial["trial"] == described["best"]), None)
    ranked = sorted(
        described["trials"], key=lambda trial: (trial["value"] is None, trial["state"] != "complete", trial["value"])
    )
    names = list(dict.fromkeys(name for trial in described["trials"] for name in trial["params"]))
    return html_page.render(
        Path(__file__).parent,
        title=f"{described['study']}: trials",
        kind="study",
        heading=described["study"],
        counts={name: count for name, count in described["counts"].items() if count},
        best=best,
        names=names,
        trials=ranked,
        plots=_plots(study, described),
    )


def _without_attempts(study: Study) -> Study:
    """The study with one entry per trial instead of its attempts, in memory, for Optuna's plots."""
    view = optuna.create_study(direction="minimize", study_name=study.study_name)
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    for _, attempt in sorted(trials_lib.current(trials_lib.attempts(study)).items()):
        if attempt.frozen.state in finished and attempt.frozen.value is not None:
            view.add_trial(attempt.frozen)
    return view


def _importances(study: Study) -> dict[str, float]:
    """The share of the values' spread that each setting explains; empty as long as there are too few trials."""
    view = _without_attempts(study)
    complete = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) < 4:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(view)


def _plots(study: Study, described: dict[str, Any]) -> list[dict[str, str]]:
    """The plots for which there is enough data, each with a title, a sentence and a PNG as base64."""
    import matplotlib

    matplotlib.use("Agg")
    import optuna.visualization.matplotlib as draw

    view = _without_attempts(study)
    num_complete = described["counts"]["complete"]
    if not view.get_trials(deepcopy=False):
        return []
    plots: list[tuple[bool, Callable[..., Any], Study, str, str]] = [
        (num_complete > 0, draw.plot_optimization_history, view, "History", "Each trial's value, and the best so far."),
        (
            True,
            draw.plot_intermediate_values,
            view,
            "Validations",
            "Nats per note by validation; the line of a pruned trial ends early.",
        ),
        (
            bool(described["importances"]),
            draw.plot_param_importances,
            view,
            "Importance",
            "How much of the spread of the values each setting explains (PED-ANOVA).",
        ),
        (num_complete > 1, draw.plot_slice, view, "Slices", "Each trial's value over each setting; darker is later."),
        (True, draw.plot_timeline, study, "Timeline", "When each attempt ran, by Optuna's trial number."),
    ]
    return [
        {"title": title, "text": text, "image": _draw(plot, plotted)}
        for is_wanted, plot, plotted, title, text in plots
        if is_wanted
    ]


def _draw(plot: Callable[..., Any], study: Study) -> str:
    import matplotlib.pyplot as pyplot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these functions warn that they are experimental
        drawn = plot(study)
    axes = drawn.flat if hasattr(drawn, "flat") else [drawn]
    for axis in axes:
        axis.set_title("")
        if axis.get_legend() is not None and len(axis.get_legend().get_texts()) > MOST_LEGENDS:
            axis.get_legend().remove()
        figure = axis.figure
    figure.suptitle("")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return base64.b64encode(image.getvalue()).decode()
