"""The user's mistakes, which `job_runtime.command` turns into sentences and status 2."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """One or more mistakes of the user, each a sentence with its place, the value, and what was wanted."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))
