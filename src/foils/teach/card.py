"""The README of a trained teacher."""

from __future__ import annotations

from foils.adapters.calibration import Calibration
from foils.teach.job import TeachJob
from foils.train.curve import Curve
from foils.train.dev import METRIC


def model_card(job: TeachJob, calibration: Calibration | None, curve: Curve, best: int) -> str:
    """Say what the model was trained on and how, in Markdown with the metadata block that model hubs read."""
    rows, options = job.plan.rows.report, job.options
    measured = {int(point["step"]): point[METRIC] for point in curve}
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: text-ranking",
        "tags: [sentence-transformers, cross-encoder, reranker, foils]",
        "---",
        "",
        "# Cross-encoder trained with foils",
        "",
        f"Trained on the {job.start['split']} queries of the collection `{job.data.name}`: {rows['rows']:,} (query, "
        f"positive) pairs of {rows['queries']:,} queries, each with up to {options.negatives_per_row} of "
        f"{rows['negatives']:,} mined negatives.",
        "",
        f"- base: `{job.notes['base']}`" + ("" if options.layers is None else f", first {options.layers} layers"),
        f"- loss: {options.loss}, learning rate {options.learning_rate:g}, {job.steps:,} steps planned, weights of "
        f"step {best:,}; {job.model.max_seq_length} tokens a pair",
    ]
    if best in measured:
        lines.append(f"- {METRIC} over the candidates of held-out queries: {measured[best]:.4f}")
    if calibration is not None:
        report = calibration.report
        lines.append(
            f"- probability = sigmoid({calibration.scale:.4f} · logit {calibration.shift:+.4f}) "
            f"(`calibration.json`; foils applies it, `CrossEncoder.predict` does not): among {calibration.population}. "
            f"Expected calibration error {report['ece_before']:.4f} before, {report['ece_after']:.4f} after, "
            f"{report['pairs']:,} pairs"
        )
    return "\n".join(lines) + "\n"
