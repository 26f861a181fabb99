"""HTML pages that are one file each: the shell, the theme and the base style of every page, and its security policy.

A page is a folder with a template `page.html.j2`, which extends `shell.html.j2`, a style `page.css`, and scripts if it
needs any. Everything that comes from data is escaped: as text in the templates, as JSON by `json_data`. The content
security policy allows only the page's own style and script, and nothing from a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_FOLDER = Path(__file__).parent
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}  # so that no text can end the data block


def render(folder: Path, *, scripts: Sequence[str] = (), **content: Any) -> bytes:
    """The whole page, UTF-8.

    Args:
      folder: of the page's template, style and scripts.
      scripts: file names, in order; they share one scope.
      content: what the template uses; the shell uses `title`, `kind` and `heading`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    style = _read(_FOLDER / "base.css") + _read(folder / "page.css")
    parts = [_read(folder / name) for name in scripts]
    script = '(() => {\n"use strict";\n' + "\n".join(parts) + "})();" if parts else ""
    text = environment.get_template("page.html.j2").render(
        **content, style=Markup(style), script=Markup(script), policy=_policy(style, script)
    )
    return text.encode("utf-8", "replace")  # a path may hold bytes that are not UTF-8


def json_data(data: Any) -> Markup:
    """JSON for the text of a script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character, escape in _JSON_ESCAPES.items():
        text = text.replace(character, escape)
    return Markup(text)


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Allows this style, this script, and images and sound that are in the page or made by it."""
    allowed = ["default-src 'none'", f"style-src {_source(style)}", "img-src data:"]
    if script:
        allowed += [f"script-src {_source(script)}", "media-src data: blob:"]
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'"])


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
