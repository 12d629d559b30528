"""The plots as Vega-Lite specifications, without data, size or theme. Colours are names of the page's style sheet.

Vega-Lite (BSD-3) rather than plotly or bokeh: inlined it has 0.9 MB where they have 4.8 and 1.3; it draws SVG, which
prints sharply, is read aloud by screen readers, and takes light and dark from the style sheet without a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]

POSITIVE, NEGATIVE, DROPPED = "var(--positive)", "var(--negative)", "var(--dropped)"
WARN, BAD, INK, SOFT = "var(--warn)", "var(--bad)", "var(--ink)", "var(--soft)"
_LINES = [f"var(--c{number})" for number in range(1, 7)]
_RAMP = [f"var(--r{number})" for number in range(1, 7)]


def ramp(names: Sequence[str]) -> Spec:
    """A scale from dark to light for ordered names."""
    return {"domain": list(names), "range": _RAMP[: len(names)]}


def lines(names: Sequence[str]) -> Spec:
    """A scale of colours that differ, for names without order."""
    return {"domain": list(names), "range": [_LINES[i % len(_LINES)] for i in range(len(names))]}


def tip(*fields: tuple[str, str] | tuple[str, str, str]) -> list[Spec]:
    """What is shown on hover: field, name and perhaps the format of numbers."""
    made = []
    for field, title, *form in fields:
        typed = {"type": "quantitative", "format": form[0]} if form else {"type": "nominal"}
        made.append({"field": field, "title": title, **typed})
    return made


def number_axis(title: str | None = None, form: str | None = None, **more: Any) -> Spec:
    """An axis of numbers with few ticks."""
    axis = {"title": title, "tickCount": 5, **({"format": form} if form else {}), **more}
    return {"type": "quantitative", "axis": axis}


def legend(title: str | None, names: Sequence[str], colours: Sequence[str]) -> Spec:
    """What colours mean; the page writes it above the plot, where it wraps and prints as text."""
    return {"usermeta": {"legend": {"title": title, "keys": [list(key) for key in zip(names, colours, strict=True)]}}}


def histogram(title: str, names: Sequence[str], colours: Sequence[str], *, stack: bool, key: str | None) -> Spec:
    """Counts in bins: values have ``lo``, ``hi``, ``kind`` and ``n`` (and ``share`` of their kind, if not stacked)."""
    by_share = not stack
    y = {"field": "share" if by_share else "n", **number_axis(None, ".0%" if by_share else "~s")}
    colour = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": list(names), "range": list(colours)},
        "legend": None,
    }
    said = legend(key, names, colours)
    hover = tip(("kind", key or "what"), ("lo", "from", ".3~f"), ("hi", "to", ".3~f"), ("n", "pairs", ","))
    x = {"field": "lo", **number_axis(title, grid=False)}
    if stack:
        return {
            **said,
            "mark": {"type": "bar", "binSpacing": 0.5},
            "encoding": {
                "x": {**x, "bin": {"binned": True}},
                "x2": {"field": "hi"},
                "y": {**y, "stack": "zero"},
                "color": colour,
                "order": {"field": "place", "type": "quantitative"},
                "tooltip": hover,
            },
        }
    return {
        **said,
        "layer": [
            {
                "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.16, "line": {"strokeWidth": 1.8}},
                "encoding": {"x": x, "y": {**y, "stack": None}, "color": colour},
            },
            {
                "mark": {"type": "bar", "opacity": 0.001},
                "encoding": {
                    "x": {**x, "bin": {"binned": True}},
                    "x2": {"field": "hi"},
                    "y": {**y, "stack": None},
                    "detail": {"field": "kind"},
                    "tooltip": hover,
                },
            },
        ],
    }


def zero_rule(text: str) -> Spec:
    """A line at 0 with a word beside it, as a layer with its own data."""
    x = {"field": "at", "type": "quantitative"}
    return {
        "data": {"values": [{"at": 0, "text": text}]},
        "layer": [
            {"mark": {"type": "rule", "stroke": INK, "strokeDash": [3, 3]}, "encoding": {"x": x}},
            {
                "mark": {"type": "text", "align": "center", "dy": -4, "baseline": "bottom", "fill": INK},
                "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "text"}},
            },
        ],
    }


def zero_line() -> Spec:
    """A dashed line across at 0, as a layer with its own data."""
    mark = {"type": "rule", "stroke": INK, "strokeDash": [3, 3], "opacity": 0.6}
    return {"data": {"values": [{"at": 0}]}, "mark": mark, "encoding": {"y": {"field": "at", "type": "quantitative"}}}


def over(spec: Spec, *others: Spec) -> Spec:
    """Layers on top of a plot."""
    about = {key: spec[key] for key in ("usermeta",) if key in spec}
    below = spec["layer"] if "layer" in spec else [{key: value for key, value in spec.items() if key not in about}]
    return {**about, "layer": [*below, *others]}


def steps_bars(most: float) -> Spec:
    """What is left after each step, and what it drops: values have ``place``, ``step``, ``left``, ``dropped``."""
    y = {"field": "place", "type": "ordinal", "axis": None, "scale": {"paddingInner": 0}}
    scale = {"domain": [0, most], "nice": False}
    x = {"type": "quantitative", "axis": None, "scale": scale}
    hover = tip(
        ("step", "step"), ("left", "candidates left", ","), ("dropped", "dropped", ","), ("starved", "starved", ",")
    )
    bar = {"type": "bar", "height": 11, "yOffset": 9}
    label = {"type": "text", "align": "left", "dy": -9, "fill": INK, "limit": {"expr": "width"}}
    return {
        "layer": [
            {
                "mark": {**bar, "color": NEGATIVE},
                "encoding": {"y": y, "x": {"field": "left", **x}, "tooltip": hover},
            },
            {
                "mark": {**bar, "color": DROPPED, "opacity": 0.55},
                "encoding": {"y": y, "x": {"field": "left", **x}, "x2": {"field": "before"}, "tooltip": hover},
            },
            {"mark": {**label, "x": 0}, "encoding": {"y": y, "text": {"field": "label"}}},
        ]
    }


def bars(x: str, y: str, hover: list[Spec], colour: str = NEGATIVE) -> Spec:
    """Bars over few ordered values: ``x`` and ``y`` name them, fields have the names ``x`` and ``y``."""
    return {
        "mark": {"type": "bar", "color": colour, "width": {"expr": "min(64, 0.85 * bandwidth('x'))"}},
        "encoding": {
            "x": {"field": "x", "type": "ordinal", "sort": None, "axis": {"title": x, "labelAngle": 0}},
            "y": {"field": "y", **number_axis(y, "~s")},
            "tooltip": hover,
        },
    }


def curves(
    y: str,
    names: Sequence[str],
    *,
    form: str = ".3~f",
    zero: bool = False,
    points: bool = False,
    marks: Sequence[Spec] = (),
    band: bool = False,
    x: str = "step",
) -> Spec:
    """Lines over steps: values have ``step``, ``kind``, ``value``; ``marks`` are those of `events`.

    With ``band`` those that have ``low`` and ``high`` get it behind their line.
    """
    one = len(names) == 1
    colour: Spec = (
        {"value": _LINES[0]} if one else {"field": "kind", "type": "nominal", "scale": lines(names), "legend": None}
    )
    base = {
        "x": {"field": "step", **number_axis(x, "~s", grid=False, tickMinStep=1)},
        "y": {"field": "value", **number_axis(y, form), "scale": {"zero": zero}},
    }
    base["y"]["axis"]["format"] = form
    hover = tip(("step", x, ","), ("kind", "what"), ("value", y or "value", form))
    dot: Spec = {"type": "point", "filled": True, "size": 40 if points else 60, "opacity": 1 if points else 0.001}
    layers: list[Spec] = [
        *events(marks),
        *([_band(base, colour)] if band else []),
        {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": {**base, "color": colour}},
        {"mark": dot, "encoding": {**base, "color": colour, "tooltip": hover}},
    ]
    return {**({} if one else legend(None, names, lines(names)["range"])), "layer": layers}


def _band(base: Spec, colour: Spec) -> Spec:
    return {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "area", "opacity": 0.14},
        "encoding": {**base, "y": {**base["y"], "field": "low"}, "y2": {"field": "high"}, "color": colour},
    }


def events(marks: Sequence[Spec]) -> list[Spec]:
    """Vertical lines where something happened: marks have ``step``, ``text``, ``short`` for the top, ``tone``."""
    if not marks:
        return []
    colours = {"refresh": SOFT, "breach": BAD, "rollback": WARN, "best": POSITIVE}
    marks = [{**mark, "colour": colours[mark["tone"]]} for mark in marks]
    colour = {"field": "colour", "type": "nominal", "scale": None}
    x = {"field": "step", "type": "quantitative"}
    hover = tip(("step", "step", ","), ("text", "what"))
    few = [mark for mark in marks if mark["tone"] != "refresh"] or list(marks)
    crowded = len(marks) > 8
    return [
        {
            "data": {"values": list(marks)},
            "mark": {"type": "rule", "strokeDash": [2, 2], "strokeWidth": 1.2},
            "encoding": {"x": x, "color": colour, "tooltip": hover},
        },
        {
            "data": {"values": list(few if crowded else marks)},
            "mark": {"type": "text", "angle": 270, "align": "right", "baseline": "top", "dx": -3, "dy": 3},
            "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "short"}, "color": colour, "tooltip": hover},
        },
    ]


def labelled_bars(hover: list[Spec]) -> Spec:
    """Bars with what they say above them, and a tick: values have ``name``, ``label``, ``value`` and ``other``."""
    y = {"field": "name", "type": "ordinal", "sort": None, "axis": None, "scale": {"paddingInner": 0}}
    x = {"type": "quantitative", "axis": None, "scale": {"zero": True, "nice": False}}
    return {
        "layer": [
            {
                "mark": {"type": "bar", "height": 11, "yOffset": 8, "color": NEGATIVE},
                "encoding": {"y": y, "x": {"field": "value", **x}, "tooltip": hover},
            },
            {
                "mark": {"type": "tick", "size": 19, "thickness": 2, "yOffset": 8, "color": INK},
                "encoding": {"y": y, "x": {"field": "other", **x}, "tooltip": hover},
            },
            {
                "mark": {"type": "text", "align": "left", "x": 0, "dy": -9, "fill": INK, "limit": {"expr": "width"}},
                "encoding": {"y": y, "text": {"field": "label"}},
            },
        ]
    }


def intervals(x: str, form: str = ".3~f", *, rule: float | None = None, ticks: bool = False) -> Spec:
    """Points with intervals, one below the other.

    Values have ``name``, ``label``, ``value``, ``low``, ``high``, ``tone``, and with ``ticks`` also ``ref``.
    """
    y = {"field": "name", "type": "ordinal", "sort": None, "axis": None}
    tones = {"domain": ["", "strong", "good", "bad"], "range": [_LINES[0], NEGATIVE, POSITIVE, BAD]}
    colour = {"field": "tone", "type": "nominal", "scale": tones, "legend": None}
    hover = tip(("name", "what"), ("value", x, form), ("low", "low", form), ("high", "high", form), ("n", "judged"))
    scale = {"zero": False, "nice": True}
    place = {"field": "value", **number_axis(x, form), "scale": scale}
    shift = {"yOffset": 8}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, **shift},
            "encoding": {"y": y, "x": {**place, "field": "low"}, "x2": {"field": "high"}, "color": colour},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, **shift},
            "encoding": {"y": y, "x": place, "color": colour, "tooltip": hover},
        },
        {
            "mark": {"type": "text", "align": "left", "x": 2, "dy": -7, "fill": INK, "limit": {"expr": "width"}},
            "encoding": {"y": y, "text": {"field": "label"}},
        },
    ]
    if ticks:
        tick = {"type": "tick", "size": 15, "thickness": 2, "color": SOFT, **shift}
        layers.append({"mark": tick, "encoding": {"y": y, "x": {**place, "field": "ref"}}})
    if rule is not None:
        mark = {"type": "rule", "stroke": SOFT, "strokeDash": [3, 3]}
        at = {"field": "at", "type": "quantitative"}
        layers.insert(0, {"data": {"values": [{"at": rule}]}, "mark": mark, "encoding": {"x": at}})
    return {"layer": layers}


def scatter(x: str, y: str, form: str, y_form: str) -> Spec:
    """Named points with intervals, those of the front joined.

    Values have ``name``, ``x``, ``y``, ``low``, ``high``, ``front``, ``place`` by x, and whether that is ``late``.
    """
    at = {"field": "x", **number_axis(x, form, grid=False), "scale": {"zero": False, "padding": 24}}
    up = {"field": "y", **number_axis(y, y_form), "scale": {"zero": False}}
    tones = {"domain": [True, False], "range": [POSITIVE, SOFT]}
    colour = {"field": "front", "type": "nominal", "scale": tones, "legend": None}
    hover = tip(("name", "arm"), ("x", x, form), ("y", y, y_form), ("low", "low", y_form), ("high", "high", y_form))
    front = [{"filter": "datum.front"}]
    return {
        "layer": [
            {
                "transform": front,
                "mark": {"type": "line", "interpolate": "step-after", "stroke": POSITIVE, "opacity": 0.5},
                "encoding": {"x": at, "y": up, "order": {"field": "x", "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "opacity": 0.6},
                "encoding": {"x": at, "y": {**up, "field": "low"}, "y2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {"x": at, "y": up, "color": colour, "tooltip": hover},
            },
            *(
                {
                    "transform": [{"filter": f"datum.place % 2 == {odd} && datum.late == {late}"}],
                    "mark": {"type": "text", "align": side, "dx": dx, "dy": 12 if odd else -7, "fill": INK},
                    "encoding": {"x": at, "y": up, "text": {"field": "name"}},
                }
                for odd in (0, 1)
                for late, side, dx in (("false", "left", 7), ("true", "right", -7))
            ),
        ]
    }
