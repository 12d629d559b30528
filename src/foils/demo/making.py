"""Make the demo collection: choose packages, unite what is the same, divide, write."""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from foils.core.cache import publish
from foils.core.errors import DataError
from foils.core.noise import key_of
from foils.core.text import normalised
from foils.demo.docstrings import Described, Source, described, python_sources

SHARES = {"test": 0.20, "dev": 0.05}  # of the documents; the rest is train
PACKAGE_BYTES = 5_000_000  # of source that is read of one package, so that no package is most of the collection
BYTES_PER_DOC = 6_000  # of source, about: what a small collection has to read
ENOUGH = 0.97  # of max_docs
MIN_DOCS = 100

Progress = Callable[[int, int], None]
Pair = tuple[str, str]
Splits = dict[str, list[Pair]]


@dataclass
class _Made:
    """Documents, queries and which belongs to which, with the package that each came from."""

    docs: dict[str, tuple[str, Described]] = field(default_factory=dict)  # normalised text -> id, object
    queries: dict[str, tuple[str, str]] = field(default_factory=dict)  # normalised summary -> id, summary
    pairs: dict[Pair, None] = field(default_factory=dict)  # (normalised summary, normalised text), in order
    packages_of: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    ids: Counter[str] = field(default_factory=Counter)


def build(
    out: str | Path, *, max_docs: int | None = None, seed: int = 0, progress: Progress | None = None
) -> dict[str, int]:
    """Build the demo collection as a BEIR folder.

    Reads the standard library and the installed packages of the running interpreter; tests, private objects and
    vendored copies are left out. A document with the same normalised text as an earlier one is that document; objects
    with the same summary are several positives of one query. Whole packages are train, dev or test (about 75, 5 and
    20 % of the documents), so test objects are unseen; a summary or text that also occurs in a test package is no
    training pair.

    Args:
        out: folder to make: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/*.tsv``, ``README.md``, ``counts.json``.
        max_docs: at most so many documents, from packages that are drawn by hash; default: all.
        seed: another seed, another division (and draw) of packages.
        progress: called with the number of files that are read and of all that may be.

    Returns:
        Counts, as in ``counts.json``: documents, queries, files, and of each split the queries and positives. The same
        installation, ``max_docs`` and ``seed`` give the same bytes.

    Raises:
        DataError: ``out`` is not empty or ``max_docs`` is below 100.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError("exists and is not empty.", file=folder, remedy="Name a new folder.")
    if max_docs is not None and max_docs < MIN_DOCS:
        raise DataError(f"max_docs is {max_docs}; the least is {MIN_DOCS}.", remedy="Ask for more documents.")
    made, counts = _collect(_by_package(python_sources(), max_docs, seed), max_docs, progress)
    if not made.docs:
        remedy = "Install some packages, for example: pip install 'foils[demo]'"
        raise DataError("this Python has no documentation strings.", remedy=remedy)
    splits = _split(made, seed)
    for split, pairs in splits.items():
        counts |= {f"{split}_queries": len({query for query, _ in pairs}), f"{split}_positives": len(pairs)}
    queries = {query for pairs in splits.values() for query, _ in pairs}
    counts = {"documents": len(made.docs), "queries": len(queries), **counts}
    if folder.exists():
        folder.rmdir()
    publish(folder, lambda partial: _write(partial, made, splits, counts))
    return counts


def _by_package(sources: Iterable[Source], max_docs: int | None, seed: int) -> list[list[Source]]:
    """Packages in an order drawn by hash; of a large one, files drawn by hash up to a number of bytes."""
    packages: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        packages[source.package].append(source)
    # Of a small collection no package should be more than a quarter.
    limit = PACKAGE_BYTES if max_docs is None else min(PACKAGE_BYTES, max_docs * BYTES_PER_DOC // 4)
    chosen = []
    for name in sorted(packages, key=lambda name: key_of(f"draw/{seed}/{name}")):
        kept, size = [], 0
        for source in sorted(packages[name], key=lambda s: key_of(f"file/{seed}/{s.module}")):
            if size + source.size <= limit:
                kept.append(source)
                size += source.size
        chosen.append(sorted(kept, key=lambda s: s.module))
    return chosen


def _collect(
    packages: list[list[Source]], max_docs: int | None, progress: Progress | None
) -> tuple[_Made, dict[str, int]]:
    """Read packages until there are enough documents; one that would be too many is left out."""
    made, counts = _Made(), Counter({"files_read": 0, "files_unreadable": 0, "objects": 0})
    total, done = sum(map(len, packages)), 0
    for sources in packages:
        items: list[Described] = []
        for source in sources:
            items += _read(source, counts)
            done += 1
            if progress is not None:
                progress(done, total)
        fresh = {text for item in items if (text := normalised(item.rest)) not in made.docs}
        if max_docs is not None and len(made.docs) + len(fresh) > max_docs:
            continue
        counts["objects"] += len(items)
        for item in items:
            _add(made, item)
        if max_docs is not None and len(made.docs) >= 0.97 * max_docs:
            break
    if progress is not None and done < total:
        progress(total, total)
    return made, dict(counts)


def _read(source: Source, counts: Counter[str]) -> list[Described]:
    counts["files_read"] += 1
    try:
        return described(source.module, source.path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        counts["files_unreadable"] += 1
        return []


def _add(made: _Made, item: Described) -> None:
    query, doc = normalised(item.summary), normalised(item.rest)
    if doc not in made.docs or query not in made.queries:
        made.ids[item.id] += 1
        id_ = item.id if made.ids[item.id] == 1 else f"{item.id}~{made.ids[item.id]}"
        made.docs.setdefault(doc, (id_, item))
        made.queries.setdefault(query, (id_, item.summary))
    made.pairs[query, doc] = None
    made.packages_of["query", query].add(item.package)
    made.packages_of["doc", doc].add(item.package)


def _split(made: _Made, seed: int) -> Splits:
    """The pairs of each split, as ids.

    Packages in an order drawn by hash fill test, then dev; one that does not fit is train. A query is in the most
    protected split (test, dev, train) that it occurs in; a pair whose document is of a more protected one is left out.
    """
    sizes = Counter(item.package for _, item in made.docs.values())
    room = {split: share * len(made.docs) for split, share in SHARES.items()}
    split_of = {}
    for package in sorted(sizes, key=lambda name: key_of(f"split/{seed}/{name}")):
        split = next((s for s in room if sizes[package] <= room[s]), "train")
        split_of[package] = split
        if split in room:
            room[split] -= sizes[package]
    order = {split: rank for rank, split in enumerate([*SHARES, "train"])}

    def place(side: str, key: str) -> str:
        return min((split_of.get(package, "train") for package in made.packages_of[side, key]), key=order.__getitem__)

    splits: Splits = {"train": [], "dev": [], "test": []}
    for query, doc in made.pairs:
        split = place("query", query)
        if order[place("doc", doc)] >= order[split]:
            splits[split].append((made.queries[query][0], made.docs[doc][0]))
    return splits


def _write(folder: Path, made: _Made, splits: Splits, counts: dict[str, int]) -> None:
    used = {query for pairs in splits.values() for query, _ in pairs}
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for id_, item in made.docs.values():
            metadata = {"module": item.module, "object": item.name, "kind": item.kind, "package": item.package}
            row = {"_id": id_, "text": item.rest, "metadata": metadata}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for id_, summary in made.queries.values():
            if id_ in used:
                file.write(json.dumps({"_id": id_, "text": summary}, ensure_ascii=False) + "\n")
    (folder / "qrels").mkdir()
    for split, pairs in splits.items():
        if pairs:
            text = "query-id\tcorpus-id\tscore\n" + "".join(f"{query}\t{doc}\t1\n" for query, doc in pairs)
            (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    (folder / "counts.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(made, list(splits), counts), encoding="utf-8")


def _readme(made: _Made, splits: list[str], counts: dict[str, int]) -> str:
    largest = Counter(item.package for _, item in made.docs.values()).most_common(12)
    packages = ", ".join(f"{name} {count:,}" for name, count in largest)
    rows = "\n".join(f"| {s} | {counts[f'{s}_queries']:,} | {counts[f'{s}_positives']:,} |" for s in splits)
    return f"""# Documentation of an installed Python

Made by `foils demo` from the documentation strings of Python {platform.python_version()}: its standard library and the
packages that were installed. Query: the first paragraph. Document: the rest. Module and object are metadata. Objects
with the same summary are several positives of one query.

{counts["documents"]:,} documents. Splits are whole packages: test objects are unseen in training.

| split | queries | positives |
|---|---|---|
{rows}

Most documents: {packages}.

The texts have the licences of their packages.
"""
