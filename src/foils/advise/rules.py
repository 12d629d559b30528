"""What figures of a collection say about where to begin: rules with the figures they look at and what they rest on.

Each rule is a bound, a sentence and a source. The bounds are ours, set on five collections (docs/advise.md tells what
was seen there); a study of the collection itself overrules them.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from foils.advise.look import Look

FEW_QUERIES = 300
FEW_LABELS = 1.5  # positives a query, up to which labels count as sparse
MUCH_ABOVE = 0.7  # of the first 10 candidates, ranked above the first positive
LOST = 0.5  # of the queries with a positive among the first 100, below which a system is lost
FOUND = 0.8  # likewise, from which it finds them
NEAR_COPIES = 0.01
LONG = 0.2  # of the documents beyond 256 words
SPREAD = 0.3  # standard deviation of nDCG@10 over queries, as customary

_STUDY = "our study: benchmarks/README.md"
_NOBODY = "our judgement; nobody measured it"


@dataclass(frozen=True)
class Reason:
    """Why, with the figures, and what that rests on.

    Attributes:
        rule: its stable name.
        text: one or two sentences.
        source: papers, our own figures, or that it is a judgement.
    """

    rule: str
    text: str
    source: str

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def decide(look: Look) -> tuple[str, list[Reason]]:
    """The recipe to begin with, and why.

    The first rule that holds decides; without a model BM25's figures stand for its.
    """
    system, seen = (look.model, look.dense) if look.dense is not None else ("BM25", look.bm25)
    above = look.proxies["above_positive"] or 0.0
    if look.queries < FEW_QUERIES:
        text = f"{look.queries:,} training queries are few: hard negatives would be learnt by heart."
        return "phase1", [Reason("few-queries", text, _NOBODY)]
    if look.labels <= FEW_LABELS and above >= MUCH_ABOVE:
        text = (
            f"{look.labels:.1f} positives a query, and {above:.0%} of {system}'s first 10 candidates rank above the "
            "first of them: either many of these are relevant and nobody said so, or the model is lost. Mined "
            "negatives would be false or arbitrary."
        )
        source = f"RocketQA, arXiv:2010.08191, section 4.2 (70 % of top passages relevant on MS MARCO); {_STUDY}"
        return "phase1", [Reason("sparse-labels", text, source)]
    if seen.top100 < LOST:
        better = look.bm25.top100 >= LOST
        text = (
            f"{system} has a positive among its first 100 for {seen.top100:.0%} of the queries: what it would mine is "
        )
        text += "far from what matters. " + (
            f"BM25 finds one for {look.bm25.top100:.0%}, so its negatives come first."
            if better
            else "So does BM25, so train in-batch first."
        )
        source = f"STAR, arXiv:2104.08051, and ANCE, arXiv:2007.00808 (warm-up before mining); {_STUDY}"
        return ("phase2" if better else "phase1"), [Reason("lost-model", text, source)]
    if look.dense is None:
        text = f"BM25 has a positive among its first 100 for {seen.top100:.0%} of the queries, and no model was given."
        return "phase2", [Reason("lexical", text, "DPR, arXiv:2004.04906, section 3.2")]
    text = (
        f"{system} has a positive among its first 10 for {seen.top10:.0%} of the queries, on rank 1 for "
        f"{seen.first:.0%}: what it ranks beside them is what it has to learn to tell apart, and there is little sign "
        "that it is relevant."
    )
    source = f"NV-Retriever, arXiv:2407.15831, section 3; STAR, arXiv:2104.08051; {_STUDY} (MedQuAD)"
    return "phase3", [Reason("hard-negatives", text, source)]


def remarks(look: Look) -> list[Reason]:
    """What else to mind; none of it changes the recipe."""
    found = [_power(look)]
    if look.kind == "static":
        text = (
            "A static model has no word order: on wikimix, where passages of one article are told apart, every kind of "
            "mined negative lowered it. Compare with in-batch before believing in any."
        )
        found.append(Reason("static-model", text, _STUDY))
    if look.dense is not None and look.overlap is not None and look.overlap < 0.25:
        text = (
            f"BM25 and {look.model} share {look.overlap:.0%} of their first 10: they confuse different documents, so "
        )
        text += "a pool of both (BM25(k=50) + Dense('student', k=50)) is worth an arm."
        found.append(Reason("overlap", text, "RocketQA and GPL pool sources; " + _NOBODY))
    if (look.proxies["near_copy"] or 0.0) >= NEAR_COPIES:
        text = (
            f"{look.proxies['near_copy']:.1%} of the first candidates nearly repeat a positive; NearPositive(), which "
        )
        text += "the phases have, keeps them out."
        found.append(Reason("near-copies", text, "Lee et al. 2022, arXiv:2107.06499; foils check"))
    if look.copies >= NEAR_COPIES:
        text = f"{look.copies:.1%} of the documents repeat another one's text; they count as one everywhere in foils."
        found.append(Reason("copies", text, "import report"))
    if look.long_documents >= LONG and look.kind == "transformer":
        text = f"{look.long_documents:.0%} of the documents have more than 256 words, which transformers of 256 tokens "
        text += "cut: foils import --cut words:150 makes pieces."
        found.append(Reason("long-documents", text, _NOBODY))
    if look.leaks:
        text = f"{look.leaks:,} training queries are asked in a held-out split, too; mining leaves them out."
        found.append(Reason("leaks", text, "foils inspect"))
    if look.unjudged:
        text = (
            f"{look.unjudged:,} queries have no positive: RocketQA's last step labels such queries (recipe rocketqa)."
        )
        found.append(Reason("unjudged", text, "RocketQA, arXiv:2010.08191, section 4.4"))
    return found


def _power(look: Look) -> Reason:
    if not look.test_queries:
        text = "There is no split test, so nothing can be compared: hold some queries out."
        return Reason("no-test", text, "losses: choosing and measuring on the same queries")
    if look.shared:
        text = (
            f"{look.shared:,} of the {look.test_queries:,} test queries are those of the split {look.split}: what is "
            "trained on them and measured on test measures memory. Nothing below does that; hold queries out, or pass "
            "another --split."
        )
        return Reason("shared-queries", text, "foils compare refuses it")
    size = 2.8 * SPREAD / math.sqrt(look.test_queries)
    text = (
        f"{look.test_queries:,} test queries show differences of about {size:.3f} nDCG@10 and more between unlike "
        "systems (4 times in 5), smaller ones between like ones."
    )
    return Reason("power", text, "2.8 sd / √n with sd .3")


def commands(look: Look, recipe: str, source: str) -> list[str]:
    """What to run next, exactly.

    Args:
        look: the figures.
        recipe: what to begin with.
        source: the collection, as it was named.

    Returns:
        Command lines as a shell takes them; none that measures where test queries are trained on or there are none.
    """
    model, source = look.model or "MODEL", shlex.quote(source)
    start, model = shlex.quote(f"start={model}"), shlex.quote(model)
    split = "" if look.split == "train" else f" --split {shlex.quote(look.split)}"
    others = {"phase1": "phase1,phase3", "phase2": "phase1,phase2,phase3", "phase3": "phase1,phase2,phase3"}[recipe]
    made = [f"foils train {source} --recipe {recipe} --model {model}{split} -o RUN"]
    if look.test_queries and not look.shared:
        made += [
            f"foils evaluate {source} --baseline {start} --model {recipe}=RUN/model",
            f"foils compare {source} --recipes {others} --model {model}{split} --baseline phase1 --seeds 3 -o STUDY",
        ]
    pipeline = "Dense('student', k=100) >> PositiveAware() >> Top(k=4)"
    mine = f'foils mine {source} "{pipeline}" --encoder student=RUN/model{split} -o NEG'
    return [*made, mine, "foils audit NEG --budget 300 -o AUDIT"]


def plain(reasons: list[Reason]) -> list[dict[str, Any]]:
    """As plain values."""
    return [reason.to_dict() for reason in reasons]
