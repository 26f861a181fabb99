"""The report's page: one HTML file with its style, script, data and some sounds inside."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from job_runtime import html_page

SCRIPTS = tuple(
    f"scripts/{name}.js"
    for name in (
        "data", "roll", "synth", "player", "charts", "marks", "downloads", "columns", "stage", "filters", "pieces",
        "extremes", "page",
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """The content of one page.

    figures         label, value, unit and note of each key figure
    facts           label and value of each line about the origin
    training        note and table (head, rows) of the training section, or None
    data            for the script, as `data.js` and the scripts after it read it
    sounds          Ogg Vorbis files, by the index of their piece
    midi            `.mid` files one after another, deflated
    """

    title: str
    warnings: Sequence[str]
    figures: Sequence[Mapping[str, str]]
    facts: Sequence[tuple[str, str]]
    highlights_note: str
    extremes_note: str
    comparison_note: str | None
    training: Mapping[str, Any] | None
    data: Mapping[str, Any]
    sounds: Mapping[int, bytes]
    midi: bytes


def render(content: Content) -> bytes:
    """The whole page, UTF-8."""
    shown = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    shown["data"] = html_page.json_data(content.data)
    shown["sounds"] = [(index, base64.b64encode(sound).decode()) for index, sound in content.sounds.items()]
    shown["midi"] = base64.b64encode(content.midi).decode()
    return html_page.render(
        pathlib.Path(__file__).parent, scripts=SCRIPTS, kind="report", heading=content.title, **shown
    )
