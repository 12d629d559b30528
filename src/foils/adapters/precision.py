"""Half-width weights where the machine computes with them natively: half as fast again as float32, or more."""

from __future__ import annotations

from typing import Any, Literal, get_args

from foils.core.errors import ModelError, need

Precision = Literal["auto", "float32", "bfloat16"]


def lowered(model: Any, precision: Precision, name: str) -> Any:
    """The model with its transformer in that precision, changed in place.

    ``bfloat16`` keeps float32's range and 8 bits of its mantissa. Only the transformer computes so: its output is
    widened again before pooling, so that means and norms are taken in float32; so is what enters a cross-encoder's
    head. ``auto`` is bfloat16 where the processor has instructions for it (AVX-512 BF16, AMX, CUDA since Ampere) and
    the model is a transformer in float32; else the model stays as it is. How much that changes the nearest documents,
    benchmarks/encode.py measures for any model.

    Args:
        model: a ``SentenceTransformer`` or ``CrossEncoder`` that nobody else uses.
        precision: what to compute in.
        name: of the model, for messages.

    Raises:
        ModelError: no such precision, or bfloat16 for a model without a transformer.
    """
    torch = need("torch", "st")
    if precision not in get_args(Precision):
        raise ModelError(f"{name}: precision={precision!r}; choose one of: {', '.join(get_args(Precision))}.")
    transformer: Any = next(iter(model), None)
    is_one = callable(getattr(model, "tokenizer", None)) and hasattr(transformer, "register_forward_hook")
    if precision == "float32":
        return model.float() if any(p.dtype != torch.float32 for p in model.parameters()) else model
    if precision == "bfloat16" and not is_one:
        raise ModelError(f"{name} has no transformer whose precision could be lowered. Use precision='float32'.")
    wide = is_one and all(p.dtype == torch.float32 for p in transformer.parameters())
    if precision == "bfloat16" or (wide and native_bfloat16(model.device)):
        transformer.to(torch.bfloat16)
        transformer.register_forward_hook(_widened)
        _keep_head(model, transformer, torch)
    return model


def _keep_head(model: Any, transformer: Any, torch: Any) -> None:
    """Of a cross-encoder, leave the last layer in float32: logits of 8 bits would tie."""
    if not hasattr(model, "num_labels"):
        return
    linear = [part for part in transformer.modules() if isinstance(part, torch.nn.Linear)]
    if linear and linear[-1].out_features == model.num_labels:
        linear[-1].float()
        linear[-1].register_forward_pre_hook(lambda _, inputs: tuple(value.float() for value in inputs))


def native_bfloat16(device: Any) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    torch = need("torch", "st")
    if device.type == "cuda":
        # Older cards emulate it, which the plain question counts as support.
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    if device.type != "cpu":
        return False
    # A function that older versions of torch lack; without it nothing is known and nothing lowered.
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _widened(module: Any, inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    floating = {name: value for name, value in features.items() if getattr(value, "is_floating_point", bool)()}
    return {**features, **{name: value.float() for name, value in floating.items()}}
