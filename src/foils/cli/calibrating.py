"""The command that finds margins on labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foils.cli.arguments import named_models
from foils.cli.options import DataOption, Encoders, Json, Seed, opened
from foils.cli.output import tell


def calibrate(
    negatives: Annotated[Path, typer.Argument(metavar="NEG", help="Folder of mined negatives: the candidates.")],
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="With Calibrated('FILE'), which is written; to mine with then.")
    ],
    labels: Annotated[
        str, typer.Option(help="Folder or labels.csv of an audit, or qrels:SPLIT if all its candidates are judged.")
    ],
    data: DataOption = None,
    encoder: Encoders = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find on labels how close to the positive a negative may be, for a false-negative rate below a target."""
    from foils.calibrate import calibrate as find
    from foils.calibrate.pipeline import Cut
    from foils.core.spec import parse
    from foils.pipelines import open_models
    from foils.terminal.calibrating import calibrated

    store, collection = opened(negatives, data)
    stage = parse(pipeline)
    cut = Cut.of(stage, negatives)
    models = open_models(cut.whole, named_models(encoder))
    found = find(store, stage, labels, data=collection, encoders=models, seed=seed)
    tell(as_json, {"out": cut.stage.path, **found.content()}, None if as_json else calibrated(found, cut.stage))
