"""Perturbations of positives: how many texts each kind can edit, how fast, and a sample to judge by hand.

python benchmarks/perturbed.py DATA [--rows 2000] [--sample 25] [--seed 0] [--encoder MODEL]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import foils
from foils.adapters.models import load_encoder
from foils.core import noise
from foils.core.cache import cache_root
from foils.writing import Desk, Identity, Perturb, Views, Wanted
from foils.writing.edits import EDITS, VIEWS
from foils.writing.sources import bigrams

BESIDE = 90  # characters shown on either side of an edit


def chosen(desk: Desk, rows: int) -> Wanted:
    """Positives of the training queries, drawn by their ids, in the order of their rows."""
    known = desk.data.positives("train")
    every = Wanted(known.query, known.doc)
    order = np.argsort(noise.bits(0, "perturbed", *desk.keys(every)), kind="stable")
    return every.take(np.sort(order[:rows]))


def table(desk: Desk, wanted: Wanted) -> None:
    desk.positives(0)
    bigrams(desk)
    list(Perturb(kinds=("entity",)).write(wanted.take(slice(0, 1)), desk))
    print(f"{len(wanted):,} positives")
    print("| kind | edited, by answer | by region | texts a second | plausibility, median |\n|---|---|---|---|---|")
    for kind in EDITS:
        encoder = "student" if kind == "facet" else None
        if kind == "facet" and not desk.encoders:
            continue
        shares, seconds, odd = [], 0.0, []
        for reach in ("answer", "region"):
            author = Perturb(kinds=(kind,), reach=reach, encoder=encoder)
            if encoder:
                list(author.write(wanted.take(slice(0, 1)), desk))
            start = time.perf_counter()
            drafts = list(author.write(wanted, desk))
            seconds = time.perf_counter() - start
            shares.append(len(drafts) / len(wanted))
            odd = [draft.made["plausibility"] for draft in drafts] or odd
        middle = f"{np.median(odd):+.2f}" if odd else "-"
        print(f"| {kind} | {shares[0]:.1%} | {shares[1]:.1%} | {len(wanted) / seconds:,.0f} | {middle} |")
    for author in (Perturb(), Identity(share=1.0), *(Views(kinds=(kind,)) for kind in VIEWS)):
        start = time.perf_counter()
        count = len(list(author.write(wanted, desk)))
        print(f"| {author!r} | {count / len(wanted):.1%} | | {len(wanted) / (time.perf_counter() - start):,.0f} | |")


def sample(desk: Desk, wanted: Wanted, count: int, seed: int) -> None:
    """Edited positives in the order of their draws: query, answers, title, and each edit in its place."""
    author = Perturb(kinds=tuple(kind for kind in EDITS if kind != "facet"))
    drafts = list(author.write(wanted, desk))
    place = noise.bits(
        seed,
        "sample",
        desk.data.queries.keys[[d.query for d in drafts]],
        desk.data.corpus.keys[[d.doc for d in drafts]],
    )
    for number, at in enumerate(np.argsort(place, kind="stable")[:count].tolist(), 1):
        draft = drafts[at]
        text, title = desk.data.corpus.bodies([draft.doc])[0], desk.data.corpus.titles([draft.doc])[0]
        answers = desk.data.queries.metadata([draft.query])[0].get("answers", [])
        print(f"\n{number}. [{draft.kind}] {desk.data.queries.texts([draft.query])[0]}  answers: {answers}")
        print(
            f"   title: {title}"
            + (f" -> {draft.title}" if draft.title != title else "")
            + f"; {len(text)} characters, {len(draft.edits)} edits"
        )
        for edit in draft.edits[:4]:
            left, right = text[max(0, edit.start - BESIDE) : edit.start], text[edit.end : edit.end + BESIDE]
            print(f"   …{left}[{edit.before} => {edit.after}]{right}…".replace("\n", " "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--encoder")
    parser.add_argument("--no-table", action="store_true")
    asked = parser.parse_args()
    encoders = {"student": load_encoder(asked.encoder)} if asked.encoder else {}
    desk = Desk(foils.load(asked.data), "train", 0, Path(cache_root()), encoders=encoders)
    wanted = chosen(desk, asked.rows)
    if not asked.no_table:
        table(desk, wanted)
    sample(desk, wanted, asked.sample, asked.seed)


if __name__ == "__main__":
    main()
