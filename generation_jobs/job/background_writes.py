"""Writes in the background, so that the decoder never waits for a disk or a bucket."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

THREADS = 8
MAX_PENDING = 64  # results held in memory; beyond that the decoder waits for the writers


class BackgroundWrites(Generic[T]):
    """Runs `write()` calls on threads and passes their results to `done`, on the caller's thread.

    Leaving the context waits for every write that was started and reports it to `done`, however the block ended, so
    that the caller knows what was written. `done` may add more writes. A failed write raises in `add`, or on leaving.
    """

    def __init__(self, done: Callable[[T], None]) -> None:
        self._done = done
        self._pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        self._pending: collections.deque[concurrent.futures.Future[T]] = collections.deque()

    def __enter__(self) -> BackgroundWrites[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failure: BaseException | None = None
        try:
            while self._pending:
                future = self._pending.popleft()
                failure = failure or future.exception()
                if future.exception() is None:
                    self._done(future.result())
        finally:
            self._pool.shutdown(wait=True)
        if failure is not None and kind is None:
            raise failure

    def add(self, write: Callable[[], T]) -> None:
        self._pending.append(self._pool.submit(write))
        while self._pending and (len(self._pending) > MAX_PENDING or self._pending[0].done()):
            self._done(self._pending.popleft().result())
