from __future__ import annotations

import concurrent.futures

import pytest


@pytest.fixture
def threads_for_processes(monkeypatch):
    """Threads do what processes would: they start at once, and see what a test replaces."""
    monkeypatch.setattr(
        concurrent.futures,
        "ProcessPoolExecutor",
        lambda number, _context, initializer: concurrent.futures.ThreadPoolExecutor(number),
    )
