"""The model that a teacher begins as."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from foils.adapters.loading import for_pairs
from foils.adapters.models import resolve, settled
from foils.core.errors import ModelError
from foils.teach.options import TeachOptions


def open_base(base: str | Path, options: TeachOptions, seed: int) -> Any:
    """A ``CrossEncoder`` of one output at its start weights, in float32.

    A base that is no cross-encoder gets a new head, random by the seed. The generator of PyTorch is seeded.

    Args:
        base: see `foils.teach.teach`.
        options: for ``layers``, ``max_length`` and ``loss``.
        seed: of the new head.

    Raises:
        ModelError: it cannot be loaded, is static, or has fewer layers.
    """
    import torch

    place = settled(resolve(base))
    torch.manual_seed(seed)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    kept = {} if options.layers is None else {"config_kwargs": {"num_hidden_layers": _within(place, options.layers)}}
    model = for_pairs(place, **kept).float()
    own = model.max_seq_length
    if options.max_length is not None:
        model.max_seq_length = options.max_length if own is None else min(own, options.max_length)
    # The losses over lists do not tie logits to probabilities: 0 is nothing special to them.
    model.activation_fn = torch.nn.Sigmoid() if options.loss == "pointwise" else torch.nn.Identity()
    return model


def _within(place: str, layers: int) -> int:
    from transformers import AutoConfig

    try:
        there = AutoConfig.from_pretrained(place).num_hidden_layers
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{place}: its layers cannot be counted ({error}). Omit layers.") from error
    if layers > there:
        raise ModelError(f"{place} has {there} layers, not layers={layers}. Give at most {there}.")
    return layers
