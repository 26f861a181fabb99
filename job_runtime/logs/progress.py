"""Progress of long work: a bar on a terminal, otherwise a line on standard error now and then.

with progress(total=64, unit="pieces", label="generating") as bar:
    bar.update(1)

for path in progress(paths, unit="files", label="reading"):
    ...

If PROGRESS_FILE is set, the same is written to that file, as a JSON object, as often as a line is logged.
`job_runtime.liveness` tells from the file's age whether the process still makes progress.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Generic, TypeVar, overload

from job_runtime import io_errors

T = TypeVar("T")

FILE_VARIABLE = "PROGRESS_FILE"
LINE_SECONDS = 10.0  # between two lines without a terminal, so that a log stays readable


class Progress(Generic[T]):
    """Counts finished `unit`s. Use it as a context manager, or iterate over it; `close` may be called twice."""

    def __init__(self, iterable: Iterable[T] | None, total: int | None, unit: str, label: str) -> None:
        self.done = 0
        self._iterable = iterable
        self._total = total
        self._unit = unit
        self._label = label
        self._note = ""
        self._started = self._last_line_time = time.monotonic()
        self._is_closed = False
        self._file = os.environ.get(FILE_VARIABLE)
        self._last_write_time = -LINE_SECONDS
        self._write()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=f" {unit}", desc=label, file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Progress[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        if self._iterable is None:
            raise TypeError("this progress counts by update(); it has nothing to iterate over")
        with self:
            for item in self._iterable:
                yield item
                self.update(1)

    def update(self, count: int = 1) -> None:
        """Counts `count` more as done."""
        self.done += count
        self._write()
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._last_line_time >= LINE_SECONDS:
            self._last_line_time = time.monotonic()
            self._print(self._line())

    def note(self, text: str) -> None:
        """Shows a short text after the count, such as the loss, from the next update on."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        """Ends the bar, or prints the last line."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._bar is not None:
            self._bar.close()
        else:
            seconds = time.monotonic() - self._started
            self._print(f"{self._count()} in {seconds:.1f} s{self._tail()}")

    def _write(self) -> None:
        """Updates the progress file, if there is one; atomically."""
        if self._file is None or time.monotonic() - self._last_write_time < LINE_SECONDS:
            return
        self._last_write_time = time.monotonic()
        record = {"label": self._label, "done": self.done, "total": self._total, "unit": self._unit, "note": self._note}
        temporary = f"{self._file}.{os.getpid()}"
        with io_errors.named(self._file):
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(record, file)
            os.replace(temporary, self._file)

    def _count(self) -> str:
        is_complete = self.done == self._total or self._total is None
        return f"{self.done:,} {self._unit}" if is_complete else f"{self.done:,} of {self._total:,} {self._unit}"

    def _line(self) -> str:
        rate = self.done / max(time.monotonic() - self._started, 1e-9)
        line = f"{self._count()}, {rate:,.1f} per second"
        if self._total is not None and 0 < self.done < self._total:
            line += f", {(self._total - self.done) / rate:,.0f} s left"
        return line + self._tail()

    def _tail(self) -> str:
        return f"; {self._note}" if self._note else ""

    def _print(self, line: str) -> None:
        print(f"{self._label}: {line}", file=sys.stderr, flush=True)


@overload
def progress(iterable: Iterable[T], *, total: int | None = ..., unit: str = ..., label: str = ...) -> Progress[T]: ...
@overload
def progress(iterable: None = ..., *, total: int | None = ..., unit: str = ..., label: str = ...) -> Progress[Any]: ...
def progress(
    iterable: Iterable[T] | None = None, *, total: int | None = None, unit: str = "items", label: str = "progress"
) -> Progress[Any]:
    """Shows the progress of iterating over `iterable`; without one, of the calls to `update`.

    Args:
      total: how many there will be, if known; by default the length of the iterable, if it has one.
      unit: what is counted, in the plural.
      label: what is being done, such as `encoding`.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return Progress(iterable, total, unit, label)
