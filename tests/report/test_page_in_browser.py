"""The page in a real browser: it draws, keeps quiet, fetches nothing, filters, tells on hover, prints, fits a phone."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from browsing import opened
from foils.report import report


@pytest.fixture(scope="module")
def page(negatives, tmp_path_factory):
    return report(negatives.path, tmp_path_factory.mktemp("page") / "page.html").as_uri()


def test_it_draws_and_no_text_runs(browser, page):
    with opened(browser, page) as tab:
        plots = tab.locator("[data-plot]")
        assert plots.count() == tab.locator("[data-plot] svg.marks").count() >= 5
        for number in range(plots.count()):
            assert plots.nth(number).locator("svg .role-mark path, svg .role-mark text").count() > 0
        assert tab.evaluate("window.hacked") is None
        assert tab.locator("article.query img, article.query script, article.query svg").count() == 0


def test_the_policy_stops_a_script_that_got_in(browser, page):
    tab = browser.new_page()
    tab.goto(page)
    tab.wait_for_selector("html[data-ready]")
    tab.evaluate("""() => { const s = document.createElement("script"); s.textContent = "window.hacked = 5";
        document.body.append(s);
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.hacked = 6'>");
        return fetch("https://example.org/").then(() => "fetched", () => "refused"); }""")
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.hacked") is None
    assert tab.evaluate("fetch('https://example.org/').then(() => 'fetched', () => 'refused')") == "refused"
    tab.close()


def test_more_examples_on_demand(browser, page):
    with opened(browser, page) as tab:
        every = tab.locator("article.query").count()
        assert every > 8
        assert tab.locator("article.query:visible").count() == 8
        assert tab.locator("form.filters output").inner_text().startswith(f"{every} queries")
        button = tab.locator("button.more")
        assert button.inner_text() == f"Show the other {every - 8} queries"
        button.click()
        assert tab.locator("article.query:visible").count() == every
        assert button.is_hidden()


def test_filters_narrow_what_is_shown(browser, page):
    with opened(browser, page) as tab:
        tab.locator("button.more").click()
        shown = tab.locator("article.query:visible li:visible")
        everything = shown.count()
        form = tab.locator("form.filters")
        form.locator("select[name=source]").select_option("bm25")
        roles = shown.evaluate_all(
            "items => items.map(i => [i.classList[0], i.dataset.sources.split(' ').includes('bm25')])"
        )
        assert 0 < len(roles) < everything
        assert all(found for role, found in roles if role != "positive")
        reason = form.locator("select[name=reason] option").nth(1).text_content()
        form.locator("select[name=reason]").select_option(reason)
        reasons = shown.evaluate_all("items => items.filter(i => !i.matches('.positive')).map(i => i.dataset.reason)")
        assert set(reasons) == {reason}
        form.locator("select[name=source]").select_option("")
        form.locator("select[name=reason]").select_option("")
        form.locator("input[name=dropped]").uncheck()
        assert 0 < shown.count() < everything
        assert tab.locator("li.dropped:visible").count() == 0
        form.locator("input[name=dropped]").check()
        form.locator("input[name=text]").fill("Volcano ICE")
        texts = [text.lower() for text in tab.locator("article.query:visible").all_inner_texts()]
        assert texts
        assert all("volcano" in text and "ice" in text for text in texts)
        form.locator("input[name=text]").fill("no such word anywhere")
        assert shown.count() == 0
        assert form.locator("output").inner_text() == "0 queries, 0 documents"
        form.locator("input[name=text]").fill("")
        assert shown.count() == everything


def test_hovering_tells_the_numbers(browser, page):
    with opened(browser, page) as tab:
        bar = tab.locator("[data-plot=survivors-queries] .role-mark path").last
        bar.scroll_into_view_if_needed()
        bar.hover()
        tab.wait_for_selector("#vg-tooltip-element.visible")
        assert re.search(r"negatives\s*4\s*queries\s*\d+", tab.locator("#vg-tooltip-element").inner_text())


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_a_phone(browser, page, width):
    with opened(browser, page, width=width, height=800) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        wide = tab.evaluate("""() => [...document.querySelectorAll("figure svg")].filter(
            (s) => s.getBoundingClientRect().right > innerWidth + 1).length""")
        assert wide == 0


def test_it_prints(browser, page):
    with opened(browser, page, scheme="dark") as tab:
        assert tab.pdf(format="A4").startswith(b"%PDF")
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.locator(".filters").is_hidden()
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_keyboard_reaches_everything(browser, page):
    with opened(browser, page) as tab:
        seen = []
        for _ in range(60):
            tab.keyboard.press("Tab")
            seen.append(tab.evaluate("document.activeElement.tagName + '.' + (document.activeElement.name || '')"))
        assert seen[0] == "A."
        assert {"INPUT.positive", "SELECT.source", "SELECT.reason", "INPUT.text", "SUMMARY.", "PRE."} <= set(seen)
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_lines_have_contrast():
    css = (files("foils.report") / "assets" / "page.css").read_text()
    blocks = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", part)) for part in css.split(":root {")[1:3]]
    for colours in blocks:  # light, dark
        for ground in ("paper", "sunk"):
            for text in ("ink", "soft", "link", "positive", "negative", "good", "warn", "bad"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for line in (*(f"c{n}" for n in range(1, 7)), "dropped"):
            assert _contrast(colours[line], colours["paper"]) >= 3, line
