"""The tables that `python -m trainer.evaluate` prints, from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from job_runtime.command_line.numerals import counted

COLUMN = 17
TOP_TITLES = {
    "top1": "the likeliest bin is the note's, %",
    "top3": "the note's bin is among the 3 likeliest, %",
    "top5": "the note's bin is among the 5 likeliest, %",
}

Figure = Mapping[str, Any]


def format_report(report: Mapping[str, Any]) -> str:
    """All tables; the interval of a figure is printed below it."""
    width = max(len(row["name"]) for row in report["models"]) + 2
    fields = _fields(report)
    lines = [_headline(report)]
    lines += _section(
        "nats per note, END included; lower is better",
        ["all", *fields, "nats per second"],
        [(row["name"], [row["nll"], *_of(row, "nll_by_field", fields), row["nll_per_second"]])
         for row in report["models"]],
        width,
        "{:.3f}".format,
    )  # fmt: skip
    lines += _differences(report, fields, width)
    lines += _labels(report, width)
    lines += _accuracy(report, fields, width)
    rows = [
        (row["name"], _of(row, "error_milliseconds", fields))
        for row in report["models"]
        if row.get("error_milliseconds")
    ]
    lines += _section("mean error of the best guess, milliseconds", fields, rows, width, "{:.1f}".format)
    lines += _calibration(report, fields, width)
    return "\n".join(lines)


def _headline(report: Mapping[str, Any]) -> str:
    data, split, intervals = report["data"], report["split"], report["intervals"]
    text = (
        f"{data['split']} of {data['path']}: {counted(split['num_pieces'], 'piece')}, {split['num_notes']:,} notes,"
        f" {split['seconds']:,.0f} s of music\n"
    )
    if split["num_groups"] < 2:
        return text + "no intervals: all pieces belong to one group"
    return text + (
        f"below each figure its {intervals['level']:.0%} interval: {intervals['num_resamples']:,} resamples of"
        f" {split['num_groups']:,} groups of pieces"
    )


def _fields(report: Mapping[str, Any]) -> list[str]:
    """All fields that any row has, in the order of the field table."""
    return list(dict.fromkeys(name for row in reversed(report["models"]) for name in row["nll_by_field"]))


def _of(row: Mapping[str, Any], key: str, names: Sequence[str]) -> list[Figure | None]:
    return [row.get(key, {}).get(name) for name in names]


def _section(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Figure | None]]],
    width: int,
    show: Callable[[float], str],
) -> list[str]:
    """A table without empty columns; no lines if there are no rows."""
    kept = [index for index, _ in enumerate(columns) if any(figures[index] is not None for _, figures in rows)]
    if not kept:
        return []
    columns = [columns[index] for index in kept]
    rows = [(name, [figures[index] for index in kept]) for name, figures in rows]
    lines = ["", title, " " * width + "".join(f"{name:>{COLUMN}}" for name in columns)]
    for name, figures in rows:
        values = ["-" if figure is None else show(figure["value"]) for figure in figures]
        lines.append(f"{name:{width}}" + "".join(f"{value:>{COLUMN}}" for value in values))
        if any(figure is not None and figure["low"] is not None for figure in figures):
            bounds = ["" if f is None or f["low"] is None else f"{show(f['low'])} {show(f['high'])}" for f in figures]
            lines.append((" " * width + "".join(f"{value:>{COLUMN}}" for value in bounds)).rstrip())
    return lines


def _differences(report: Mapping[str, Any], fields: Sequence[str], width: int) -> list[str]:
    """Every row against the first bundle; below 0 is better than the bundle."""
    first = next(row["name"] for row in report["models"] if "bundle" in row)
    rows = []
    for row in report["differences"]:
        if first not in (row["name"], row["minus"]):
            continue
        figures = [row["nll"], *_of(row, "nll_by_field", fields), row["nll_per_second"]]
        if row["minus"] == first:
            rows.append((row["name"], figures))
        else:
            rows.append((row["minus"], [_negated(figure) for figure in figures]))
    title = f"minus {first}, paired: nats per note; above 0 is worse"
    return _section(title, ["all", *fields, "nats per second"], rows, width, "{:+z.3f}".format)


def _negated(figure: Figure | None) -> Figure | None:
    """The figure with the opposite sign; the ends of its interval change places."""
    if figure is None:
        return None
    value, low, high = (None if figure[key] is None else -figure[key] for key in ("value", "high", "low"))
    return {"value": value, "low": low, "high": high}


def _labels(report: Mapping[str, Any], width: int) -> Iterator[str]:
    """Two tables per label: nats with and without it, and for how many pieces the right value is the likeliest."""
    models = [row for row in report["models"] if "labels" in row]
    for label in dict.fromkeys(label for row in models for label in row["labels"]):
        found = [
            (row["name"], row["labels"][label], row["label_values"][label]) for row in models if label in row["labels"]
        ]
        yield from _section(
            f"{label}: nats per note with the pieces' own value; above 0: how much worse it is unknown, or another",
            ["own", "unknown - own", "others - own"],
            [(name, [each["own"], each["unknown_minus_own"], each.get("others_minus_own")]) for name, each, _ in found],
            width,
            "{:.3f}".format,
        )
        yield from _section(
            f"{label}: pieces that are likeliest with their own value, %",
            ["own likeliest", "by chance", "commonest"],
            [
                (name, [each["likeliest"], _certain(about["by_chance"]), _certain(about["commonest"])])
                for name, each, about in found
                if "likeliest" in each
            ],
            width,
            lambda share: f"{100 * share:.1f}",
        )


def _certain(value: float) -> Figure:
    return {"value": value, "low": None, "high": None}


def _accuracy(report: Mapping[str, Any], fields: Sequence[str], width: int) -> Iterator[str]:
    for top, title in TOP_TITLES.items():
        rows = [
            (row["name"], [row["accuracy"].get(name, {}).get(top) for name in fields])
            for row in report["models"]
            if "accuracy" in row
        ]
        yield from _section(title, fields, rows, width, lambda share: f"{100 * share:.1f}")


def _calibration(report: Mapping[str, Any], fields: Sequence[str], width: int) -> Iterator[str]:
    """Two tables: the expected calibration error beside that of chance, and the distance of the PIT from flat."""
    for key, title, cell in (
        (
            "reliability",
            "expected calibration error, % (what chance alone would give)",
            lambda figure: f"{100 * figure['error']:.2f} ({100 * figure['error_by_chance']:.2f})",
        ),
        (
            "pit",
            "times: share of notes away from a flat PIT histogram, %",
            lambda figure: f"{100 * figure['distance']:.1f}",
        ),
    ):
        rows = [(row["name"], row[key]) for row in report["models"] if row.get(key)]
        names = [name for name in fields if any(name in by_field for _, by_field in rows)]
        if not rows:
            continue
        yield from ("", title, " " * width + "".join(f"{name:>{COLUMN}}" for name in names))
        for name, by_field in rows:
            cells = [cell(by_field[column]) if column in by_field else "-" for column in names]
            yield f"{name:{width}}" + "".join(f"{text:>{COLUMN}}" for text in cells)
