"""The ladder: what each way of using negatives is worth, at an equal training budget, over seeds.

    python benchmarks/study.py COLLECTION DATA OUT [--start static] [--arms "a;b"] [--seeds 3] [--steps 300]
    python benchmarks/study.py --table OUT

Every arm trains the same start model on the same queries for the same number of optimiser steps (phases of a recipe
share them), without a dev split: the last weights count. Arms that mine with the student first spend half of the
budget on in-batch training, as the papers warm up. Cross-encoders are taught once a collection and given to every
arm that names one; their time is a line of its own. Finished runs are not repeated. Two arms are what people do
today: sentence-transformers' ``mine_hard_negatives(relative_margin=0.05)`` and its
``MultipleNegativesRankingLoss``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
import time
from pathlib import Path

import numpy as np

from foils import load
from foils.evaluate import evaluate
from foils.evaluate.significance import holm, interval, sign_flip
from foils.follow import Job, follow
from foils.recipe import load_recipe
from foils.train import TrainOptions

MEASURES = ("RR@10", "nDCG@10", "R@100")
MAIN = "nDCG@10"
BATCH = 64
RATE = {"static": 1e-2, "raw": 2e-4}
RAW_LAYERS = 2  # the first of MiniLM's six, without its training for retrieval: a start from which the ladder can rise
GUIDE = "minilm"  # the bi-encoder that teaches where an arm says so
# Half of the budget in-batch, then what the arm is about, with the student so far as its own miner.
WARM = """
- {name: warm, share: 0.5}
- {name: main, share: 0.5, %s}
"""


def values(**given):
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in given.items())


def warmed(**given):
    return textwrap.dedent(WARM % values(**given))


COSINE = 0.05
ARMS = {
    "in-batch": "",
    "random": values(mine="Random(k=4)"),
    "bm25": values(mine="BM25(k=100) >> NoAnswer() >> Top(k=4)"),
    "bm25, denoised": warmed(mine="BM25(k=30) >> Denoise('teacher', k=4)"),
    "star": warmed(mine="Dense('student', k=200) >> Uniform(k=16)", loss=f"RankNet(temperature={COSINE})"),
    "nv-retriever": warmed(mine="Dense('student', k=100) >> PositiveAware(margin=0.05) >> Top(k=4)"),
    "simans": warmed(mine="Dense('student', k=400) >> SimANS(k=15, a=0.5)"),
    "simans, a=100": warmed(mine="Dense('student', k=400) >> SimANS(k=15, a=100.0)"),
    "trisampler": warmed(mine=repr(load_recipe("trisampler").mine)),
    "ance": warmed(mine="Dense('student', k=200) >> Uniform(k=20)", contrast="Own()", refresh="Every(epochs=2)"),
    "ance, in-batch": warmed(mine="Dense('student', k=200) >> Uniform(k=20)", refresh="Every(epochs=2)"),
    "adore": warmed(contrast="Search(k=200)", loss=f"LambdaRank(cut=200, temperature={COSINE})"),
    "npc": warmed(
        mine="Dense('student', k=100) >> MixtureNoise('student') >> Uniform(k=4)",
        loss="InfoNCE(weight='weight') + Consistency()",
        refresh="Every(epochs=2)",
    ),
    "ccr": warmed(
        mine="Dense('student', k=30) >> Sieve() >> Uniform(k=4)",
        loss=f"InfoNCE() + 0.5*Confidence(temperature={COSINE})",
    ),
    "memory bank": values(contrast="InBatch() + MemoryBank(size=1024)"),
    "negative cache": values(
        contrast=f"InBatch() + NegativeCache(size=8192, temperature={COSINE}, fill='random')",
        loss=f"InfoNCE(temperature={COSINE}, weight='weight')",
    ),
    "rocketqa": warmed(mine="Dense('student', k=50) >> Denoise('teacher', k=4)"),
    "rocketqa, undenoised": warmed(mine="Dense('student', k=50) >> Top(k=4)"),
    "pair": textwrap.dedent(f"""
        - {{name: warm, share: 0.4}}
        - {{name: main, share: 0.3, {
        values(
            mine="Dense('student', k=50) >> Denoise('teacher', k=4)",
            loss=f"0.9*InfoNCE() + 0.1*PassageCentric(temperature={COSINE})",
        )
    }}}
        - {{name: fine, share: 0.3, adds: [main]}}
        """),
    "margin-mse": warmed(
        mine="BM25(k=30) >> CrossEncoder('teacher', scale='logit') >> Uniform(k=20)",
        contrast="Own()",
        loss=f"MarginMSE(temperature={COSINE})",
    ),
    "tas-b": warmed(
        mine="BM25(k=30) >> CrossEncoder('teacher', scale='logit') >> Balanced(k=8, by='teacher')",
        loss=f"MarginMSE(temperature={COSINE}) + 0.75*InBatchMarginMSE(by='guide', temperature={COSINE})",
        batches="Clustered()",
    ),
    "kl": warmed(
        mine="Dense('student', k=30) >> CrossEncoder('teacher', scale='logit') >> Uniform(k=15)",
        contrast="Own()",
        loss=f"KL(temperature={COSINE}, teacher_temperature=1.0)",
    ),
    "cl-drd": "- {name: warm, share: 0.4}\n"
    + "".join(
        f"- {{name: round-{number}, share: 0.2, rate: 0.5, "
        + values(
            mine=f"Dense('student', k=30) >> CrossEncoder('teacher') >> Grades(ordered={head}, window=12, by='teacher')"
            f" >> Groups(ordered={head}, hard={hard}, rest={rest}, window=12, by='teacher')",
            contrast="Own()",
            loss=f"LambdaMRR(temperature={COSINE})",
        )
        + "}\n"
        for number, (head, hard, rest) in enumerate([(5, 12, 13), (10, 10, 10), (20, 5, 5)], 1)
    ),
    "guided": warmed(
        mine="Dense('student', k=50) >> BiEncoder('biencoder') >> PositiveAware(by='biencoder') >> Top(k=4)"
    ),
    "guided, kl": warmed(
        mine="Dense('student', k=50) >> BiEncoder('biencoder') >> Uniform(k=15)",
        contrast="Own()",
        loss=f"KL(by='biencoder', temperature={COSINE})",
    ),
    "multi-stage": textwrap.dedent(f"""
        - {{name: weak, data: sentences, share: 0.3}}
        - {{name: warm, share: 0.4}}
        - {{name: main, share: 0.3, {values(mine="Dense('student', k=100) >> PositiveAware(margin=0.05) >> Top(k=4)")}}}
        """),
    "st": None,
    "st, warmed": None,
}
NEGATIVES = {"cl-drd": 30, "kl": 15, "guided, kl": 15, "margin-mse": 8}


def collection(name, path, queries):
    """The collection cut to some training queries, by a hash of their ids; nfcorpus shows one positive a query."""
    whole = load(path)
    split = "train_sparse" if "train_sparse" in whole.splits else "train"
    rows = whole.query_rows(split)
    if queries < len(rows):
        rows = whole.holdout(split, queries / len(rows), 7)[1]
    return whole.subset({"train": (split, rows), "test": ("test", whole.query_rows("test"))})


def recipe_of(arm, folder):
    text = ARMS[arm]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "arm.yaml"
    if text.lstrip().startswith("-"):
        path.write_text("phases:\n" + textwrap.indent(text.strip("\n"), "  ") + "\n")
    else:
        path.write_text("{" + text + "}\n")
    return load_recipe(path)


def options(arm, start, steps, batch):
    return TrainOptions(
        batch_size=batch,
        learning_rate=RATE.get(Path(start).name, 2e-5),
        max_steps=steps,
        dev_share=0,
        negatives_per_row=NEGATIVES.get(arm, 4),
        save_every=100_000,
    )


def measure(data, model):
    scores = evaluate(data, str(model), split="test", measures=MEASURES)
    return {name: np.asarray(scores.per_query[name], np.float64) for name in MEASURES}


def ours(arm, data, start, folder, seed, args, teacher):
    recipe = recipe_of(arm, folder.with_name(folder.name + "-recipe"))
    encoders = {"teacher": str(teacher)} if "teacher" in recipe.models() else {}
    if "guide" in recipe.models():
        encoders["guide"] = start
    if "biencoder" in recipe.models():
        encoders["biencoder"] = GUIDE
    result = follow(
        recipe,
        data,
        start,
        out=folder,
        job=Job(seed=seed, encoders=encoders),
        options=options(arm, start, args.steps, args.batch),
    )
    return result.run.model, result.run.record


def theirs(data, start, folder, seed, args, *, warmed):
    """sentence-transformers as its documentation has it."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        util,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.util import mine_hard_negatives

    from foils.adapters.models import resolve

    def fit(model, rows, steps):
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder / "st"),
            per_device_train_batch_size=args.batch,
            max_steps=steps,
            learning_rate=RATE.get(Path(start).name, 2e-5),
            warmup_steps=int(np.ceil(0.1 * steps)),
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            batch_sampler="no_duplicates",
        )
        loss = MultipleNegativesRankingLoss(model)
        SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()

    assert util
    positives = data.positives("train")
    pairs = Dataset.from_dict(
        {"anchor": data.queries.texts(positives.query), "positive": data.corpus.texts(positives.doc)}
    )
    model = SentenceTransformer(str(resolve(start)), device="cpu")
    steps = args.steps
    if warmed:
        steps = args.steps // 2
        fit(model, pairs, args.steps - steps)
    rows = mine_hard_negatives(
        pairs, model, corpus=data.corpus.texts(), relative_margin=0.05, range_max=100, num_negatives=3, verbose=False
    )
    fit(model, rows, steps)
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model", {"rows": len(rows)}


def taught(data, start, folder, args):
    """One cross-encoder a collection, taught on what the in-batch model of seed 0 confuses."""
    from foils.teach import TeachOptions, teach

    done = folder / "seconds.json"
    if done.exists():
        return folder / "run"
    began = time.monotonic()
    warm = follow(
        load_recipe("in-batch"),
        data,
        start,
        out=folder / "warm",
        options=options("in-batch", start, args.steps // 2, args.batch),
    )
    from foils import Miner, parse
    from foils.adapters.models import load_encoder

    mined = Miner().mine(
        data,
        parse("Dense('student', k=100) >> Uniform(k=8)"),
        split="train",
        seed=0,
        encoders={"student": load_encoder(str(warm.run.model))},
        out=folder / "negatives",
    )
    teach(
        data,
        mined,
        args.teacher,
        out=folder / "run",
        options=TeachOptions(layers=args.layers, max_steps=args.teach_steps, learning_rate=1e-4, max_length=128),
    )
    done.write_text(json.dumps({"seconds": round(time.monotonic() - began, 1)}))
    return folder / "run"


def raw(out):
    """The first layers of MiniLM with mean pooling, as a model of its own."""
    from sentence_transformers import SentenceTransformer

    from foils.adapters.models import resolve

    place = out / "raw"
    if not place.exists():
        kept = {"num_hidden_layers": RAW_LAYERS}
        model = SentenceTransformer(str(resolve("minilm")), device="cpu", config_kwargs=kept)
        model.save_pretrained(str(place), create_model_card=False)
    return str(place)


def run(args):
    data = collection(args.collection, args.data, args.queries)
    out = Path(args.out) / args.collection
    out.mkdir(parents=True, exist_ok=True)
    if args.start == "raw":
        args.start = raw(out)
    arms = args.arms.split(";") if args.arms else list(ARMS)
    start = measured_start(data, args, out)
    print(f"{args.collection}: {len(data.query_rows('train'))} training queries; start {start}", flush=True)
    for seed in range(args.seeds):
        for arm in arms:
            place = out / arm.replace(", ", "-").replace(" ", "-") / str(seed)
            if (place / "scores.npz").exists():
                continue
            teacher = taught(data, args.start, out / "teacher", args) if "'teacher'" in (ARMS[arm] or "") else None
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            began = time.monotonic()
            if ARMS[arm] is None:
                model, record = theirs(data, args.start, place, seed, args, warmed=arm.endswith("warmed"))
            else:
                model, record = ours(arm, data, args.start, place / "run", seed, args, teacher)
            seconds = round(time.monotonic() - began, 1)
            found = measure(data, model)
            shutil.rmtree(place / "run", ignore_errors=True)
            shutil.rmtree(place / "model", ignore_errors=True)
            shutil.rmtree(place / "st", ignore_errors=True)
            (place / "record.json").write_text(
                json.dumps({"arm": arm, "seed": seed, "seconds": seconds, "run": record})
            )
            np.savez(place / "scores.npz", **found)
            means = " ".join(f"{name} {values.mean():.4f}" for name, values in found.items())
            print(f"{arm:22} seed {seed}  {means}  {seconds:.0f} s", flush=True)


def measured_start(data, args, out):
    path = out / "start.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **measure(data, args.start))
    return " ".join(f"{name} {values.mean():.4f}" for name, values in np.load(path).items())


def table(out):
    for place in sorted(path for path in Path(out).iterdir() if (path / "start.npz").exists()):
        arms = {}
        for record in sorted(place.glob("*/*/record.json")):
            entry = json.loads(record.read_text())
            arms.setdefault(entry["arm"], []).append((entry["seconds"], dict(np.load(record.parent / "scores.npz"))))
        means = {arm: {m: np.mean([s[m] for _, s in runs], axis=0) for m in MEASURES} for arm, runs in arms.items()}
        names = [arm for arm in ARMS if arm in arms]
        others = [arm for arm in names if arm != "in-batch"]
        differences = {arm: means[arm][MAIN] - means["in-batch"][MAIN] for arm in others}
        p = dict(zip(others, holm([sign_flip(differences[arm]).p for arm in others]), strict=True)) if others else {}
        start = dict(np.load(place / "start.npz"))
        print(f"\n### {place.name}\n\n| arm | {' | '.join(MEASURES)} | ± seeds | {MAIN} against in-batch | p | s |")
        print("|---|---|---|---|---|---|---|---|")
        print("| start | " + " | ".join(f"{start[name].mean():.3f}" for name in MEASURES) + " | | | | |")
        for arm in names:
            seeds = [scores[MAIN].mean() for _, scores in arms[arm]]
            cells = [arm, *(f"{means[arm][name].mean():.3f}" for name in MEASURES)]
            cells += [f"{np.std(seeds, ddof=1):.3f}" if len(seeds) > 1 else ""]
            if arm in p:
                ends = interval(differences[arm])
                cells += [f"{differences[arm].mean():+.3f} [{ends.low:+.3f}, {ends.high:+.3f}]"]
                cells += [f"{p[arm]:.3f}" if p[arm] >= 0.001 else "<.001"]
            else:
                cells += ["", ""]
            print("| " + " | ".join([*cells, f"{np.mean([s for s, _ in arms[arm]]):.0f}"]) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", nargs="?")
    parser.add_argument("data", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--table", metavar="OUT")
    parser.add_argument("--start", default="static")
    parser.add_argument("--arms")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--teacher", default="minilm")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--teach-steps", type=int, default=250)
    args = parser.parse_args()
    table(args.table) if args.table else run(args)


if __name__ == "__main__":
    main()
