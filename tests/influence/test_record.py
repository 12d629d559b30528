"""What a run wrote down about its negatives, read again and shown."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from foils.core.errors import StoreError
from foils.influence import Influence, listed, used
from foils.influence.record import write
from foils.terminal import console, influences


@pytest.fixture
def written(data, tmp_path):
    """Three pairs of two queries of the little collection."""
    share = {"mass_share": 0.5, "gradient_share": 0.25, "times_share": 0.5}
    group = {
        "name": "bm25",
        "times": 4,
        "mass": 1.0,
        "gradient": 2.0,
        **share,
        "mean_mass": 0.25,
        "gap": 0.1,
        "above": 0.5,
    }
    entry = {"times": 3, "mass": 0.5, "gradient": 1.0, "mass_share": 0.2, "gradient_share": 0.1}
    record = {
        "collection": data.name,
        "data": data.fingerprint,
        "split": "train",
        "steps": [5, 20],
        "side": "document",
        "temperature": 0.05,
        "pairs": 3,
        "total": {"times": 8, "mass": 2.0, "gradient": 8.0},
        "sources": [group, {**group, "name": "MemoryBank", "gradient": None, "gradient_share": None}],
        "tiers": [{**group, "name": "1-5"}],
        "concentration": {"pairs": {"number": 3, "share": 0.01, "gradient_share": 0.6}},
        "documents": [{"doc_id": "d5", **entry, "mined": 0.4}],
        "queries": [{"query_id": "q1", **entry}],
    }
    text = lambda *values: pa.array(values).dictionary_encode()  # noqa: E731
    pairs = pa.table(
        {
            "query_id": text("q2", "q1", "q1"),
            "doc_id": text("d7", "d9", "d5"),
            "times": [1, 2, 3],
            "mass": [0.1, 0.2, 0.3],
            "gradient": [0.5, 4.0, 1.0],
            "gap": pa.array([0.1, -0.2, 0.3], pa.float32()),
            "above": pa.array([0.0, 1.0, 0.0], pa.float32()),
            "source": text("bm25", "own", "bm25"),
            "rank": pa.array([3.0, None, 9.0], pa.float32()),
        }
    )
    write(tmp_path / "influence", record, pairs)
    return tmp_path


def test_pairs_come_back_sorted(written, data):
    pairs, source = used(Influence.open(written), data)
    ids = list(zip(data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc), strict=True))
    assert ids == [("q1", "d5"), ("q1", "d9"), ("q2", "d7")]
    assert pairs["gradient"].tolist() == [1.0, 4.0, 0.5]
    assert source.tolist() == ["bm25", "own", "bm25"]
    assert np.isnan(pairs["rank"]).tolist() == [False, True, False]
    assert used(Influence.open(written / "influence"), data)[0]["times"].tolist() == [3.0, 2.0, 1.0]


def test_the_most_influential_have_texts(written, data):
    found = listed(Influence.open(written), data, 2)
    assert [pair["doc_id"] for pair in found["top"]] == ["d9", "d5"]
    assert found["top"][0]["gradient_share"] == 0.5
    assert found["top"][0]["rank"] is None
    positives = data.positives("train")
    first = positives.doc[positives.query == data.queries.rows_of(["q1"])[0]][0]
    assert found["top"][0]["positive"] == data.corpus.texts([first])[0]
    assert found["documents"][0]["text"] == data.corpus.texts(data.corpus.rows_of(["d5"]))[0]
    json.dumps(found, allow_nan=False)


def test_it_reads_in_80_columns(written, data):
    out = console()
    with out.capture() as shown:
        out.print(influences(listed(Influence.open(written), data, 2)))
    text = shown.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "counting began at step 5" in text
    assert "MemoryBank" in text
    assert "50.000 %" in text


def test_what_is_not_there(written, data, tmp_path):
    with pytest.raises(StoreError, match=r"no training run here"):
        Influence.open(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(StoreError, match=r"Train with --influence"):
        Influence.open(tmp_path / "run")
    (tmp_path / "phased" / "phases" / "1-warm" / "influence").mkdir(parents=True)
    (tmp_path / "phased" / "phases" / "1-warm" / "influence" / "influence.json").write_text("{}")
    with pytest.raises(StoreError, match=r"phases/1-warm"):
        Influence.open(tmp_path / "phased")
    with pytest.raises(StoreError, match=r"this version of foils reads"):
        Influence.open(tmp_path / "phased" / "phases" / "1-warm")
    (written / "influence" / "pairs.parquet").write_bytes(b"PAR")
    with pytest.raises(StoreError, match=r"cannot be read"):
        Influence.open(written).pairs()
    (written / "influence" / "influence.json").write_text("{")
    with pytest.raises(StoreError, match=r"not JSON"):
        Influence.open(written)


def test_another_collection_is_refused(written, data, tmp_path):
    import foils
    from little import write_jsonl

    folder = tmp_path / "other"
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": "x", "title": "", "text": "one"}])
    write_jsonl(folder / "queries.jsonl", [{"_id": "y", "text": "two"}])
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\ny\tx\t1\n")
    with pytest.raises(StoreError, match=r"--data"):
        used(Influence.open(written), foils.load(folder))
