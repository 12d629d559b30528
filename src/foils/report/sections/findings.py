"""Leaks, duplicates and other faults: what `foils check` says."""

from __future__ import annotations

import shlex

from foils.check import Report
from foils.report.blocks import Block, Section, Table, Words
from foils.report.figures import count, flat, share


def findings(report: Report) -> Section:
    """The findings of a check, with examples of those that fail."""
    failed = [finding for finding in report.findings if not finding.passed]
    rows: list[list[str]] = []
    tones: dict[int, str] = {}
    for finding in sorted(report.findings, key=lambda finding: (finding.passed, not finding.count)):
        verdict = "none" if not finding.count else "found" if not finding.passed else "note"
        if finding.count:
            tones[len(rows)] = "bad" if not finding.passed else ""
        rows.append(
            [finding.what, finding.code, verdict, count(finding.count), share(finding.share or None), finding.of]
        )
    blocks: list[Block] = [
        Words(
            "Nothing that would teach a model something wrong was found."
            if report.passed
            else f"Found: {', '.join(finding.code for finding in failed)}.",
            "good" if report.passed else "bad",
        ),
        Table("Checks", ("What", "Code", "", "Count", "Share", "of"), rows, (3, 4), tones),
    ]
    for finding in report.findings:
        if finding.count and finding.examples:
            listed = [[flat(part, 200) for part in (e.query, e.document, e.note)] for e in finding.examples]
            blocks.append(Table(f"{finding.code}: examples", ("Query", "Document", ""), listed, folded=True))
    if report.skipped:
        skipped = "; ".join(f"{code} ({why})" for code, why in report.skipped.items())
        blocks.append(Words(f"Not checked: {skipped}."))
    command = f"foils check {shlex.quote(report.file)}"
    return Section("check", "Leaks and duplicates", blocks, f"As {command} says.")
