"""The two sides of a sentence-transformers model whose queries and documents go different ways (`Router`)."""

from __future__ import annotations

from typing import Any

from foils.adapters.protocols import Kind


def side(model: Any, kind: Kind) -> Any:
    """The model as texts of one kind see it: that side's modules alone, shared with the model, not copied.

    Whatever is asked of it (vectors, fingerprint, limit, tokenizer) is then asked of these modules only. So a model
    whose document side has not changed has the document fingerprint that it had before, and no vector is made again.

    Args:
        model: a ``SentenceTransformer``.
        kind: of the texts.

    Returns:
        The model itself if nothing in it routes by kind.
    """
    modules = [part for module in model for part in _route(module, kind)]
    if all(a is b for a, b in zip(modules, model, strict=False)):
        return model
    alone = type(model)(
        modules=modules,
        device=str(model.device),
        prompts=dict(model.prompts),
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
        truncate_dim=model.truncate_dim,
    )
    alone.training = model.training
    return alone


def _route(module: Any, kind: Kind) -> list[Any]:
    routes = getattr(module, "sub_modules", None)
    if type(module).__name__ != "Router" or module.route_mappings or routes is None or kind not in routes:
        return [module]
    return [part for inner in routes[kind] for part in _route(inner, kind)]
