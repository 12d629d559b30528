"""Transformers run by OpenVINO on a CPU: a tenth to a fifth faster than PyTorch in the same precision."""

from __future__ import annotations

import warnings
from typing import Any

from foils.adapters.precision import Precision, native_bfloat16
from foils.core.errors import ModelError, need

PREFIX = "openvino:"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def compiled(model: Any, precision: Precision, name: str) -> str:
    """Let OpenVINO do the forward pass of a model's transformer, in place; tokenizing and pooling stay as they are.

    The weights remain in PyTorch, too, for fingerprints. Compiling takes some seconds, so this is for many texts.

    Args:
        model: a ``SentenceTransformer`` in float32 on a CPU that nobody else uses.
        precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the processor has instructions for it.
        name: of the model, for messages.

    Returns:
        What runs it, for the fingerprint: version and precision.

    Raises:
        MissingExtra: openvino is not installed.
        ModelError: no transformer, or one that OpenVINO cannot convert.
    """
    openvino, torch = need("openvino", "openvino"), need("torch", "st")
    transformer: Any = getattr(next(iter(model), None), "model", None)
    if not callable(getattr(model, "tokenizer", None)) or not hasattr(transformer, "forward"):
        raise ModelError(f"{PREFIX}{name}: it has no transformer to run. Give {name!r} without {PREFIX!r}.")
    given = [key for key in _INPUTS if key in model.preprocess(["a text"])]
    example = {key: torch.ones(2, 8, dtype=torch.int64) for key in given}
    transformer.eval()
    narrow = precision == "bfloat16" or (precision == "auto" and native_bfloat16(model.device))
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32"}
    threads = torch.get_num_threads()
    streams = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}  # a batch on each thread, see `in_streams`
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's tracer, about branches that no text takes
            graph = openvino.convert_model(transformer, example_input=example)
        run = openvino.compile_model(graph, "CPU", {**hints, **streams})
    except Exception as error:  # whatever its converter raises for an architecture that it does not know
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{PREFIX}{name}: OpenVINO cannot convert it ({reason}). Give {name!r} itself.") from error
    transformer.forward = _Forward(run, given, need("transformers.modeling_outputs", "st").BaseModelOutput)
    return f"openvino {openvino.__version__} {hints['INFERENCE_PRECISION_HINT']}"


class _Forward:
    """What stands in for the transformer's ``forward``; several threads may call it at once."""

    def __init__(self, run: Any, names: list[str], output: Any) -> None:
        self.run, self.names, self.output = run, names, output
        self.idle: list[Any] = []

    def __call__(self, **features: Any) -> Any:
        torch = need("torch", "st")
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.run.create_infer_request()
        hidden = torch.from_numpy(request.infer([features[name].numpy() for name in self.names])[0])
        self.idle.append(request)
        return self.output(last_hidden_state=hidden)
