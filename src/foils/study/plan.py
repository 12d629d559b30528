"""What a study is to do: the settings that all arms share, the arms, and the plan of both in the study's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foils.adapters.models import digest_of, resolve, settled
from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError, StoreError
from foils.core.text import did_you_mean
from foils.study.arms import START, Arm
from foils.study.options import StudyOptions
from foils.study.record import KIND
from foils.study.tasks import Ground

PLAN = "plan.json"


def ground_of(data: Collection, model: str | Path, options: StudyOptions) -> tuple[dict[str, Any], Ground]:
    """What all arms share: as plain values that tell two studies apart, and as what a process needs.

    Raises:
        DataError: a split is not there or has no positives, or test queries are trained on.
    """
    place = settled(resolve(model))
    for split in filter(None, (options.split, options.test, options.labels)):
        data.qrels(split)
    rows = data.query_rows(options.split)
    if options.max_queries is not None and options.max_queries < len(rows):
        rows = data.holdout(options.split, options.max_queries / len(rows), 7)[1]
        data = data.subset({s: (s, rows if s == options.split else data.query_rows(s)) for s in data.splits})
    for split, queries in ((options.split, rows), (options.test, data.query_rows(options.test))):
        if not len(queries):
            raise DataError(f"no query of split {split!r} in {data.name!r} has a positive.", remedy="Name another.")
    shared = np.intersect1d(rows, data.query_rows(options.test))
    if len(shared):
        raise DataError(
            f"{len(shared):,} of the {len(data.query_rows(options.test)):,} queries of split {options.test!r} are in "
            f"{options.split!r}, too: they would be trained on and measured on.",
            remedy="Pass another --split or --test.",
        )
    settings = {
        "collection": data.name,
        "data": data.fingerprint,
        "training_queries": len(rows),
        "model": str(model),
        "split": options.split,
        "test": options.test,
        "labels": options.labels,
        "measures": list(options.measures),
        "train": dict(options.train),
        "budget": list(options.amount()),
    }
    measures = tuple(options.measures)
    given = (options.split, options.test, options.labels, measures, dict(options.train), options.keep_models)
    return settings, Ground(data, place, *given)


def planned(out: Path, settings: Mapping[str, Any], arms: Sequence[Arm]) -> dict[str, Any]:
    """The plan in a study's folder with these arms added.

    Raises:
        StoreError: the folder holds something else, a study of other settings, another arm of the same name, or what
            was made with other files of a model.
    """
    path = out / PLAN
    plan: dict[str, Any] = {"kind": f"{KIND} plan", "settings": {**settings}, "arms": {}, "order": [], "pools": []}
    if path.exists():
        plan = _read_plan(path)
        there, asked = plan["settings"], json.loads(json.dumps(settings))
        names = [name for name in asked if there.get(name) != asked[name]]
        if names:
            listed = "; ".join(f"{name} is {there.get(name)!r} there and {asked[name]!r} now" for name in names)
            raise StoreError(f"{out}: holds a study of other settings: {listed}. Choose another folder.")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out}: exists and is not a study. Choose another folder.")
    for arm in arms:
        identity = json.loads(json.dumps(arm.identity()))
        if plan["arms"].get(arm.name, {}).get("identity", identity) != identity:
            raise StoreError(
                f"{out}: arm {arm.name!r} has another recipe or other models there. Name this one otherwise "
                f"(NAME=RECIPE), choose another folder, or remove {out / 'arms' / arm.name} and {path}."
            )
        text = arm.recipe.text()
        plan["arms"][arm.name] = {"identity": identity, "recipe": text, "encoders": dict(arm.encoders)}
        plan["order"] += [] if arm.name in plan["order"] else [arm.name]
    plan["models"] = _models(out, plan, [settings["model"], *(name for arm in arms for name in arm.encoders.values())])
    return plan


def _models(out: Path, plan: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Digests of the models by name, those of earlier arms included: a name is one model as long as the study lasts."""
    models = dict(plan.get("models", {}))
    if not models and "model" in plan:  # begun when only the start model's weights were kept
        from foils.train.student import open_student

        if open_student(names[0]).fingerprint != plan["model"]["fingerprint"]:
            told = f"its model {names[0]!r} has other weights than when it was begun. Choose another folder."
            raise StoreError(f"{out}: {told}")
    for name in dict.fromkeys(names):
        digest = digest_of(name)
        if models.setdefault(name, digest) != digest:
            raise StoreError(
                f"{out}: the model {name!r} has other files than when the study trained with it. Choose another folder "
                "for the study, give the new model another name, or put its files back."
            )
    return models


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = all(name in plan for name in ("settings", "arms", "order", "pools"))
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: damaged, so this is no study that can go on. Remove it, or choose another folder.")
    return plan


def baseline_of(names: Sequence[str], asked: str | None) -> str:
    """The arm that all are compared with.

    Raises:
        SpecError: none has the name that was asked for.
    """
    if asked is None:
        return "in-batch" if "in-batch" in names else names[0]
    if asked not in (*names, START):
        guess = did_you_mean(asked, [*names, START])
        raise SpecError(f"--baseline {asked}: it is none of the arms: {', '.join((START, *names))}.{guess}")
    return asked
