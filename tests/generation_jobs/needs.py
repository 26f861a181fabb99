"""What some tests need from Debian. In CI a missing one fails; elsewhere the test skips and says what to install."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def chromium() -> str:
    """Path of the browser."""
    return shutil.which("chromium") or _missing("chromium")


def _missing(package: str) -> NoReturn:
    sentence = f"this test needs {package}; on Debian: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)
