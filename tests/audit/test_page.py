"""The page that people label in: one file, keys, thumbs, labels that stay and come out as the audit reads them."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from browsing import opened
from foils.audit.judges.people import Labels
from foils.audit.page import page, write_page
from foils.core.errors import DataError

HOSTILE = 'a </script><img src=x onerror="document.title=1"> & "quoted", $data \u2028 \ud800 <b>bold</b>'


def items(count=5):
    return [
        {
            "query_id": f"q,{i}",
            "doc_id": f'd"{i}',
            "query": f"What are the treatments for infection {i}?",
            "positive": f"Infections are treated with antibiotics. {i}",
            "document": f"Document {i}. An infectious word.\n\nSecond paragraph.",
        }
        for i in range(count)
    ]


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_one_file_that_needs_nothing_else():
    text = page(items(), "medquad")
    assert text == page(items(), "medquad")
    parser = Elements()
    parser.feed(text)
    for tag, attributes in parser.found:
        assert "src" not in attributes, tag
        assert attributes.get("href", "data:,") == "data:,"
    assert "$" not in re.sub(r"<script.*</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"https?://", text)


def test_texts_stay_texts():
    text = page([{**items(1)[0], "document": HOSTILE}], "<title> & more")
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "&lt;title&gt; &amp; more" in text
    found = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert found["items"][0]["document"] == HOSTILE.replace("\ud800", "?")


def test_long_texts_are_cut_and_ids_are_not():
    text = page([{**items(1)[0], "document": "word " * 5000, "doc_id": "d" * 9000}], "t")
    (item,) = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))["items"]
    assert len(item["document"]) < 8100
    assert item["document"].endswith("word …")
    assert len(item["doc_id"]) == 9000


def test_nothing_to_label(tmp_path):
    with pytest.raises(DataError, match="nothing is there to label"):
        write_page(tmp_path / "page.html", [], "t")


@pytest.fixture
def url(tmp_path):
    path = tmp_path / "labels.html"
    write_page(path, items(), "medquad")
    return path.as_uri()


def saved(tab):
    with tab.expect_download() as download:
        tab.keyboard.press("s")
    with open(download.value.path(), newline="") as stream:  # noqa: PTH123
        return download.value.suggested_filename, list(csv.DictReader(stream))


def text(tab, place):
    return tab.text_content(place)


def test_labels_by_keyboard(browser, url):
    with opened(browser, url) as tab:
        assert text(tab, "#query") == "What are the treatments for infection 0?"
        assert tab.locator("#guide").is_visible()
        tab.keyboard.press("?")
        assert not tab.locator("#guide").is_visible()
        for key in "10u":
            tab.keyboard.press(key)
        assert text(tab, "#state") == "No. 4 of 5, 3 labelled."
        assert tab.get_attribute(".bar", "aria-valuenow") == "3"
        tab.keyboard.press("ArrowLeft")
        assert text(tab, "#label") == "unsure"
        tab.keyboard.press("z")  # of the third
        assert text(tab, "#state") == "No. 3 of 5, 2 labelled."
        tab.keyboard.press("Control+z")  # of the second
        assert text(tab, "#state") == "No. 2 of 5, 1 labelled."
        tab.keyboard.press("1")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("0")
        tab.keyboard.press("x")
        assert text(tab, "#state").startswith("No. 3 of 5")
        tab.keyboard.press("n")
        tab.keyboard.type("10 mg, not 1 g")  # keys in a field are letters, not labels
        tab.keyboard.press("Enter")
        tab.keyboard.press("u")
        assert text(tab, "#state").startswith("No. 5 of 5, 4 labelled.")
        tab.keyboard.press("1")
        assert "All are labelled" in text(tab, "#state")
        name, rows = saved(tab)
    assert name == "labels.csv"
    assert [row["label"] for row in rows] == ["1", "1", "?", "0", "1"]
    assert rows[2]["note"] == "10 mg, not 1 g"
    assert [(row["query_id"], row["doc_id"]) for row in rows] == [(f"q,{i}", f'd"{i}') for i in range(5)]


def test_query_words_are_marked(browser, url):
    with opened(browser, url) as tab:
        assert tab.locator("#candidate mark").all_text_contents() == ["0", "infectious"]
        assert tab.locator("#known mark").all_text_contents() == ["Infections", "treated", "0"]
        colour = "e => getComputedStyle(e).backgroundColor"
        assert tab.locator("#known mark").first.evaluate(colour) != "rgba(0, 0, 0, 0)"
        tab.keyboard.press("h")
        assert tab.locator("#known mark").first.evaluate(colour) == "rgba(0, 0, 0, 0)"


def test_labels_stay_and_people_do_not_mix(browser, url):
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(url)
    tab.keyboard.press("1")
    tab.fill("#who", "Ada L.")
    tab.keyboard.press("Enter")
    tab.keyboard.press("0")
    tab.reload()
    assert tab.input_value("#who") == "Ada L."
    assert text(tab, "#state") == "No. 3 of 5, 2 labelled."
    tab.fill("#who", "Bo")
    tab.keyboard.press("Enter")
    assert text(tab, "#state") == "No. 1 of 5, 0 labelled."
    tab.keyboard.press("u")
    tab.fill("#who", "Ada L.")
    tab.keyboard.press("Enter")
    name, rows = saved(tab)
    assert name == "labels-Ada_L_.csv"
    assert [(row["label"], row["annotator"]) for row in rows] == [("1", "Ada L."), ("0", "Ada L.")]
    context.close()


def test_goes_on_from_a_file(browser, url, tmp_path):
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["query_id", "doc_id", "label", "annotator", "note", "query"])
    writer.writerows([["q,0", 'd"0', "1", "", 'a "note",\nof two lines', "x"], ["q,1", 'd"1', "0", "", "", ""]])
    writer.writerows([["q,2", 'd"2', "", "", "", ""], ["other", "d", "1", "", "", ""]])
    path = tmp_path / "before.csv"
    path.write_text("\ufeff" + stream.getvalue(), encoding="utf-8")
    with opened(browser, url) as tab:
        tab.set_input_files("#file", path)
        tab.locator("#state", has_text="labels loaded").wait_for()
        assert text(tab, "#state") == "No. 3 of 5, 2 labelled. 2 labels loaded."
        _, rows = saved(tab)
    assert [row["label"] for row in rows] == ["1", "0"]
    assert rows[0]["note"] == 'a "note",\nof two lines'


def test_a_browser_that_keeps_nothing_says_so(browser, url):
    context = browser.new_context()
    tab = context.new_page()
    tab.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})")
    tab.goto(url)
    tab.keyboard.press("1")
    assert "This browser keeps nothing: save before you close it." in text(tab, "#state")
    context.close()


def test_on_a_phone(browser, url):
    """Nothing wider than the screen; the buttons are in reach, and thumbs label."""
    with opened(browser, url, width=360, height=640) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        box = tab.locator("#yes").bounding_box()
        assert box["y"] + box["height"] <= 640
        assert min(box["height"], box["width"]) >= 40
        tab.click("#yes")
        tab.click("#no")
        tab.click("#unsure")
        assert text(tab, "#state") == "No. 4 of 5, 3 labelled."
        tab.click("#undo")
        assert text(tab, "#state") == "No. 3 of 5, 2 labelled."
        tab.keyboard.press("Enter")  # not a second click
        assert text(tab, "#state") == "No. 3 of 5, 2 labelled."


def test_hostile_texts_run_nothing(browser, tmp_path):
    path = tmp_path / "hostile.html"
    write_page(path, [{**items(1)[0], "document": HOSTILE, "query": HOSTILE, "positive": HOSTILE}], HOSTILE)
    with opened(browser, path.as_uri()) as tab:
        assert tab.title() != "1"
        assert text(tab, "#candidate") == HOSTILE.replace("\ud800", "?")


def test_what_is_saved_is_what_the_audit_reads(browser, data, tmp_path):
    ids = [(data.queries.id_list([q])[0], data.corpus.id_list([d])[0]) for q, d in ((1, 5), (2, 6), (3, 7))]
    rows = [{"query_id": q, "doc_id": d, "query": "q", "positive": "", "document": "text"} for q, d in ids]
    write_page(tmp_path / "p.html", rows, "t")
    with opened(browser, (tmp_path / "p.html").as_uri()) as tab:
        assert text(tab, "#known") == "(none is known)"
        for key in "1u0":
            tab.keyboard.press(key)
        with tab.expect_download() as download:
            tab.keyboard.press("s")
        download.value.save_as(tmp_path / "labels.csv")
    found = Labels(tmp_path / "labels.csv", data)
    said = found.judge(np.array([1, 2, 3], np.int32), np.array([5, 6, 7], np.int32))
    assert said.verdict.tolist() == [1, -1, 0]
