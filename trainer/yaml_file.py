"""Settings files in YAML, read under the same limits as JSON and without YAML's dangerous features."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml

from job_runtime import storage
from job_runtime.json_text import HIGHEST, LOWEST, MAX_DEPTH, MAX_PROBLEMS, shown
from job_runtime.problem_report import UserError

MAX_BYTES = 1 << 20


def load(path: str) -> dict[str, Any]:
    """The settings of a file.

    Raises:
      UserError: it cannot be read, or everything that is wrong with it.
    """
    try:
        data = storage.read_bytes(path, max_bytes=MAX_BYTES)
        if len(data) > MAX_BYTES:
            raise UserError(f"{path}: has more than {MAX_BYTES:,} bytes, want a file of settings")
        loaded = yaml.load(data, _Loader)
    except (OSError, yaml.YAMLError, ValueError) as error:  # ValueError: impossible dates, huge integers
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    except RecursionError:
        raise UserError(f"{path}: is nested too deep, want at most {MAX_DEPTH} levels") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: holds {type(loaded).__name__}, want settings as `name: value`")
    if problems := list(_problems(loaded)):
        raise UserError(f"{path}: {problem}" for problem in problems[:MAX_PROBLEMS])
    return loaded


class _Loader(yaml.SafeLoader):
    """YAML without aliases, with which a few lines can stand for millions of values, and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "want the values themselves, not *aliases", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or key.tag not in _KEY_TAGS:
                wanted = f"the key {shown(name)} is not text, want names" if name else "a key is not text, want names"
                raise yaml.constructor.ConstructorError(None, None, wanted, key.start_mark)
            if name in seen:
                twice = f"the key {shown(name)} is given twice"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_KEY_TAGS = ("tag:yaml.org,2002:str",)


def _problems(value: Any, location: str = "", depth: int = 1) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{location}: is nested too deep, want at most {MAX_DEPTH} levels"
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            below = f"{location}[{key}]" if isinstance(key, int) else f"{location}.{key}" if location else str(key)
            yield from _problems(item, below, depth + 1)
    elif isinstance(value, int) and not LOWEST <= value <= HIGHEST:
        yield f"{location}: is {shown(value)}, want an integer, {LOWEST} to {HIGHEST}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{location}: is {value}, want a number"
