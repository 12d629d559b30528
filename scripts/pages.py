"""Write the pages under docs that are made of docstrings and recipes: python scripts/pages.py"""

from __future__ import annotations

from pathlib import Path

import foils.train
import foils.writing  # noqa: F401 - declares authors and checks
from foils.catalogue import page
from foils.core.spec import Declared, Kind, registry
from foils.recipe import load_recipe, shipped
from foils.recipe_values import Phase, Recipe

FAMILIES = ("source", "scorer", "labeler", "filter", "sampler", "shortfall")
KINDS: dict[str, Kind] = {
    "contrasts": "contrast",
    "losses": "loss",
    "batches": "batches",
    "refresh": "refresh",
    "guard": "guard",
    "schedules": "schedule",
}
WRITING: dict[str, Kind] = {"authors": "author", "checks": "check"}
DOCS = Path(__file__).parent.parent / "docs"
_RECIPES = """# Recipes

Made from `src/foils/recipes/*.yaml` by `scripts/pages.py`; do not edit.

`foils recipes` lists them, `foils recipes NAME > mine.yaml` copies one to change, `foils mine DATA NAME` only mines,
`foils train DATA --recipe NAME --model MODEL -o RUN` follows it whole. A recipe names its models: `student` is the one
that is trained; others are given as `--encoder NAME=MODEL` and are the student as long as they are not.

"""


def pages() -> dict[Path, str]:
    """The text of each page; what plugins declare is not ours to describe."""
    stages = {family: [cls for cls in _ours("stage") if cls.family == family] for family in FAMILIES}  # type: ignore[attr-defined]
    made = {DOCS / "stages" / f"{name}s.md": page(f"{name.capitalize()}s", found) for name, found in stages.items()}
    for folder, kinds in (("training", KINDS), ("writing", WRITING)):
        for name, kind in kinds.items():
            found = _ours(kind)
            if found:
                made[DOCS / folder / f"{name}.md"] = page(name.capitalize(), found)
    recipes = [load_recipe(name) for name in shipped()]
    links = " · ".join(f"[{recipe.name}](#{recipe.name})" for recipe in recipes)
    made[DOCS / "recipes.md"] = _RECIPES + links + "\n" + "".join(map(_section, recipes))
    return made


def _ours(kind: Kind) -> list[type[Declared]]:
    return [cls for cls in registry(kind).values() if cls.__module__.startswith("foils.")]


def _section(recipe: Recipe) -> str:
    several = len(recipe.phases) > 1
    code = "\n".join(_phase(phase, named=several) for phase in recipe.phases)
    needs = f" Needs: {', '.join(f'`{name}`' for name in recipe.needs)}." if recipe.needs else ""
    return f"\n## {recipe.name}\n\n{recipe.title}. {recipe.cite}.\n\n{code}\n{recipe.notes}{needs}\n"


def _phase(phase: Phase, *, named: bool) -> str:
    parts = {key: value for key, value in phase.text().items() if value not in (None, "Never()")}
    lines = [f"{key + ':':<10}{', '.join(value) if isinstance(value, list) else value}" for key, value in parts.items()]
    if named:
        lines = [f"- {phase.name}", *(f"  {line}" for line in lines)]
    return "".join(f"    {line}\n" for line in lines)


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
