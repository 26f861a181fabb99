from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def threads_unless_slow(request):
    if request.node.get_closest_marker("slow") is None:
        request.getfixturevalue("threads_for_processes")
