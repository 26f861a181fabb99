"""Progress of long work: a bar on a terminal, otherwise a line on standard error now and then.

with progress(total=64, unit="pieces", label="generating") as bar:
    bar.update(1)

for path in progress(paths, unit="files", label="reading"):
    ...

with stage("compiling"):  # says so at once, and how long it took
    ...

Time left is estimated from what was done since the first update, because what comes before it, such as compiling, is
not repeated.

If PROGRESS_FILE is set, the same is written to that file, as a JSON object, as often as a line is logged.
`job_runtime.liveness` tells from the file's age whether the process still makes progress. Where logs are JSON, the
lines have these numbers, too, as `progress`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Generic, TypeVar, overload

from job_runtime import io_errors
from job_runtime.logs import json_log

T = TypeVar("T")

FILE_VARIABLE = "PROGRESS_FILE"
LINE_SECONDS = 10.0  # between two lines without a terminal, so that a log stays readable
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # with our own time left in the postfix
_bars: list[Progress] = []  # those on the terminal


class Progress(Generic[T]):
    """Counts finished `unit`s. Use it as a context manager, or iterate over it; `close` may be called twice."""

    def __init__(self, iterable: Iterable[T] | None, total: int | None, unit: str, label: str, done: int) -> None:
        self.done = self._first_done = done
        self._iterable = iterable
        self._total = total
        self._unit = unit
        self._label = label
        self._note = ""
        self._started = self._last_line_time = time.monotonic()
        self._first_time: float | None = None  # of the first update, when `_first_done` were done
        self._expected: float | None = None
        self._is_closed = False
        self._file = os.environ.get(FILE_VARIABLE)
        self._last_write_time = -LINE_SECONDS
        self._write()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            form = None if total is None else _BAR
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=label,
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format=form,
                unit=f" {unit}",
            )
            _bars.append(self)

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
        if self._first_time is None:
            self._first_time, self._first_done = time.monotonic(), self.done
        self._write()
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, [self._left(), self._note])), refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line_time >= LINE_SECONDS:
            self._last_line_time = time.monotonic()
            self._print(self._line())

    def note(self, text: str) -> None:
        """Shows a short text after the count, such as the loss, from the next update on."""
        self._note = text

    def expect(self, seconds: float) -> None:
        """Shows this time left from the next update on, where the caller knows more than the count says."""
        self._expected = seconds

    def close(self) -> None:
        """Ends the bar, or prints the last line."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._bar is not None:
            _bars.remove(self)
            self._bar.close()
        else:
            seconds = time.monotonic() - self._started
            self._print(f"{self._count()} in {seconds:.1f} s{self._tail()}")

    def _write(self) -> None:
        """Updates the progress file, if there is one; atomically."""
        if self._file is None or time.monotonic() - self._last_write_time < LINE_SECONDS:
            return
        self._last_write_time = time.monotonic()
        temporary = f"{self._file}.{os.getpid()}"
        with io_errors.named(self._file):
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump({**self._numbers(), "note": self._note}, file)
            os.replace(temporary, self._file)

    def _numbers(self) -> dict[str, object]:
        rate = self._rate()
        return {
            "label": self._label,
            "done": self.done,
            "total": self._total,
            "unit": self._unit,
            "percent": round(100 * self.done / self._total, 2) if self._total else None,
            "per_second": None if rate is None else round(rate, 3),
        }

    def _count(self) -> str:
        last = self.done if self._total is None else self._total
        unit = self._unit.removesuffix("s") if last == 1 else self._unit
        return f"{self.done:,} {unit}" if self.done == last else f"{self.done:,} of {last:,} {unit}"

    def _line(self) -> str:
        rate = self._rate()
        speed = "" if rate is None else f"{rate:,.1f} per second"
        return ", ".join(filter(None, [self._count(), speed, self._left()])) + self._tail()

    def _rate(self) -> float | None:
        """Per second, since the first update; None if there was only that one."""
        seconds = 0.0 if self._first_time is None else time.monotonic() - self._first_time
        return (self.done - self._first_done) / seconds if seconds > 0 and self.done > self._first_done else None

    def _left(self) -> str:
        left, rate = self._expected, self._rate()
        if self._total is None or self.done >= self._total:
            return ""
        if left is None and rate is not None:
            left = (self._total - self.done) / rate
        return "" if left is None else f"{left:,.0f} s left"

    def _tail(self) -> str:
        return f"; {self._note}" if self._note else ""

    def _print(self, line: str) -> None:
        text = f"{self._label}: {line}"
        if isinstance(sys.stderr, json_log.JsonLines):
            sys.stderr.write_object(text, "INFO", progress=self._numbers())
        else:
            print(text, file=sys.stderr, flush=True)


@overload
def progress(
    iterable: Iterable[T], *, total: int | None = ..., unit: str = ..., label: str = ..., done: int = ...
) -> Progress[T]: ...
@overload
def progress(
    iterable: None = ..., *, total: int | None = ..., unit: str = ..., label: str = ..., done: int = ...
) -> Progress[Any]: ...
def progress(
    iterable: Iterable[T] | None = None,
    *,
    total: int | None = None,
    unit: str = "items",
    label: str = "progress",
    done: int = 0,
) -> Progress[Any]:
    """Shows the progress of iterating over `iterable`; without one, of the calls to `update`.

    Args:
      total: how many there will be, if known; by default the length of the iterable, if it has one.
      unit: what is counted, in the plural.
      label: what is being done, such as `encoding`.
      done: how many an earlier run has done.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return Progress(iterable, total, unit, label, done)


@contextlib.contextmanager
def stage(label: str) -> Iterator[None]:
    """Says what is being done while there is nothing to count, and how long it took.

    Args:
      label: such as `compiling`.
    """
    started = time.monotonic()
    shown = _bars[-1]._bar if _bars else None
    if shown is not None:
        shown.set_postfix_str(label)
    elif sys.stderr.isatty():
        print(label, end=" ... ", file=sys.stderr, flush=True)
    else:
        print(label, file=sys.stderr, flush=True)
    yield
    seconds = f"{time.monotonic() - started:.1f} s"
    if shown is not None:
        shown.write(f"{label}: {seconds}", file=sys.stderr)
    else:
        print(seconds if sys.stderr.isatty() else f"{label}: {seconds}", file=sys.stderr, flush=True)
