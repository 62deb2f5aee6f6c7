"""An exported page, opened as a file in the browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.lab import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def opened(browser: "Browser", path: Path, width: int, **options: Any) -> Iterator["Page"]:
    """Open a page; whatever it asks for beyond itself, and every error in it, fails."""
    context = browser.new_context(viewport={"width": width, "height": 700}, **options)
    try:
        watch = Watch(context)
        page = context.new_page()
        page.goto(path.as_uri())
        yield page
        own = f"asked another machine: {path.as_uri()}"
        watch.faults[:] = [fault for fault in watch.faults if fault != own]
        watch.verify()
    finally:
        context.close()
