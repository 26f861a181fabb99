"""Settings that are regular expressions."""

from __future__ import annotations

import re

from job_runtime.command_line.settings import Kind


def expression(gives: str) -> Kind:
    """Regular expressions with a group that gives something."""
    wanted = f"a regular expression with a group that gives the {gives}"

    def read(text: str) -> str:
        try:
            if re.compile(text).groups:
                return text
        except re.error as error:
            raise ValueError(f"which is not a regular expression: {error}") from error
        raise ValueError(f"want {wanted}")

    return Kind(wanted, read=read)
