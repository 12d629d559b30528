"""A real browser for the pages: Debian's chromium, driven by Playwright; without one, tests are skipped and say so."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest


@pytest.fixture(scope="session")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine; as root on Debian: apt-get install chromium")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


@contextmanager
def opened(browser, url, *, width=1280, height=900, scheme="light"):
    """A tab with a page; afterwards it must have fetched nothing but the page, and complained about nothing."""
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab.set_default_timeout(60_000)  # two cores may have much else to do
    tab.set_default_navigation_timeout(60_000)
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    try:
        tab.goto(url)
        tab.wait_for_selector("html[data-ready]")
        yield tab
        base = url.rstrip("/")
        assert [one for one in asked if one.rstrip("/") not in (base, f"{base}/state", f"{base}/page")] == []
        assert said == []
    finally:
        tab.close()
