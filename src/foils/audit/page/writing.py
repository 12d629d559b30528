"""One file that people label in, by keyboard or by thumb, without a network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TypedDict

from foils.core.atomic import replacing
from foils.core.errors import DataError

LENGTH = 8000  # characters of a text


class Item(TypedDict):
    """What is labelled: a candidate of a query, with a known positive to compare."""

    query_id: str
    doc_id: str
    query: str
    positive: str
    document: str


def write_page(path: Path, items: Sequence[Item], title: str) -> None:
    """Write the page: one HTML file that needs nothing else and sends nothing anywhere.

    Items come in the order given, which is to be random; the page knows neither their source nor rank, score or
    verdict. It keeps labels in the browser, and saves a CSV with the columns query_id, doc_id, label (1, 0 or ?),
    annotator and note, which `foils.audit.judges.people.Labels` reads.

    Args:
        path: of the .html file.
        items: to label, at least one.
        title: of the page.

    Raises:
        DataError: nothing to label, or a file that cannot be written.
    """
    if not items:
        raise DataError("nothing is there to label.", remedy="Audit negatives that are not empty.")
    with replacing(path) as partial:
        partial.write_text(page(items, title), encoding="utf-8")


def page(items: Sequence[Item], title: str) -> str:
    """The text of the page."""
    cut: list[dict[str, Any]] = [{name: _cut(str(value)) for name, value in item.items()} for item in items]
    for short, item in zip(cut, items, strict=True):
        short.update(query_id=item["query_id"], doc_id=item["doc_id"])
    ids = json.dumps([[item["query_id"], item["doc_id"]] for item in items])
    data = {"version": 1, "key": hashlib.blake2b(ids.encode(), digest_size=8).hexdigest(), "items": cut}
    script = "\n" + _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # No '<' stays in the data, so no text can end its element; nothing in it is run: only this very script is.
    quoted = json.dumps(data, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    made = Template(_part("page.html")).substitute(
        title=html.escape(title),
        count=len(items),
        style=_part("page.css"),
        script=script[1:],
        script_hash=f"sha256-{digest}",
        data=quoted,
    )
    return made.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written


def _part(name: str) -> str:
    return (files("foils.audit.page") / name).read_text(encoding="utf-8")


def _cut(text: str) -> str:
    return text if len(text) <= LENGTH else text[:LENGTH].rsplit(" ", 1)[0] + " …"
