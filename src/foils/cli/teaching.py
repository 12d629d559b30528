"""The command that trains teachers."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foils.cli.arguments import named_models, named_values, whole
from foils.cli.options import Data, Encoders, Json, Out, Seed, checked, loaded
from foils.cli.output import tell
from foils.core.errors import SpecError


def teach(
    data: Data,
    model: Annotated[str, typer.Option("--model", "-m", help="To build on: minilm, a transformer, a cross-encoder.")],
    out: Out,
    negatives: Annotated[Path | None, typer.Option(help="Mined already; or else --mine.")] = None,
    mine: Annotated[
        str | None, typer.Option(metavar="PIPELINE", help="Stages, or a recipe's name or file, to mine with first.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Whose queries to train on; train, or that of --negatives.")] = None,
    encoder: Encoders = None,
    loss: Annotated[str | None, typer.Option(help="pointwise, listwise, LambdaLoss, RankNetLoss or another.")] = None,
    layers: Annotated[int | None, typer.Option(help="Build on the first layers only, for speed.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training rows, also a part of one.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step: a positive with its negatives.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other field of TeachOptions.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Train a cross-encoder with calibrated scores, for mining and distillation; the same command goes on."""
    from foils.mine import Miner
    from foils.pipelines import open_models, pipeline_of
    from foils.store import Negatives
    from foils.teach import TeachOptions
    from foils.teach import teach as run
    from foils.terminal import progress, taught

    length = {"epochs": whole(epochs), "batch_size": batch_size}
    given = {"loss": loss, "layers": layers, **length, "learning_rate": learning_rate, **named_values(option)}
    options = TeachOptions.read({name: value for name, value in given.items() if value is not None})
    if (negatives is None) == (mine is None):
        raise SpecError("teach needs --negatives FOLDER or --mine PIPELINE, one of the two.")
    if negatives is not None and encoder:
        raise SpecError("--encoder is for the models of --mine; with --negatives nothing is mined.")
    collection = loaded(data)
    with progress() as shown:
        if mine is None:
            found = Negatives.open(negatives or "")
        else:
            stage, asked = pipeline_of(mine), checked(split or "train", collection)
            models = open_models(stage, named_models(encoder), precision="auto")
            miner = Miner(progress=shown)
            found = miner.mine(collection, stage, split=asked, seed=seed, encoders=models, out=out / "negatives")
        result = run(collection, found, model, out=out, seed=seed, options=options, split=split)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one speaks
    calibration = None if result.calibration is None else asdict(result.calibration)
    record = {"out": str(out), "model": str(result.model), **result.record, "calibration": calibration}
    tell(as_json, record, None if as_json else taught(result, None if mine is None else found))
