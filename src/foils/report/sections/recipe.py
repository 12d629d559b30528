"""What was mined and how, and the commands that do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from foils.recipe import load_recipe, shipped
from foils.report.blocks import Block, Code, Facts, Section, Table
from foils.report.figures import count, duration, share
from foils.report.subject import Subject, Training
from foils.store import Negatives

_DATA = "DATA"


def made(subject: Subject) -> Section | None:
    """Pipeline or recipe whole, fingerprints, versions, commands."""
    blocks: list[Block] = []
    if subject.trainings:
        blocks += _run(subject)
    if subject.negatives is not None:
        blocks += _mined(subject.negatives, command=not subject.trainings)
    return Section("made", "How it was made", blocks) if blocks else None


def _mined(store: Negatives, *, command: bool) -> list[Block]:
    said = store.manifest
    where = str(store.path)
    collection = said["collection"]
    facts = [
        ("Folder", where),
        ("Collection", f"{collection['name']}  {collection['fingerprint']}"),
        ("Split, seed", f"{said['split']}, {said['seed']}"),
        (
            "Queries",
            f"of a held-out split: {said.get('leaks', 'skip')}; without positives: "
            f"{said.get('without_positives', 'skip')}",
        ),
    ]
    for name, identity in said.get("encoders", {}).items():
        facts.append((f"Encoder {name}", _identity(identity)))
    for text, digest in said.get("inputs", {}).items():
        facts.append((f"Input {text}", str(digest)))
    for text, index in said.get("indexes", {}).items():
        facts.append((f"Index of {text}", f"finds {share(index['recall_at_k'])} of the {index['k']} nearest"))
    facts.append(("Versions", _versions({"foils": said.get("foils"), **said.get("versions", {})})))
    full = str(said["pipeline_full"]).replace(" >> ", "\n>> ")
    blocks: list[Block] = [Code("Pipeline, every value", full), Facts(facts, code=True)]
    if command:
        blocks.append(Code("Again", _mine_command(said, where)))
    return blocks


def _mine_command(said: Mapping[str, Any], where: str) -> str:
    encoders = [f"--encoder {name}={_model(identity)}" for name, identity in said.get("encoders", {}).items()]
    options = [f"--split {said['split']}", f"--seed {said['seed']}"]
    if said.get("leaks", "skip") != "skip":
        options.append(f"--leaks {said['leaks']}")
    if said.get("without_positives") == "keep":
        options.append("--without-positives")
    lines = [f"foils mine {_DATA} {shlex.quote(said['pipeline'])}", *encoders, *options, f"-o {shlex.quote(where)}"]
    return " \\\n    ".join(lines)


def _model(identity: Any) -> str:
    name = identity.get("name") if isinstance(identity, Mapping) else None
    return shlex.quote(str(name)) if name else "MODEL"


def _identity(identity: Any) -> str:
    if not isinstance(identity, Mapping):
        return str(identity)
    prints = {key: str(value) for key, value in identity.items() if key != "name" and value}
    return "  ".join([str(identity.get("name", "")), *(f"{key} {value[:16]}" for key, value in prints.items())]).strip()


def _run(subject: Subject) -> list[Block]:
    record = subject.record
    recipe = record.get("notes", {}).get("recipe", {})
    settings = record.get("settings", {})
    recipe = recipe if isinstance(recipe, Mapping) else {"name": recipe}
    facts = [
        ("Folder", subject.where),
        ("Status", str(record.get("status", "being prepared"))),
        ("Recipe", " · ".join(str(recipe[key]) for key in ("name", "title", "cite") if recipe.get(key))),
        ("Collection", " ".join(filter(None, [_name(subject), str(settings.get("data", ""))]))),
        ("Split, seed", f"{settings.get('split', '')}, {settings.get('seed', '')}"),
        ("Start model", str(settings.get("model", ""))),
        ("Time", duration(record.get("seconds"))),
        ("Versions", _versions(record.get("versions", {}))),
    ]
    blocks: list[Block] = []
    if recipe:
        # Without its name, which the file has that it is read from.
        plain = {key: value for key, value in recipe.items() if key != "name" and value not in (None, "", [])}
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
        title = "Recipe, whole" if _named(recipe) == recipe.get("name") else "Recipe, whole: recipe.yaml"
        blocks.append(Code(title, text.rstrip()))
    blocks.append(Facts([(name, value) for name, value in facts if value], code=True))
    blocks += [table for training in subject.trainings if (table := _settings(training)) is not None]
    phases = record.get("phases")
    if phases:
        blocks.append(_phases(phases))
    blocks.append(Code("Again", _train_command(subject, recipe, settings)))
    return blocks


def _name(subject: Subject) -> str:
    return "" if subject.data is None else subject.data.name


def _settings(training: Training) -> Table | None:
    settings = training.record.get("settings", {})
    values = (
        {**settings.get("recipe", {}), **settings.get("options", {})}
        if isinstance(settings.get("recipe"), Mapping)
        else dict(settings.get("options", {}))
    )
    rows = [[name.replace("_", " "), "" if value is None else str(value)] for name, value in values.items()]
    counts = training.record.get("counts", {}).get("train", {})
    rows += [[name.replace("_", " "), count(value)] for name, value in counts.items() if isinstance(value, int)]
    title = f"Settings of {training.name}" if training.name else "Settings"
    return Table(title, ("", ""), rows, folded=True) if rows else None


def _phases(phases: list[Mapping[str, Any]]) -> Table:
    rows = [
        [
            str(phase["name"]),
            count(phase.get("counts", {}).get("negatives")) if "counts" in phase else "",
            count(phase.get("steps")) if "steps" in phase else "given",
            "" if "nDCG@10" not in phase else f"{phase['nDCG@10']:.4f}",
            duration(phase.get("seconds")),
        ]
        for phase in phases
    ]
    return Table("Phases", ("Phase", "Negatives", "Steps", "Dev nDCG@10", "Time"), rows, right=(1, 2, 3, 4))


def _train_command(subject: Subject, recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    options = settings.get("options", {})
    usual = _usual()
    lines = [f"foils train {_DATA}", f"--recipe {_named(recipe)}", "--model MODEL"]
    lines += [f"--split {settings['split']}"] if settings.get("split", "train") != "train" else []
    lines += [f"--seed {settings['seed']}"] if settings.get("seed") else []
    for name, value in options.items():
        if value is not None and value != usual.get(name):
            lines.append(f"--set {shlex.quote(f'{name}={_json(value)}')}")
    return " \\\n    ".join([*lines, f"-o {shlex.quote(subject.where)}"])


def _named(recipe: Mapping[str, Any]) -> str:
    """The name of a recipe that foils ships, if it was followed as it is; else a file with the text above."""
    name = str(recipe.get("name", ""))
    if name in shipped() and load_recipe(name).text() == recipe:
        return name
    return "recipe.yaml"


def _usual() -> Mapping[str, Any]:
    from foils.train.options import TrainOptions

    return TrainOptions().record()


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items() if number)
