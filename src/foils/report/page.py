"""Render a page as one HTML file with everything inside, and a policy that forbids the browser to fetch anything.

Scripts run only if their digest is in the policy, so a document's text could not run as one even where it were not
escaped; and it is escaped everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from foils.core.cache import cache_root
from foils.core.errors import need
from foils.report.blocks import Page, Plot, Section

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_INK, _SOFT, _LINE = "var(--ink)", "var(--soft)", "var(--line)"
THEME: dict[str, Any] = {
    "font": _FONT,
    "background": None,
    "padding": {"left": 0, "right": 6, "top": 4, "bottom": 0},
    "view": {"stroke": None, "cursor": "default"},
    "axis": {
        "labelColor": _SOFT,
        "titleColor": _SOFT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "tickSize": 4,
        "labelOverlap": "parity",
        "labelFlush": True,
    },
    "axisY": {"domain": False, "ticks": False},
    "text": {"fontSize": 11, "color": _INK},
    "rule": {"color": _SOFT},
    "line": {"strokeJoin": "round"},
}


def render(page: Page, *, whole: bool = True) -> str:
    """The page as HTML.

    Args:
        page: what it says.
        whole: with scripts and styles; a page that is open already needs what changed only.

    Raises:
        MissingExtra: the plotting library or the template engine is not installed.
    """
    jinja, safe = need("jinja2", "report"), need("markupsafe", "report").Markup
    environment = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined
    )
    environment.filters["digest"] = _digest_of_section
    plots = {
        block.name: _plot(block) for section in page.sections for block in section.blocks if isinstance(block, Plot)
    }
    library = plotting() if whole and (plots or page.live) else ""
    script, style = (_asset("page.js"), _asset("page.css")) if whole else ("", "")
    markup = environment.from_string(_asset("page.html")).render(
        page=page,
        policy=_policy([library, script], live=bool(page.live)),
        library=safe(library),
        script=safe(script),
        style=safe(style),
        plots=safe(embedded({"theme": THEME, "plots": plots})),
    )
    return str(markup)


def embedded(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def plotting() -> str:
    """Vega, Vega-Lite and vega-embed as one script; bundled once for each version of the library.

    Raises:
        MissingExtra: it is not installed.
    """
    library = need("vl_convert", "report")
    place = cache_root() / "report" / f"vega-{library.__version__}.js"
    try:
        return place.read_text(encoding="utf-8")
    except OSError:
        text = str(library.javascript_bundle()).replace("</script", "<\\/script").replace("<!--", "\\x3c!--")
    from foils.core.atomic import replacing

    try:
        with replacing(place) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError:
        return text  # a cache that cannot be written to costs a second each time
    return text


def _plot(block: Plot) -> dict[str, Any]:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"{block.title}. {block.note}".strip(),
        "width": "container",
        "height": block.height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(block.values)},
        **block.spec,
    }
    return spec


def _digest_of_section(section: Section) -> str:
    """Changes when what the section says changes; a live page replaces only what did."""
    return hashlib.blake2b(repr(section).encode(), digest_size=8).hexdigest()


def _policy(scripts: list[str], *, live: bool) -> str:
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts if text]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    # Vega compiles the few expressions of its own specifications; documents only ever are data to it.
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {allowed} 'unsafe-eval'",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "connect-src 'self'" if live else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


@cache
def _asset(name: str) -> str:
    return (files("foils.report") / "assets" / name).read_text(encoding="utf-8")
