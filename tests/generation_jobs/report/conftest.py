"""A page of the report, open in a browser."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest


@dataclasses.dataclass
class Visit:
    """An open page, and everything it complained about or asked for."""

    VIEW: ClassVar[str] = "document.querySelector('#roll').dataset.view.split(' ').map(Number)"

    page: Any
    complaints: list[str]
    addresses: list[str]

    def view(self) -> tuple[float, float]:
        first, last = self.page.evaluate(self.VIEW)
        return first, last

    def wait(self, condition: str) -> None:
        """Until an expression is true; playwright's own waiting uses eval, which the page's policy forbids."""
        for _ in range(600):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"it never came true that {condition}")


@pytest.fixture
def visit(browser):
    """Opens a page; every page of a test must have been silent and asked for nothing from a network."""
    contexts, visits = [], []

    def open_page(path: Path, **settings: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
        page = context.new_page()
        opened = Visit(page, [], [])
        page.on("console", lambda message: opened.complaints.append(message.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("request", lambda request: opened.addresses.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("#roll[data-view]")
        contexts.append(context)
        visits.append(opened)
        return opened

    yield open_page
    for context in contexts:
        context.close()
    for opened in visits:
        assert opened.complaints == []
        assert [address for address in opened.addresses if not address.startswith(("file:", "data:", "blob:"))] == []
