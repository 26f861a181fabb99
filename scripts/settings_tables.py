"""Writes the tables of settings in docs/ from their definitions; with --check, only says which are out of date.

    python -m scripts.settings_tables [--check]

A table is between `<!-- settings: MODULE.CLASS ... -->` and `<!-- /settings -->`; `CLASS:name,name` takes some of its
settings, in this order. An object in place of the class gives other defaults.
"""

from __future__ import annotations

import importlib
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence

from job_runtime.command_line.settings import Setting, settings_of

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(<!-- settings: (.*?) -->\n).*?(<!-- /settings -->)", re.DOTALL)
COMMAND = "python -m scripts.settings_tables"
HEADING = "| flag | value | default | meaning |\n|---|---|---|---|\n"


def table(sources: str) -> str:
    """The settings of some classes or objects as a table in Markdown."""
    return HEADING + "".join(_row(each) for source in sources.split() for each in _settings(source))


def _settings(source: str) -> Iterator[Setting]:
    path, _, names = source.partition(":")
    module, _, name = path.rpartition(".")
    settings = settings_of(getattr(importlib.import_module(module), name))
    yield from (settings[each] for each in names.split(",")) if names else settings.values()


def _row(each: Setting) -> str:
    cells = (each.flag, each.wanted or "text", each.shown_default, each.help)
    return f"| {' | '.join(map(_escaped, cells))} |\n"


def _escaped(text: str) -> str:
    return re.sub(r"(--[a-z][a-z-]*)", r"`\1`", re.sub(r"([|*_<\[\]])", r"\\\1", text))


def with_tables(page: str) -> str:
    """A page with its tables as they should be."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{table(block[2])}\n{block[3]}", page)


def main(argv: Sequence[str]) -> int:
    stale = [path for path in sorted(DOCS.glob("*.md")) if with_tables(path.read_text()) != path.read_text()]
    if "--check" in argv:
        for path in stale:
            print(f"{path}: a table of settings is not as the code defines it; run {COMMAND}")
        return 1 if stale else 0
    for path in stale:
        path.write_text(with_tables(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
