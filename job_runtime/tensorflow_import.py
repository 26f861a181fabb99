"""Imports TensorFlow in 60% of the time.

TensorFlow imports Keras, and Keras imports pandas and Matplotlib where they are installed, for functions that no
command calls. While TensorFlow is being imported they count as absent; afterwards any code can import them. Garbage
collection waits meanwhile: an import keeps nearly all of its many objects.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType

UNUSED = frozenset({"pandas", "matplotlib"})


class _Absent:
    """A finder that makes packages count as absent in the thread that made it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in UNUSED and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class _Finder:
    """Finds one package, and calls `prepare` before its first import, by whatever module."""

    def __init__(self, package: str, prepare: Callable[[], None]) -> None:
        self.package, self._prepare = package, prepare

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self.package:
            return None
        sys.meta_path.remove(self)
        self._prepare()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_lean(module: ModuleType) -> None:
                with _lean():
                    execute(module)

            spec.loader.exec_module = execute_lean  # type: ignore[method-assign]
        return spec


def watch(prepare: Callable[[], None], package: str = "tensorflow") -> None:
    """As soon as something imports TensorFlow, `prepare` is called, and then the import takes less time."""
    is_watched = any(isinstance(finder, _Finder) and finder.package == package for finder in sys.meta_path)
    if package not in sys.modules and not is_watched:
        sys.meta_path.insert(0, _Finder(package, prepare))


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    was_enabled, absent = gc.isenabled(), _Absent()
    gc.disable()
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
        if was_enabled:
            gc.enable()
