"""``mine_hard_negatives`` of sentence-transformers: its call and its rows, on this library's engine."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foils.compat import arguments
from foils.compat.arguments import Bounds, Format, Output, Plan, Sampling, Window
from foils.compat.choosing import Chosen, choose
from foils.compat.encoding import Encoding, Prompt, encode
from foils.compat.layouts import table
from foils.compat.report import Report
from foils.compat.scoring import reranker, similarity
from foils.compat.texts import Pairs

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import CrossEncoder, SentenceTransformer


def mine_hard_negatives(
    dataset: Dataset,
    model: SentenceTransformer,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: list[str] | None = None,
    cross_encoder: CrossEncoder | None = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: Sampling = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: Format = "triplet",
    output_scores: bool = False,
    batch_size: int = 32,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: list[str] | bool = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    seed: int = 0,
) -> Dataset:
    """Negatives for a data set of (anchor, positive) pairs, as training rows.

    The arguments, the rows and their order, the printed lines and the errors are those of
    ``sentence_transformers.util.mine_hard_negatives`` (version 6.2). What differs, and why, is in ``docs/compat.md``: a
    cross-encoder that is given is used; a column name that does not exist is an error; copies of a positive in other
    case or spacing are no negatives; random draws depend on ``seed`` alone; cached vectors are those of the same
    weights; lost n-tuples are reported.

    ``range_min`` counts ranks *after* the margins and bounds, as it does there. `foils.stages.Ranks` counts raw ranks.

    Args:
        dataset: a ``datasets.Dataset`` with a column of anchors and one of positives; several rows of an anchor are
            several positives of it.
        model: a ``SentenceTransformer``, or anything with ``encode_query``, ``encode_document`` and ``similarity``.
        anchor_column_name: the first column by default.
        positive_column_name: the second column by default.
        corpus: further documents to find negatives among.
        cross_encoder: its scores take the place of the similarity, for positives and candidates.
        range_min: survivors to skip, best first.
        range_max: depth of the search; derived from the other arguments by default.
        max_score: highest score of a negative.
        min_score: lowest score of a negative.
        absolute_margin: least distance under the lowest positive, in score units.
        relative_margin: the same as a share of the positive's score.
        num_negatives: per anchor.
        sampling_strategy: the best, or a random draw of what the window holds.
        query_prompt_name: a prompt of the model, put before anchors.
        query_prompt: put before anchors; goes before the name.
        corpus_prompt_name: a prompt of the model, put before documents.
        corpus_prompt: put before documents; goes before the name.
        include_positives: leave the positives among the candidates.
        output_format: ``triplet``, ``n-tuple``, ``labeled-pair`` or ``labeled-list``.
        output_scores: with scores; in the labelled formats instead of labels.
        batch_size: for encoding and the cross-encoder.
        faiss_batch_size: queries to search for at a time at most.
        use_faiss: changes nothing but the errors and the derived ``range_max`` on a GPU; the search is our own.
        use_multi_process: encode in several processes, or on the devices named.
        verbose: print statistics.
        cache_folder: where vectors are kept for the next call.
        as_triplets: deprecated, use ``output_format``.
        margin: deprecated, use ``absolute_margin``.
        seed: of the random draws; not an argument of the incumbent.

    Returns:
        A ``datasets.Dataset``: (anchor, positive, negative), (anchor, positive, negative_1 … negative_n),
        (anchor, document, label) or (anchor, documents, labels); ``output_scores`` adds ``scores``, or puts ``score``
        or ``scores`` in the place of the labels.

    Raises:
        ValueError: arguments that do not go together, an empty data set, columns without text.
        ImportError: ``datasets`` is not installed, or FAISS is asked for and is not.
    """
    datasets = _datasets()
    if len(dataset) == 0:
        raise ValueError("The dataset is empty. Please provide a non-empty dataset.")
    if faiss_batch_size <= 0:
        raise ValueError(f"faiss_batch_size must be a positive integer, got {faiss_batch_size}.")
    gpus = arguments.faiss_gpus() if use_faiss else 0
    names = arguments.columns(dataset.column_names, anchor_column_name, positive_column_name)
    bounds = (absolute_margin, relative_margin, max_score, min_score)
    narrowed = (range_min, range_max, *bounds, margin, sampling_strategy) != (0, *[None] * 6, "top")
    output = arguments.output_of(output_format, as_triplets, output_scores, include_positives, narrowed)
    limits = Bounds(arguments.margin_of(margin, absolute_margin), *bounds[1:])
    sampling = arguments.sampling_of(sampling_strategy)

    pairs = Pairs.of(dataset, names, corpus)
    deep = limits.upper or (cross_encoder is not None and min_score is not None)
    most = int(pairs.rows.max())
    window, told = arguments.complete(Window(range_min, range_max, num_negatives), most, deep, gpus > 0)
    report = Report(verbose)
    report.say(*told)
    report.pairs(pairs.rows)

    query, document = Prompt(query_prompt, query_prompt_name), Prompt(corpus_prompt, corpus_prompt_name)
    cache = Path(cache_folder) if cache_folder else None
    how = Encoding(query, document, batch_size, use_multi_process, cache)
    finder = similarity(model, *encode(model, pairs, how, report), faiss_batch_size)
    plan = Plan(window, limits, sampling, include_positives, seed)
    with reranker(cross_encoder, pairs, batch_size, use_multi_process) as judge:
        chosen = choose(pairs, finder, judge, plan, _bar(verbose))
    del finder  # and the vectors with it
    report.say("Negative candidates mined, preparing dataset...")
    rows = table(output.format, pairs, chosen, names, output.scores)
    result = datasets.Dataset(rows, fingerprint=_fingerprint(pairs, chosen, rows.schema))
    _tell(report, pairs, chosen, plan, output, len(result))
    return result


def _tell(report: Report, pairs: Pairs, chosen: Chosen, plan: Plan, output: Output, rows: int) -> None:
    """Statistics over (positive, negative), as the result has them; each positive counts."""
    negative = chosen.scores[pairs.owner]
    keep = chosen.rows[pairs.owner] >= 0
    possible = keep.size if output.format == "triplet" else len(keep)
    if output.format == "n-tuple":
        keep = np.broadcast_to(keep.all(axis=1, keepdims=True), keep.shape)
    elif output.format == "labeled-pair":
        possible = chosen.rows.size + int(pairs.rows.sum())
    report.statistics(chosen.positives, negative[keep], (chosen.positives[:, None] - negative)[keep])
    report.skipped(chosen.skipped, plan.bounds)
    report.missing(possible - rows, possible, plan.window, plan.bounds, output)


def _fingerprint(pairs: Pairs, chosen: Chosen, schema: Any) -> str:
    """What the rows are a function of; the library would pickle all their text to find one."""
    digest = hashlib.blake2b(str(schema).encode(), digest_size=8)
    texts = [buffer for side in (pairs.queries, pairs.docs) for buffer in side.buffers() if buffer is not None]
    for part in (*texts, pairs.positive, pairs.starts, chosen.rows, chosen.scores, chosen.positives):
        digest.update(memoryview(part).cast("B"))
    return digest.hexdigest()


def _datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ImportError("Please install `datasets` to use this function: `pip install datasets`.") from error


def _bar(verbose: bool) -> Any:
    """A progress bar over blocks of queries; ``datasets`` brings tqdm."""
    bar = importlib.import_module("tqdm.auto").tqdm
    return lambda starts: bar(starts, desc="Searching", disable=not verbose)
