"""The report's page: one HTML file with its style, script, data and some sounds inside.

The template stands beside this file, with the style and the scripts that go into it. The page asks the browser
to hold it to its promise: its content security policy allows this script and no other, and nothing from a
network. What comes from data is escaped: as text in the template, as JSON
in a data block, and the script puts text into elements as text only.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

SCRIPTS = (
    "data.js",
    "roll.js",
    "synth.js",
    "player.js",
    "charts.js",
    "stage.js",
    "pieces.js",
    "extremes.js",
    "page.js",
)

_FOLDER = pathlib.Path(__file__).parent
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # so that no text can end the data block


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """What one page shows.

    figures         label, value, unit, note of each key figure
    facts           label and value of each line about the origin
    training        note and table (head, rows) of the training section, or None
    data            what the script reads; `data.js` and its users say what
    sounds          Ogg Vorbis files inside the page, by the index of their piece
    """

    title: str
    warnings: Sequence[str]
    figures: Sequence[Mapping[str, str]]
    facts: Sequence[Mapping[str, str]]
    highlights_note: str
    extremes_note: str
    comparison_note: str | None
    training: Mapping[str, Any] | None
    data: Mapping[str, Any]
    sounds: Mapping[int, bytes]


def render(content: Content) -> bytes:
    """The whole page, UTF-8."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    style = _read("page.css")
    script = '(() => {\n"use strict";\n' + "\n".join(_read(name) for name in SCRIPTS) + "})();"
    shown = {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
    shown["sounds"] = [(number, base64.b64encode(sound).decode()) for number, sound in content.sounds.items()]
    text = environment.get_template("page.html.j2").render(
        **shown, style=style, script=script, policy=_policy(style, script), json_data=_data_block(content.data)
    )
    return text.encode("utf-8", "replace")  # a path may hold bytes that are not UTF-8


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _data_block(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escape in _JSON_ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _policy(style: str, script: str) -> str:
    """This style, this script, sounds inside the page or made by it, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}",
            "img-src data:",
            "media-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
