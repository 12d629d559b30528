"""The space of a model on a collection: against the figures one by one, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from foils.core.errors import DataError
from foils.evaluate import Settings, geometry, space
from little import HashEncoder


def test_figures_are_those_of_all_vectors_where_the_collection_is_small(data, tmp_path):
    model = HashEncoder()
    found = space(data, model, k=3, settings=Settings(cache=tmp_path))
    docs = model.encode(data.corpus.texts(), "document")
    asked = data.positives("test").queries
    queries = model.encode(data.queries.texts(asked), "query")
    figures = found.figures
    assert (found.queries, found.documents) == (len(asked), len(docs))
    assert figures["uniformity_documents"] == pytest.approx(geometry.uniformity(docs), rel=1e-6)
    assert figures["anisotropy_queries"] == pytest.approx(geometry.anisotropy(queries), abs=1e-6)
    assert figures["tower_gap"] == pytest.approx(geometry.tower_gap(queries, docs), abs=1e-6)
    pairs = data.positives("test")
    at = np.searchsorted(asked, pairs.query)
    assert figures["alignment"] == pytest.approx(geometry.alignment(queries[at], docs[pairs.doc]), rel=1e-6)
    unit = geometry.unit(docs)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    counts = np.bincount(np.argsort(-near, axis=1, kind="stable")[:, :3].ravel(), minlength=len(docs))
    assert figures["largest"] == counts.max()
    assert figures["antihubs"] == pytest.approx((counts == 0).mean())
    assert found.to_dict()["figures"] == figures


def test_too_few_documents(data, tmp_path):
    with pytest.raises(DataError, match="at least 2 and 41"):
        space(data, HashEncoder(), k=40, settings=Settings(cache=tmp_path))
