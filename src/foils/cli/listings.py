"""Commands that list what there is: recipes, prompts, stages, and what training is made of."""

from __future__ import annotations

from typing import Annotated

import typer

from foils.cli.options import Json
from foils.cli.output import tell, write
from foils.core.spec import Kind


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one whole.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes, or print one."""
    from foils.recipe import read_source, shipped, source
    from foils.terminal import recipes as listing

    if name is not None:
        text = source(name)
        if as_json:
            tell(True, {"name": name, **read_source(name)}, None)
        else:
            write(text)
        return
    listed = [{"name": n, "mine": None, **read_source(n)} for n in shipped()]
    tell(as_json, listed, None if as_json else listing(listed))


def prompts(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this one whole; > mine.yaml copies it to change.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the prompts for language models, or print one."""
    import yaml

    from foils.adapters.llm.prompts import prompt, shipped, source
    from foils.terminal import prompts as listing

    if name is not None:
        found = prompt(name)  # says what is wrong with one's own
        if as_json:
            tell(True, {"name": found.name, "label": found.label, **yaml.safe_load(source(name))}, None)
        else:
            write(source(name))
        return
    known = [prompt(one) for one in shipped()]
    listed = [{"name": p.name, "version": p.version, "task": p.task, "title": p.title, "label": p.label} for p in known]
    tell(as_json, listed, None if as_json else listing(listed))


def stages(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Explain this one, of whatever kind.")] = None,
    kind: Annotated[Kind, typer.Option(help="What to list: stages of pipelines, or parts of training.")] = "stage",
    as_json: Json = False,
) -> None:
    """List the stages that pipelines are made of, the losses and other parts of training, or explain one."""
    import foils.train
    import foils.writing  # noqa: F401 - declares authors and checks
    from foils.catalogue import describe, named
    from foils.core.spec import registry
    from foils.terminal import parts, stage_page
    from foils.terminal import stages as listing

    known = registry(kind)
    if name is not None:
        page = describe(named(name))
        tell(as_json, page, None if as_json else stage_page(page))
        return
    shown = None if as_json else listing(known) if kind == "stage" else parts(kind, known)
    tell(as_json, [describe(cls) for cls in known.values()], shown)
