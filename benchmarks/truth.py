"""What foils says of negatives on one collection, beside what full judgements count.

    python benchmarks/truth.py DATA OUT --split train_sparse --labels train [--train]
    python benchmarks/truth.py --table OUT OUT ...

Everything is done by the commands that a user has: advise, mine, audit (300 judged, then all of them), calibrate to
half of the rate, mine again from the same candidates, audit again, report; with --train also a training that counts
influence, what its negatives have in common, and the geometry of the model. OUT keeps all of it, and figures.json.
Without --labels nobody knows the truth, and the sheet for people is written instead.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

SEARCH = "Dense('static', k=50)"
LISTS = {"bm25": "BM25(k=50) >> Top(k=8)", "dense": f"{SEARCH} >> Top(k=8)"}


def models(pipeline):
    return ("--encoder", "static=static") if "'static'" in pipeline else ()


class Shell:
    """Runs foils commands, keeps their --json and the seconds they took. No threshold is a result, not a failure."""

    def __init__(self, out):
        self.out, self.seconds = out, {}

    def __call__(self, step, *words):
        began = time.monotonic()
        line = [sys.executable, "-m", "foils.cli", *map(str, words), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        self.seconds[step] = round(time.monotonic() - began, 1)
        if done.returncode and not (step == "calibrate" and "no threshold" in done.stdout):
            raise SystemExit(f"{step}: {done.stdout.strip()} {done.stderr.strip()}")
        (self.out / f"{step}.json").write_text(done.stdout)
        return json.loads(done.stdout)


def run(args):
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    foils = Shell(out)
    split = ("--split", args.split)
    figures = {"collection": Path(args.data).name, "split": args.split, "labels": args.labels}
    advice = foils("advise", "advise", args.data, "--model", "static", *split)
    figures["advice"] = {"recipe": advice["recipe"], "because": advice["reasons"][0]["text"]}
    for name, pipeline in LISTS.items():
        foils(f"mine-{name}", "mine", args.data, pipeline, *models(pipeline), *split, "-o", out / name)
        if args.labels:
            figures[name] = audited(foils, args, name)
        else:
            foils(f"sheet-{name}", "audit", out / name, "--data", args.data, "-o", out / f"{name}-sheet")
    if args.labels:
        figures["cleaned"] = cleaned(foils, args, figures["dense"]["all"]["rate"])
    if args.train:
        figures["trained"] = trained(foils, args)
    for name in [*LISTS, *(["run"] if args.train else [])]:
        foils(f"report-{name}", "report", out / name, "--data", args.data, "-o", out / f"{name}.html")
    figures["pages"] = {page.name: page.stat().st_size for page in sorted(out.glob("*.html"))}
    figures["seconds"] = foils.seconds
    (out / "figures.json").write_text(json.dumps(figures, indent=1))
    table([out])


def audited(foils, args, name):
    judge = ("--data", args.data, "--judge", f"qrels:{args.labels}", "--complete")
    folder = Path(args.out) / name
    sample = foils(f"audit-{name}", "audit", folder, *judge, "--budget", 300, "-o", f"{folder}-audit")
    whole = foils(f"count-{name}", "audit", folder, *judge, "--budget", 10**6)
    return {"sample": rate(sample), "all": rate(whole)}


def rate(audit):
    found = audit["rate"]
    return {"rate": found["value"], "low": found["low"], "high": found["high"], "judged": audit["judged"]}


def cleaned(foils, args, before):
    out = Path(args.out)
    stage = f"Calibrated('{out / 'margin.json'}', target={before / 2:.3f}, by='static', kind='quantile')"
    found = foils(
        "calibrate", "calibrate", mined(foils, args), f"{stage} >> Top(k=8)", "--labels", f"qrels:{args.labels}"
    )
    told = {"target": round(before / 2, 3), "threshold": None}
    if "error" in found:
        return {**told, "why": found["error"]}
    group = found["groups"][0]
    told["threshold"] = group["threshold"]
    foils("mine-cleaned", "mine", "--candidates", out / "pool", f"{stage} >> Top(k=8)", "-o", out / "cleaned")
    judge = ("--data", args.data, "--judge", f"qrels:{args.labels}", "--complete", "--budget", 10**6)
    after = foils("count-cleaned", "audit", out / "cleaned", *judge)
    return {**told, "lost": group["report"]["lost"], "after": rate(after), "starved": group["report"]["starved"]}


def mined(foils, args):
    pool = Path(args.out) / "pool"
    foils("mine-pool", "mine", args.data, SEARCH, *models(SEARCH), "--split", args.split, "-o", pool)
    return pool


def trained(foils, args):
    out = Path(args.out)
    run = out / "run"
    train = ("--recipe", "phase3", "--model", "static", "--split", args.split, "--set", f"max_steps={args.steps}")
    foils("train", "train", args.data, *train, "--influence", "-o", run)
    influence = foils("influence", "influence", run / "phases" / "3-dense", "--data", args.data, "--phenomena")
    measured = foils(
        "evaluate",
        "evaluate",
        args.data,
        "--baseline",
        "start=static",
        "--model",
        f"trained={run / 'model'}",
        "--geometry",
    )
    return {"influence": influence, "evaluate": measured}


def percent(found):
    return f"{100 * found['rate']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def table(outs):
    every = [json.loads((Path(out) / "figures.json").read_text()) for out in outs]
    print("| collection | negatives | all counted | 300 judged | inside |\n|---|---|---|---|---|")
    for figures in every:
        for name in LISTS:
            if name in figures:
                whole, sample = figures[name]["all"], figures[name]["sample"]
                inside = "yes" if sample["low"] <= whole["rate"] <= sample["high"] else "no"
                print(
                    f"| {figures['collection']} | `{LISTS[name]}` | {100 * whole['rate']:.1f} % | {percent(sample)}"
                    f" | {inside} |"
                )
    print("\n| collection | before | target | threshold | after | true negatives lost |\n|---|---|---|---|---|---|")
    for figures in every:
        if "cleaned" in figures:
            told = figures["cleaned"]
            after, lost = told.get("after"), told.get("lost")
            cells = [
                f"{100 * figures['dense']['all']['rate']:.1f} %",
                f"{100 * told['target']:.1f} %",
                "none passed" if told["threshold"] is None else f"{told['threshold']:+.3f}",
                f"{100 * after['rate']:.1f} %" if after else "",
                f"{100 * lost['value']:.0f} %" if lost else "",
            ]
            print(f"| {figures['collection']} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--table", nargs="+", metavar="OUT")
    parser.add_argument("--split", default="train")
    parser.add_argument("--labels")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    table(args.table) if args.table else run(args)


if __name__ == "__main__":
    main()
