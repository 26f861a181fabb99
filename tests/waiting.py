"""Waiting for what other processes do."""

from __future__ import annotations

import time
from typing import Any


def wait_for(is_so: Any, seconds: float) -> Any:
    """What `is_so` returns, when that is true."""
    until = time.monotonic() + seconds
    while True:
        found = is_so()
        if found:
            return found
        assert time.monotonic() < until, f"not so after {seconds} s: {is_so}"
        time.sleep(0.2)
