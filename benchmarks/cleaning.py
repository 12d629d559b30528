"""Do calibrated margins keep their promise, do they transfer between models, and how good is each filter?

    python benchmarks/cleaning.py promise DATA/nfcorpus DATA/cranfield DATA/npl [--splits 1000]
    python benchmarks/cleaning.py drawn DATA/nfcorpus DATA/cranfield DATA/npl [--splits 1000]
    python benchmarks/cleaning.py transfer DATA/nfcorpus DATA/cranfield DATA/npl
    python benchmarks/cleaning.py verdicts DATA/rlhn_fn [--cross-encoder FOLDER]

``promise`` mines each collection with one known positive a query (the splits ``*_sparse``), draws calibration queries
again and again, and counts how often the rate of what the found threshold keeps is above the target, by the full qrels.
``drawn`` draws labels from the candidates as an audit does, again and again, and counts the same for a promise of these
candidates alone. ``transfer`` finds a margin under one model and looks at what it does under others. ``verdicts``
scores each filter against a language model's verdicts on mined negatives (RLHN).
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

import foils
from foils.adapters.models import load_encoder, load_reranker
from foils.audit.sampling import allocate
from foils.audit.strata import RANKS, band_of
from foils.calibrate.labels import labels_of
from foils.calibrate.pipeline import Cut, Seen
from foils.calibrate.search import Sample
from foils.core import draws, risk, segments
from foils.core.betas import two_betas
from foils.core.cache import cache_root
from foils.core.draws import Draw
from foils.core.pairs import CANDIDATE
from foils.core.spec import parse
from foils.stages.calibrated import nearness
from foils.stages.context import Context

LEVEL = 0.95
DEPTH = 50
FULL = {"train_sparse": "train", "test_sparse": "test"}


def opened(path, models, folder, pooled=False):
    """The collection, its sparse split, and what the model finds; pooled with BM25's, both have both scores."""
    data = foils.load(path)
    split = "train_sparse" if "train_sparse" in data.splits else "test_sparse"
    pipeline = f"Dense('static', k={DEPTH})" + (f" + BM25(k={DEPTH})" if pooled else "")
    return data, split, foils.mine(data, pipeline, split=split, encoders=models, out=Path(folder) / data.name)


def sample_of(data, negatives, split, text):
    """All queries of a split with complete labels, as `calibrate` sees them."""
    cut = Cut.of(parse(text), negatives.path)
    labels = labels_of(f"qrels:{FULL[split]}", data)
    rows = data.query_rows(split)
    seen = Seen.of(cut, Context(data, split, 0, rows, rows, {}, cache_root(None)))
    relevance, weight = labels.on(seen.living)
    most = cut.cap or segments.count(seen.candidate, seen.living.starts).max()
    return Sample(seen, relevance, np.where(seen.candidate, weight, 0.0), np.inf, 0, float(most))


def loosest(kept, false, target, test, most):
    """The place of the threshold that `calibrate` takes, or None."""
    even = risk.even(kept.mean(axis=0), len(kept), 1.0, most)
    hopes = risk.log_p(even, np.zeros_like(even), target, most, test)
    starts = risk.starts_of(even, target, LEVEL, most)
    passed = np.flatnonzero(risk.passing(risk.log_p(kept, false, target, most, test), hopes, LEVEL, starts))
    return int(passed[-1]) if len(passed) else None


def by_pairs(kept, false, target, most):
    """The same search if each judgement were a draw of its own: the exact binomial test. It is not; see the result."""
    k, f = kept.sum(axis=0), false.sum(axis=0)
    hopes, starts = binom.logcdf(0, k, target), risk.starts_of(kept, target, LEVEL, most)
    passed = np.flatnonzero(risk.passing(binom.logcdf(f, k, target), hopes, LEVEL, starts))
    return int(passed[-1]) if len(passed) else None


def promise(paths, splits, kinds):
    head = ["collection", "kind", "then", "target", "test", "found", "broken", "held-out half", "kept of best"]
    print("| " + " | ".join([*head, "pairs as unit"]) + " |\n" + "|---" * (len(head) + 1) + "|")
    models = {"static": load_encoder("static")}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            data, split, negatives = opened(path, models, folder)
            for kind in kinds:
                for rest in ("", " >> Top(k=8)"):
                    text = f"Calibrated('none.json', by='static', kind='{kind}'){rest}"
                    sample = sample_of(data, negatives, split, text)
                    (kept, false), most = sample.outcomes, sample.most
                    base = false[:, -1].sum() / kept[:, -1].sum()
                    for target in sorted({max(0.02, round(base * share, 2)) for share in (0.5, 0.75)}):
                        for test in ("exact", "asymptotic"):
                            row = repeated(kept, false, target, (test, most), splits)
                            named = (data.name, kind, rest[4:] or "-", f"{target:.0%} of {base:.0%}", test)
                            print("| " + " | ".join((*named, *row)) + " |", flush=True)


def repeated(kept, false, target, how, splits):
    """Draw half as many queries as there are, from all: these are the population, so the truth is known."""
    rng = np.random.default_rng(0)
    rates = false.sum(axis=0) / np.maximum(kept.sum(axis=0), 1e-9)
    share = kept.sum(axis=0) / kept[:, -1].sum()
    best = share[rates <= target].max(initial=0.0)
    n = len(kept)
    broken, over, pairs, got = 0, 0, 0, []
    for _ in range(splits):
        some = rng.integers(0, n, n // 2)
        place = loosest(kept[some], false[some], target, *how)
        if place is not None:
            broken += rates[place] > target
            got.append(share[place])
        naive = by_pairs(kept[some], false[some], target, how[1])
        pairs += naive is not None and rates[naive] > target
        mine = np.zeros(n, bool)
        mine[rng.permutation(n)[: n // 2]] = True
        place = loosest(kept[mine], false[mine], target, *how)
        if place is not None:
            over += false[~mine, place].sum() > target * kept[~mine, place].sum()
    ratio = f"{np.mean(got) / best:.0%}" if got and best else "-"
    return [*(f"{times / splits:.1%}" for times in (len(got), broken, over)), ratio, f"{pairs / splits:.1%}"]


def drawn(paths, splits):
    """Audits of all candidates, by bands of ranks in proportion, with 300, 600 and 1,500 labels."""
    head = ["collection", "kind", "then", "target", "labels", "found", "broken", "kept of best"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    models = {"static": load_encoder("static")}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            data, split, negatives = opened(path, models, folder)
            for kind in ("absolute", "quantile"):
                for rest in ("", " >> Top(k=8)"):
                    sample = sample_of(
                        data, negatives, split, f"Calibrated('none.json', by='static', kind='{kind}'){rest}"
                    )
                    candidate = sample.seen.candidate
                    kept = np.stack([sample.seen.kept(float(threshold))[candidate] for threshold in sample.grid])
                    false = sample.relevance[candidate] > 0
                    stratum = band_of(sample.seen.living.ranks["static"][candidate].astype(np.int64), RANKS)
                    base = (kept[-1] & false).sum() / kept[-1].sum()
                    for target in sorted({max(0.02, round(base * share, 2)) for share in (0.5, 0.75)}):
                        for budget in (300, 600, 1500):
                            row = redrawn(kept, false, stratum, (target, budget), splits)
                            named = (data.name, kind, rest[4:] or "-", f"{target:.0%} of {base:.0%}", f"{budget:,}")
                            print("| " + " | ".join((*named, *row)) + " |", flush=True)


def redrawn(kept, false, stratum, how, splits):
    """These candidates are the population, so the truth is known."""
    rng = np.random.default_rng(0)
    target, budget = how
    bands, place = np.unique(stratum, return_inverse=True)
    size = np.bincount(place)
    draw = Draw(size, allocate(size, budget), np.zeros(len(bands), np.int64))
    rows = [np.flatnonzero(place == number) for number in range(len(bands))]
    weight = np.repeat(draw.size / draw.count, draw.count)
    count, none = kept.sum(axis=1)[None].astype(float), np.zeros(len(kept))
    rates, share = (kept & false).sum(axis=1) / np.maximum(count[0], 1), count[0] / count[0, -1]
    best = share[rates <= target].max(initial=0.0)
    hopes = draws.log_p(none, none, count, none, draw, target)
    starts = risk.sequences(float(hopes.min()), LEVEL)
    broken, got = 0, []
    for _ in range(splits):
        some = np.concatenate([rng.choice(mine, n, replace=False) for mine, n in zip(rows, draw.count, strict=True)])
        wrong = (kept[:, some] & false[some]).astype(float)
        logs = draws.log_p(wrong @ weight, wrong.sum(axis=1), count, none, draw, target)
        passed = np.flatnonzero(risk.passing(logs, hopes, LEVEL, starts))
        if len(passed):
            broken += rates[passed[-1]] > target
            got.append(share[passed[-1]])
    ratio = f"{np.mean(got) / best:.0%}" if got and best else "-"
    return [f"{len(got) / splits:.1%}", f"{broken / splits:.1%}", ratio]


def transfer(paths):
    print("| collection | kind | found on | target | rate there | rate on the others |\n|---|---|---|---|---|---|")
    models = {"static": load_encoder("static")}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            data, split, negatives = opened(path, models, folder, pooled=True)
            for kind in ("absolute", "relative", "quantile", "score"):
                samples = {
                    name: sample_of(data, negatives, split, f"Calibrated('none.json', by='{name}', kind='{kind}')")
                    for name in (*models, "bm25")
                }
                for name, sample in samples.items():
                    print(moved(data.name, kind, name, samples, sample), flush=True)


def moved(collection, kind, name, samples, sample):
    """A threshold found under one model, and what it does under the others."""
    kept, false = sample.outcomes
    target = max(0.02, round(0.6 * false[:, -1].sum() / kept[:, -1].sum(), 2))
    place = loosest(kept, false, target, "asymptotic", sample.most)
    head = f"| {collection} | {kind} | {name} | {target:.0%} | "
    if place is None:
        return head + "none passes | |"
    threshold = float(sample.grid[place])
    rates = [f"{other}: {rate_at(one, threshold)}" for other, one in samples.items() if other != name]
    return head + f"{rate_at(sample, threshold)} | {', '.join(rates)} |"


def rate_at(sample, threshold):
    rows = sample.seen.kept(threshold)
    share = rows.sum() / sample.seen.candidate.sum()
    return f"{sample.relevance[rows].sum() / max(1, rows.sum()):.1%} of {share:.0%}"


def judged(path, folder):
    """The verdicts as a collection with given negatives; a second, stronger judge's verdict replaces the first's."""
    said, rows = {}, {}
    with gzip.open(Path(path) / "verdicts.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in sorted(map(json.loads, lines), key=lambda row: row["stage"]):
            text = {
                kind: [f"{d['title']} {d['text']}".strip() for d in row[kind]] for kind in ("positives", "negatives")
            }
            rows[row["query"]] = text
            for document, verdict in zip(text["negatives"], row["negatives"], strict=True):
                said[row["query"], document] = verdict["verdict"]
    pairs = [{"query": query, "positive": t["positives"], "negative": t["negatives"]} for query, t in rows.items()]
    data = foils.load(pairs, cache=Path(folder) / "cache")
    return data, said


FILTERS = {
    "Between(hi=0.5, by='static')": "static",
    "PositiveAware(by='static')": "static margin",
    "PositiveAware(margin=0.0, by='static')": "static margin",
    "PositiveAware(by='minilm')": "minilm margin",
    "PositiveAware(margin=0.0, by='minilm')": "minilm margin",
    "PositiveQuantile(by='minilm')": "minilm",
    "MarginQuantile(margin=0.1, by='minilm')": "minilm quantile",
    "NearPositive(similarity=0.8)": "-",
    "NearPositive(similarity=0.3, words=2)": "-",
    "NearPositive(similarity=0.8, by='minilm')": "-",
}
CROSSING = {
    "Between(hi=0.9, by='judge')": "judge",
    "Between(hi=0.5, by='judge')": "judge",
    "Between(hi=0.1, by='judge')": "judge",
    "PositiveAware(margin=0.0, kind='absolute', by='judge')": "judge margin",
}


def verdicts(path, cross_encoder):
    with tempfile.TemporaryDirectory() as folder:
        data, said = judged(path, folder)
        models = {name: load_encoder(name) for name in ("static", "minilm")}
        scorers = "Load('given') >> BiEncoder('static') >> BiEncoder('minilm')"
        filters = dict(FILTERS)
        if cross_encoder:
            models["judge"] = load_reranker(cross_encoder)
            scorers += " >> CrossEncoder('judge')"
            filters.update(CROSSING)
        negatives = foils.mine(data, scorers, encoders=models, out=Path(folder) / "all")
        seen = negatives.pairs(data)
        candidate = seen.label == CANDIDATE
        queries, documents = (
            texts.texts(rows) for texts, rows in ((data.queries, seen.query), (data.corpus, seen.doc))
        )
        verdict = np.array([said.get(pair, "none") for pair in zip(queries, documents, strict=True)])[candidate]
        print(f"{candidate.sum()} negatives of {len(seen.queries)} queries: {dict(Counter(verdict.tolist()))}\n")
        scores = columns(seen, candidate, models)
        table(negatives, data, (seen, candidate, verdict), scores, (filters, models, folder))


def columns(seen, candidate, models):
    """What filters rank by: each model's score and margins, the mixture's doubt, and the agreement of all models."""
    found, votes = {}, []
    for name in models:
        found[name] = seen[name]
        found[f"{name} margin"] = seen[name] - seen.positive(name)
        found[f"{name} quantile"] = nearness(seen, name, "quantile", "min")
        spread = [segments.quantile(seen[name], candidate, seen.starts, at) for at in (0.25, 0.75)]
        unit = segments.spread(np.maximum(spread[1] - spread[0], 1e-9), seen.starts)
        votes.append((seen[name] - seen.positive(name)) / unit)
    mixture = two_betas((np.clip(seen["minilm"][candidate], -1, 1) + 1) / 2, 0.05)
    if mixture is not None:
        found["mixture (minilm)"] = 1 - mixture.low((np.clip(seen["minilm"], -1, 1) + 1) / 2)
    found["consensus: mean of margins over spread"] = np.mean(votes, axis=0)
    found["consensus: votes"] = np.sum(np.array(votes) > -0.5, axis=0)
    return {name: np.asarray(values, float)[candidate] for name, values in found.items()}


def table(negatives, data, given, scores, run):
    (seen, candidate, verdict), (filters, models, folder) = given, run
    print("| ranked by | AUC of better | AUC of better or worse | precision at their number |\n|---|---|---|---|")
    flagged = verdict != "none"
    for name, values in scores.items():
        best = np.argsort(-values, kind="stable")[: flagged.sum()]
        aucs = [f"{roc_auc_score(truth, values):.3f}" for truth in (verdict == "better", flagged)]
        print(f"| {name} | {aucs[0]} | {aucs[1]} | {flagged[best].mean():.2f} |")
    print("\n| filter | drops | precision | recall of better or worse | of better |\n|---|---|---|---|---|")
    everything = {f"`{text}`": dropped(text, negatives, data, seen, models, folder)[candidate] for text in filters}
    majority = len(models) // 2 + 1
    everything[f"at least {majority} of {len(models)} models: margin above -0.5 of the list's spread"] = (
        scores["consensus: votes"] >= majority
    )
    if "mixture (minilm)" in scores:
        everything["mixture above 0.5"] = scores["mixture (minilm)"] > 0.5
    for name, gone in everything.items():
        precision = f"{flagged[gone].mean():.2f}" if gone.any() else "-"
        recall = f"{gone[flagged].mean():.2f} | {gone[verdict == 'better'].mean():.2f}"
        print(f"| {name} | {gone.mean():.1%} | {precision} | {recall} |")


def dropped(text, negatives, data, seen, models, folder):
    """Which rows a filter drops."""
    stage = parse(f"Load('{negatives.path}', which='all') >> {text}")
    used = {name: models[name] for name in stage.encoders()}
    out = foils.mine(data, stage, encoders=used, out=Path(folder) / f"out{abs(hash(text))}").pairs(data)
    return out.dropped[out.find(seen)] != 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("promise")
    one.add_argument("data", nargs="+")
    one.add_argument("--splits", type=int, default=1000)
    one.add_argument("--kinds", nargs="+", default=["absolute", "quantile"])
    again = commands.add_parser("drawn")
    again.add_argument("data", nargs="+")
    again.add_argument("--splits", type=int, default=1000)
    two = commands.add_parser("transfer")
    two.add_argument("data", nargs="+")
    three = commands.add_parser("verdicts")
    three.add_argument("data")
    three.add_argument("--cross-encoder")
    args = parser.parse_args()
    if args.what == "promise":
        promise(args.data, args.splits, args.kinds)
    elif args.what == "drawn":
        drawn(args.data, args.splits)
    elif args.what == "transfer":
        transfer(args.data)
    else:
        verdicts(args.data, args.cross_encoder)


if __name__ == "__main__":
    main()
