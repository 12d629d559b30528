"""The documentation is held to what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from foils.catalogue import KINDS
from foils.cli import app
from foils.core import declared, spec
from foils.recipe import shipped
from foils.stages import Sampler

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_exist(page):
    found = re.findall(r"(?:^|[`$] )foils (\w+)((?:(?!\n\n|`).)*)", page.read_text().replace("\\\n", " "), re.MULTILINE)
    for command, rest in found:
        assert command in COMMANDS, command
        known = {name for parameter in COMMANDS[command].params for name in parameter.opts}
        for option in re.findall(r"(?<!\S)(--[a-z-]+|-[a-z])(?=\s|=|$)", rest.split("\n")[0]):
            assert option in known, f"foils {command} has no {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_pages_are_what_the_docstrings_and_recipes_say():
    spec_ = importlib.util.spec_from_file_location("pages", ROOT / "scripts" / "pages.py")
    assert spec_ is not None
    assert spec_.loader is not None
    module = importlib.util.module_from_spec(spec_)
    spec_.loader.exec_module(module)
    made = module.pages()
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} is out of date: python scripts/pages.py"
    listed = "".join(text for path, text in made.items() if path.parent.name in ("stages", "training", "writing"))
    for kind in KINDS:
        for name, cls in spec.registry(kind).items():
            if cls.__module__.startswith("foils."):
                assert f"\n## {name}\n" in listed


def test_every_recipe_is_mentioned():
    readme = "".join(page.read_text() for page in PAGES)
    for name in shipped():
        assert name in readme, name


def test_the_example_of_an_own_stage_works(monkeypatch):
    monkeypatch.setattr(declared, "_REGISTRY", dict(declared._REGISTRY))
    block = re.search(
        r"## Your own stage\n+```python\n(.*?)```", (ROOT / "docs" / "pipelines.md").read_text(), re.DOTALL
    )
    assert block is not None
    names: dict = {"__name__": "somebodys.stages"}
    exec(compile(block.group(1), "docs/pipelines.md", "exec", dont_inherit=True), names)
    stage = spec.parse("Middle(k=3)")
    assert isinstance(stage, Sampler)
    assert spec.parse(spec.full(stage)) == stage
