from __future__ import annotations

import concurrent.futures

import pytest

from generation_jobs.render import sound_files


@pytest.fixture(autouse=True)
def threads_for_processes(monkeypatch, request):
    """Threads render, which start at once; a test of the processes themselves is slow."""
    if request.node.get_closest_marker("slow"):
        return
    monkeypatch.setattr(
        sound_files.concurrent.futures,
        "ProcessPoolExecutor",
        lambda number, _context, initializer: concurrent.futures.ThreadPoolExecutor(number),
    )
