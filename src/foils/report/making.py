"""`report`: a page about a run, about negatives, about a study or an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foils.check import Limits, check
from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import DataError, FoilsError
from foils.report.blocks import Page, Section, Words
from foils.report.figures import count, interval, real, share
from foils.report.missing import missing
from foils.report.page import render
from foils.report.sections.audit import audited
from foils.report.sections.findings import findings
from foils.report.sections.generations import refreshed
from foils.report.sections.hardness import hardness
from foils.report.sections.influence import influential
from foils.report.sections.measures import measured
from foils.report.sections.recipe import made
from foils.report.sections.sample import sample
from foils.report.sections.study import advised, best_arm, compared
from foils.report.sections.survivors import survivors
from foils.report.sections.training import training
from foils.report.subject import Subject, find_subject
from foils.report.tally import Tally, tally
from foils.store import Negatives
from foils.version import __version__

Progress = Callable[[str, int, int], None]
_MANY = 200_000  # negatives that are checked unasked; a million takes minutes


@dataclass(frozen=True)
class Settings:
    """How much is on a page.

    Attributes:
        examples: queries to show, 0 to 1,000.
        seed: of their draw.
        check: whether `foils check` looks for leaks and duplicates, which reads all texts of the negatives; None for
            if there are at most 200,000.
        progress: called with (what, done, total).
    """

    examples: int = 40
    seed: int = 0
    check: bool | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.examples <= 1000:
            raise DataError(
                f"examples={self.examples}: a page shows 0 to 1,000 queries.", remedy="foils show NEG shows more."
            )

    def checks(self, store: Negatives) -> bool:
        """Whether these negatives are checked."""
        return int(store.manifest["counts"]["kept"]) <= _MANY if self.check is None else self.check

    def tell(self, what: str, done: int) -> None:
        """Report progress of one of four parts."""
        if self.progress is not None:
            self.progress(what, done, 4)


def report(
    source: str | Path,
    out: str | Path,
    *,
    data: Collection | None = None,
    audit: str | Path | None = None,
    settings: Settings | None = None,
) -> Path:
    """Write one HTML file that needs no network.

    Sections appear where there is something to show; what is missing is named with the command that makes it. Counts
    and histograms are of all pairs; examples are drawn by a key of the queries' ids, so the same inputs and seed give
    the same bytes.

    Args:
        source: folder of a run, of negatives, of a study or of an audit, or ``study.json`` or ``audit.json``.
        out: the file.
        data: the collection; found in the cache if left out. Without it there are no texts and no check.
        audit: folder with ``audit.json``; the one beside the negatives if left out.
        settings: how much to show.

    Returns:
        The file.

    Raises:
        StoreError: there is nothing at ``source`` that a page could be about.
        MissingExtra: without the extra ``report``.
    """
    chosen = settings or Settings()
    subject = find_subject(source, data, None if audit is None else Path(audit))
    text = render(page_of(subject, chosen))
    place = Path(out)
    with replacing(place) as partial:
        partial.write_text(text, encoding="utf-8")
    return place


def page_of(subject: Subject, settings: Settings, known: list[Section] | None = None) -> Page:
    """The page as plain values.

    Args:
        subject: what it is about.
        settings: how much to show.
        known: sections about the negatives that were made before; a live page does not count anew what stays the same.
    """
    mined = about_negatives(subject, settings) if known is None else known
    sections: list[Section | None] = [*([] if subject.study is None else [advised(subject.study)])]
    sections += [] if subject.study is None else compared(subject.study)
    trained = [section for one in subject.trainings for section in (training(one), refreshed(one))]
    sections += trained
    if subject.evaluate is not None:
        sections.append(measured(subject.evaluate))
    if subject.audit is not None:
        sections.append(audited(subject.audit))
    sections += [section for section in mined if section.name != "examples"]
    sections += [influential(told, apart, subject.data, name) for name, told, apart in subject.influence]
    sections += [section for section in mined if section.name == "examples"]
    sections.append(made(subject))
    checked = subject.negatives is None or settings.checks(subject.negatives)
    lacking = missing(subject, checked=checked)
    title = f"{Path(subject.where).resolve().name} · foils {subject.kind}"
    shown = tuple(section for section in sections if section is not None)
    made_by = f"foils {__version__}, examples drawn with seed {settings.seed}"
    return Page(title, subject.kind, subject.where, _figures(subject, shown), (), shown, lacking, made_by)


def about_negatives(subject: Subject, settings: Settings) -> list[Section]:
    """Sections that read the negatives themselves: survivors, hardness, check, examples."""
    store = subject.negatives
    if store is None:
        return []
    settings.tell("report", 0)
    found = tally(store)
    settings.tell("report", 1)
    made_ = [survivors(store, found, _texts(subject, found)), hardness(found, store.manifest["latest"])]
    if subject.data is not None:
        if settings.checks(store):
            made_.append(_checked(store, subject.data))
        settings.tell("report", 3)
        made_.append(sample(store, subject.data, settings.examples, settings.seed))
    settings.tell("report", 4)
    return [section for section in made_ if section is not None]


def _checked(store: Negatives, data: Collection) -> Section:
    try:
        return findings(check(store.path, data, limits=Limits(examples=3)))
    except FoilsError as error:
        return Section("check", "Leaks and duplicates", [Words(f"Not checked: {error}", "warn")])


def _texts(subject: Subject, found: Tally) -> list[str]:
    if subject.data is None or not found.short:
        return []
    rows = subject.data.queries.rows_of([name for _, name in found.short])
    return list(subject.data.queries.texts(rows)) if rows.min() >= 0 else []


def _figures(subject: Subject, sections: tuple[Section, ...]) -> list[tuple[str, str, str, str]]:
    """What to see first: name, value, remark, tone."""
    return [
        *_of_study(subject),
        *_of_trainings(subject),
        *([] if subject.negatives is None else _of_negatives(subject.negatives)),
        *_of_audit(subject),
        *_of_check(sections),
    ]


def _of_study(subject: Subject) -> Iterator[tuple[str, str, str, str]]:
    best = None if subject.study is None else best_arm(subject.study)
    if best is not None and subject.study is not None:
        yield "Arms", count(len(subject.study["arms"])), f"baseline {subject.study.get('baseline', 'none')}", ""
        yield f"Highest {best[0]}", best[2], best[1], ""


def _of_trainings(subject: Subject) -> Iterator[tuple[str, str, str, str]]:
    if not subject.trainings:
        return
    last = subject.trainings[-1]
    planned = f"of {count(last.steps)}" if last.steps and not last.finished else ""
    yield "Steps", count(last.reached), planned or str(last.record.get("status", "")), ""
    points = {int(point["step"]): point for point in last.curve}
    if last.best in points and "nDCG@10" in points[last.best]:
        best, first = points[last.best]["nDCG@10"], points.get(0, {}).get("nDCG@10")
        start = "" if first is None else f"{real(first)} at the start"
        yield "Best dev nDCG@10", real(best), start, "bad" if first is not None and best < first else ""
    breaches = sum(len(one.record.get("breaches", ())) for one in subject.trainings)
    if breaches:
        yield "Breaches", count(breaches), "of the guard's bounds", "bad"


def _of_negatives(store: Negatives) -> Iterator[tuple[str, str, str, str]]:
    counts = store.manifest["counts"]
    wanted = counts["wanted_per_query"] or 1
    short = sum(times for number, times in counts["kept_per_query"].items() if int(number) < wanted)
    yield "Negatives", count(counts["kept"]), f"of {count(counts['candidates'])} candidates", ""
    tone = "warn" if short > 0.05 * max(1, counts["queries"]) else ""
    yield (
        "Starved queries",
        share(short / max(1, counts["queries"])) or "0",
        f"{count(short)} with under {wanted}",
        tone,
    )


def _of_audit(subject: Subject) -> Iterator[tuple[str, str, str, str]]:
    rate = (subject.audit or {}).get("rate") or {}
    if rate.get("value") is not None:
        yield (
            "False negatives",
            interval(rate, percent=True),
            f"{count((subject.audit or {}).get('judged'))} judged",
            "",
        )
    elif subject.negatives is not None:
        yield "False negatives", "unknown", "not audited", ""


def _of_check(sections: tuple[Section, ...]) -> Iterator[tuple[str, str, str, str]]:
    for section in sections:
        first = section.blocks[0] if section.name == "check" and section.blocks else None
        if isinstance(first, Words) and first.tone in ("good", "bad"):
            yield "Check", "passed" if first.tone == "good" else "failed", "leaks, duplicates", first.tone
