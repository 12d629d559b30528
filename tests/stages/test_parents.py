import json

import numpy as np
import pytest

import foils
from foils.core.errors import DataError
from foils.stages import Context
from foils.stages.parents import parents


def make(folder, metadata, titles=None):
    (folder / "qrels").mkdir(parents=True)
    rows = [
        {"_id": f"d{i}", "text": f"text number {i}", "title": titles[i] if titles else "", "metadata": m}
        for i, m in enumerate(metadata)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a question"}) + "\n")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
    data = foils.load(folder)
    rows = data.query_rows("train")
    return Context(data, "train", 0, rows, rows, {}, folder)


def test_parents_and_places_in_corpus_order(tmp_path):
    metadata = [{"parent": "b"}, {"parent": "a"}, {}, {"parent": "b"}, {"parent": 7}, {"parent": "a"}, {"parent": ""}]
    found = parents(make(tmp_path / "x", metadata))
    assert found.code.tolist() == [0, 1, -1, 0, 2, 1, -1]
    assert found.position.tolist() == pytest.approx([0, 0, np.nan, 1, 0, 1, np.nan], nan_ok=True)
    assert found.count == 3
    assert found.groups.members(np.array([1]))[1].tolist() == [1, 5]


def test_given_positions_count_if_all_have_one(tmp_path):
    full = [{"parent": "a", "position": 9}, {"parent": "a", "position": 2.5}, {"parent": "a", "position": -1}, {}]
    found = parents(make(tmp_path / "x", full))
    assert found.position[:3].tolist() == [9, 2.5, -1]
    assert found.groups.members(np.array([0]))[1].tolist() == [2, 1, 0]
    holes = [{"parent": "a", "position": 9}, {"parent": "a"}, {"parent": "a", "position": True}]
    assert parents(make(tmp_path / "y", holes)).position.tolist() == [0, 1, 2]


def test_titles_and_other_keys(tmp_path):
    ctx = make(tmp_path / "x", [{"doc": [1]}, {"doc": [1]}, {"doc": [2]}, {}], ["T", "", "T", "U"])
    assert parents(ctx, "title").code.tolist() == [0, -1, 0, 1]
    assert parents(ctx, "doc").code.tolist() == [0, 0, 1, -1]
    assert parents(ctx, "doc") is parents(ctx, "doc")


def test_a_key_that_nobody_has_is_refused_with_those_that_exist(tmp_path):
    ctx = make(tmp_path / "x", [{"doc": 1, "url": "u"}, {}])
    with pytest.raises(DataError, match=r"'parent' in .*'doc', 'url'"):
        parents(ctx)
    with pytest.raises(DataError, match="no document has a title"):
        parents(ctx, "title")
