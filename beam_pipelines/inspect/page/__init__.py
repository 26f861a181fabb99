"""The page of `inspect`: one HTML file that includes its style and drawings, without any script.

The template is beside this file; `job_runtime.html_page` renders it.
"""

from __future__ import annotations

import pathlib
from typing import Any

from beam_pipelines.inspect import note_histograms
from beam_pipelines.inspect.contents_text import flat_settings
from beam_pipelines.inspect.dataset_contents import Case, Contents
from beam_pipelines.inspect.page import drawings
from job_runtime import html_page
from midi_codec.dataset.dataset_info import SPLITS, DatasetInfo
from midi_codec.dataset.records import Piece

NUM_NOTES = 12  # in the table of a piece
NUM_SOURCES = 12  # of a group
NUM_PROGRAMS = 7  # lines, which make it as high as the other charts


def render(contents: Contents) -> bytes:
    """The whole page, UTF-8."""
    info = contents.info
    name = contents.path.rstrip("/").rsplit("/", 1)[-1] or contents.path
    return html_page.render(
        pathlib.Path(__file__).parent,
        title=f"{name}: dataset",
        kind="dataset",
        heading=name,
        path=contents.path,
        info=info,
        figures=_figures(info),
        fates=drawings.fates(info),
        splits=_splits(info),
        charts=_charts(contents),
        programs=drawings.rows(note_histograms.of_programs(info, NUM_PROGRAMS)),
        cases=_cases(contents),
        groups=contents.groups or (),
        num_sources=NUM_SOURCES,
        lengths_known=contents.num_notes is not None,
        piece=_piece(contents.piece, contents.piece_split) if contents.piece else None,
        settings=[("dataset", info.hash), ("time base", info.time_base), *flat_settings(info.settings)],
    )


def _figures(info: DatasetInfo) -> list[dict[str, str]]:
    notes = sum(split.num_notes for split in info.splits.values())
    hours = sum(split.seconds for split in info.splits.values()) / 3600
    salvaged = sum(info.salvaged.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in info.duplicates.items())
    figures = [
        ("Pieces", f"{info.examples:,}", f"of {info.inputs:,} inputs"),
        ("Notes", _short(notes), f"{notes / info.examples:,.0f} a piece" if info.examples else ""),
        ("Hours of music", f"{hours:,.1f}", f"{len(info.programs)} program{'s' if len(info.programs) != 1 else ''}"),
        ("Duplicates", f"{sum(info.duplicates.values()):,}", kinds),
        ("Rejects", f"{sum(info.rejects.values()):,}", f"and {salvaged:,} inputs salvaged"),
    ]
    return [{"label": label, "value": value, "note": note} for label, value, note in figures]


def _short(number: int) -> str:
    for size, unit in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:,}"


def _splits(info: DatasetInfo) -> list[dict[str, Any]]:
    whole = max(info.examples, 1)
    return [
        {"name": name, "split": info.splits[name], "share": 100 * info.splits[name].num_pieces / whole}
        for name in SPLITS
    ]


def _charts(contents: Contents) -> list[drawings.Chart]:
    bars = note_histograms.of_dataset(contents.info, coarse=False)
    if contents.num_notes and any(contents.num_notes.values()):
        bars.append(note_histograms.of_lengths(contents.num_notes))
    return [drawings.chart(each, "pieces" if each.name == "num_notes" else "notes") for each in bars]


def _cases(contents: Contents) -> list[dict[str, Any]]:
    """The tables of inputs that became no example, or were salvaged."""
    tables = (
        ("rejects", "Rejects", "Inputs that cannot be used, by reason.", contents.rejects, ""),
        ("salvaged", "Salvaged", "Inputs that only lenient reading could read.", contents.salvaged, ""),
        ("duplicates", "Duplicates", "Inputs whose music is already in the dataset.", contents.duplicates, "kept: "),
    )
    return [
        {"id": name, "title": title, "note": note, "prefix": prefix, "cases": _shares(cases)}
        for name, title, note, cases, prefix in tables
        if any(case.count for case in cases)
    ]


def _shares(cases: Any) -> list[tuple[Case, float]]:
    """Each with its count in percent of the highest count."""
    highest = max(case.count for case in cases)
    return [(case, 100 * case.count / highest) for case in cases if case.count]


def _piece(piece: Piece, split: str | None) -> dict[str, Any]:
    notes = piece.notes.take(slice(0, NUM_NOTES))
    columns = (notes.start, notes.step, notes.pitch, notes.duration, notes.velocity, notes.program)
    return {
        "source": piece.source,
        "piece_id": piece.piece_id,
        "split": split,
        "notes": f"{len(piece.notes):,}",
        "seconds": f"{piece.notes.seconds:,.1f}",
        "tempo": f"{piece.notes.tempo:.4g}",
        "roll": drawings.roll(piece.notes),
        "rows": [
            (start, step, note_histograms.pitch_name(pitch), duration, velocity, program)
            for start, step, pitch, duration, velocity, program in zip(*(c.tolist() for c in columns), strict=True)
        ],
        "rest": max(len(piece.notes) - NUM_NOTES, 0),
    }
