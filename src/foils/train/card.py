"""The README of a trained model."""

from __future__ import annotations

from foils.train.curve import Curve
from foils.train.dev import METRIC
from foils.train.job import Job


def model_card(job: Job, curve: Curve, best: int) -> str:
    """Say what the model was trained on and how, in Markdown with the metadata block that model hubs read."""
    rows, spec, options = job.plan.rows.report, job.spec, job.options
    measured = {int(point["step"]): point[METRIC] for point in curve}
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [sentence-transformers, sentence-similarity, feature-extraction, dense-retrieval, foils]",
        "---",
        "",
        "# Bi-encoder trained with foils",
        "",
        f"Trained on the {spec.split} queries of the collection `{job.data.name}`: {rows['rows']:,} (query, positive) "
        f"rows of {rows['queries']:,} queries, {rows['negatives']:,} mined negatives.",
        "",
        f"- contrast: `{spec.contrast}`",
        f"- loss: `{spec.loss}`",
        f"- batches: `{spec.batches}` of {options.batch_size} rows on {job.plan.processes} process(es)",
        f"- learning rate {options.learning_rate:g}, {job.steps:,} steps planned, weights of step {best:,}",
    ]
    if spec.contrast.frozen():
        lines.append("- two towers: queries were trained, documents keep the vectors that they had")
    if best in measured:
        before = f" (start model {measured[0]:.4f})" if 0 in measured else ""
        lines.append(f"- {METRIC} on held-out queries, against a sample of the corpus: {measured[best]:.4f}{before}")
    return "\n".join(lines) + "\n"
