"""False negatives: what an audit measured. The file may be older or younger than this; what it lacks is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foils.report import charts
from foils.report.blocks import Block, Facts, Plot, Section, Table, Words
from foils.report.figures import GAP, count, flat, interval, real, share

_MANY = 0.05  # share of pairs without a decision from which on that is said
_SHOWN = 24  # rows of a plot of intervals
_BY = {"source": "By source", "rank": "By rank", "difficulty": "By rank of the positive"}


def audited(audit: Mapping[str, Any]) -> Section:
    """Rate with interval, by source, rank and difficulty, before and after each filter, and examples."""
    blocks: list[Block] = []
    rate = audit.get("rate") or {}
    if rate.get("value") is not None:
        text = f"{interval(rate, percent=True)} of the negatives are relevant"
        level = f", {100 * rate['level']:.0f} % interval" if rate.get("level") else ""
        counted = rate.get("method") == "census"
        blocks.append(
            Words(f"{text}: all were judged." if counted else f"{text}{level}, {rate.get('method')} estimate.")
        )
        low, high = rate.get("bounds") or (None, None)
        if audit.get("holes") and low is not None and high is not None:
            holes = (
                f"{share(audit['holes'])} of them are holes, which the judge does not know: from {share(low)} if none "
            )
            blocks.append(Words(f"{holes}of those were relevant to {share(high)} if all were."))
    else:
        blocks.append(
            Words("Nobody has judged yet: fill in labels.csv of the audit, and give it with --labels.", "warn")
        )
    blocks += _judge(audit)
    blocks += [Words(str(note), "warn") for note in audit.get("notes") or ()]
    by = audit.get("by") or {}
    for name, title in _BY.items():
        if by.get(name):
            blocks.append(_rates(f"audit-{name}", title, by[name]))
    if by.get("filter"):
        blocks.append(_filters(by["filter"]))
    if audit.get("strata"):
        blocks.append(_strata(audit["strata"]))
    if audit.get("proxies"):
        rows = [[name.replace("_", " "), _proxy(value)] for name, value in audit["proxies"].items()]
        note = "No judgement is behind these: they are for trends between runs, not for rates."
        blocks.append(Table("Proxies without labels", ("Proxy", "Value"), rows, (1,), note=note, folded=True))
    if audit.get("examples"):
        blocks.append(_examples(audit["examples"]))
    lead = f"{count(audit.get('judged'))} of {count(audit.get('population'))} negatives were judged."
    if audit.get("window"):
        lead += f" They are from ranks {audit['window'][0]} to {audit['window'][1]}: a rate holds for these."
    return Section("audit", "False negatives", blocks, lead if audit.get("judged") else "")


def _judge(audit: Mapping[str, Any]) -> list[Block]:
    said: list[Block] = []
    for key, title in (("judge", "Judge"), ("cheap", "Cheap judge, corrected by it")):
        judge = audit.get(key)
        if not judge:
            continue
        names = [name for name in ("precision", "recall", "specificity", "kappa", "ece") if judge.get(name) is not None]
        measured = "".join(f", {name} {real(judge[name])}" for name in names)
        said.append(Words(f"{title}: {judge.get('name', '')} ({judge.get('kind', '')}){measured}."))
        said += _asked(judge)
    return said


def _asked(judge: Mapping[str, Any]) -> list[Block]:
    """What language models were asked, what they said, and what that took."""
    models = [str(model) for model in judge.get("models") or ()]
    if not models:
        return []
    rows = [("Models", ", then ".join(models)), ("Prompt", str(judge.get("prompt", "")))]
    grades = judge.get("grades") or {}
    if grades:
        rows.append(("Grades", ", ".join(f"{grade}: {count(number)}" for grade, number in sorted(grades.items()))))
    if judge.get("flagged") is not None:
        text = f"{count(judge['flagged'])} of {count(judge.get('pairs'))} by {models[0]}"
        rows.append(("Flagged", f"{text}; {count(judge.get('confirmed'))} of these confirmed by {models[-1]}"))
    problems = "; ".join(f"{text}: {count(number)}" for text, number in (judge.get("problems") or {}).items())
    rows.append(("Undecided", count(judge.get("undecided")) + (f" ({flat(problems, 200)})" if problems else "")))
    kept = f"; {count(judge['kept'])} replies were there from before" if judge.get("kept") else ""
    rows.append(("Calls", count(judge.get("calls")) + kept))
    if isinstance(judge.get("tokens"), Sequence) and len(judge["tokens"]) == 2:
        rows.append(("Tokens", "{} read, {} written".format(*map(count, judge["tokens"]))))
    if judge.get("cost") is not None:
        rows.append(("Cost", f"{judge['cost']:.4g}, in the money of the prices given"))
    found: list[Block] = [Facts([(name, text) for name, text in rows if text])]
    if judge.get("undecided") and judge.get("pairs") and judge["undecided"] > _MANY * judge["pairs"]:
        text = f"{share(judge['undecided'] / judge['pairs'])} of the pairs have no decision; they count as holes."
        found.append(Words(text, "warn"))
    return found


def _rates(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Plot:
    values = [
        {
            "name": str(row.get("name")),
            "value": row["rate"],
            "low": row.get("low"),
            "high": row.get("high"),
            "tone": "",
            "n": count(row.get("judged")),
            "label": f"{row.get('name')}{GAP}{interval({**row, 'value': row['rate']}, percent=True)}"
            f"{GAP}{count(row.get('judged'))} judged{_uncovered(row)}",
        }
        for row in rows[:_SHOWN]
        if row.get("rate") is not None
    ]
    head = {
        "name": title.removeprefix("By ").capitalize(),
        "value": "Rate",
        "low": "Low",
        "high": "High",
        "n": "Judged",
    }
    return Plot(
        name, title, charts.intervals("false negatives", ".0%"), values, "", head, max(60, 40 * len(values) + 40)
    )


def _uncovered(row: Mapping[str, Any]) -> str:
    """Which share lies in strata of which nothing of the row was judged."""
    return f", none of {share(row['uncovered'])} of it" if row.get("uncovered") else ""


def _filters(rows: Sequence[Mapping[str, Any]]) -> Table:
    listed = []
    for row in rows:
        sides = [row.get(side) or {} for side in ("before", "after", "dropped")]
        listed.append(
            [
                str(row.get("name")),
                *(interval({**s, "value": s.get("rate", s.get("value"))}, percent=True) + _unseen(s) for s in sides),
            ]
        )
    head = ("Filter", "Before it", "After it", "Of what it dropped")
    unseen = any(_unseen(row.get(side) or {}) for row in rows for side in ("before", "after", "dropped"))
    note = "In brackets behind a rate: the share of these that lies in strata of which nothing was judged; of that the "
    note += "rate says nothing."
    return Table("Rate before and after each filter", head, listed, (1, 2, 3), note=note if unseen else "")


def _unseen(side: Mapping[str, Any]) -> str:
    return f" ({share(side['uncovered'])} unjudged)" if side.get("uncovered") else ""


def _strata(rows: Sequence[Mapping[str, Any]]) -> Table:
    listed = [
        [
            str(row.get("source", "")),
            _ends(row.get("ranks"), 0),
            _ends(row.get("scores"), 3),
            count(row.get("items")),
            count(row.get("judged")),
            count(row.get("false")),
            interval({**row, "value": row.get("rate")}, percent=True),
        ]
        for row in rows
    ]
    head = ("Source", "Ranks", "Scores", "Negatives", "Judged", "False", "Rate")
    return Table("Strata", head, listed, (3, 4, 5, 6), folded=True)


def _ends(pair: Any, digits: int) -> str:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        return ""
    low, high = (None if end is None else f"{end:.{digits}f}" for end in pair)
    return f"{low or ''}–{high or ''}"


def _proxy(value: Any) -> str:
    return real(value) if isinstance(value, int | float) else flat(str(value), 80)


def _examples(rows: Sequence[Mapping[str, Any]]) -> Table:
    listed: list[list[str]] = []
    tones: dict[int, str] = {}
    for row in rows[:40]:
        verdict: Any = row.get("verdict")
        said = {1: "relevant", 0: "not relevant"}.get(verdict, str(verdict))  # True and False are 1 and 0
        if said == "relevant":
            tones[len(listed)] = "bad"
        chance = row.get("probability")
        found = " ".join(filter(None, [str(row.get("source") or ""), f"#{row['rank']}" if row.get("rank") else ""]))
        said += f" ({share(chance)})" if isinstance(chance, int | float) else ""
        long = (("query", 120), ("positive", 200), ("document", 300))
        texts = [flat(str(row.get(name) or ""), most) for name, most in long]
        listed.append([*texts, found, said, flat(str(row.get("reason") or ""), 200)])
    head = ("Query", "A positive", "Negative", "Found by", "Verdict", "Why")
    return Table("Examples of verdicts", head, listed, (), tones, folded=True)
