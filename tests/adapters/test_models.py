import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

from foils.adapters import loading, models, static
from foils.adapters.callables import CallableEncoder
from foils.adapters.models import load_encoder, load_model, load_reranker, resolve
from foils.adapters.precomputed import Precomputed
from foils.adapters.static import frequency_weights, reduced
from foils.core.errors import MissingExtra, ModelError

pytest.importorskip("sentence_transformers")


class Judge:
    name, scale, fingerprint = "judge", "logit", "j"

    def score(self, queries, docs):
        return np.zeros(len(queries), np.float32)


def test_folders_and_hub_names_resolve_without_network(tmp_path):
    assert resolve(tmp_path) == str(tmp_path)
    assert resolve("intfloat/e5-base-v2") == "intfloat/e5-base-v2"
    for wrong in ("./nowhere", "runs/a/b", "/nowhere/model", "what is this", Path("nowhere")):
        with pytest.raises(ModelError, match=r"no model folder.*minilm, static"):
            resolve(wrong)


def test_short_names_need_their_package(monkeypatch):
    def missing(module, extra):
        raise MissingExtra(module, extra)

    monkeypatch.setattr(models, "need", missing)
    with pytest.raises(MissingExtra, match=r"foils\[demo\]"):
        load_encoder("minilm")


def test_whatever_is_an_encoder(tmp_path):
    np.save(tmp_path / "queries.npy", np.ones((2, 3)))
    found = load_encoder(f"vectors:{tmp_path}")
    assert isinstance(found, Precomputed)
    assert load_encoder(found) is found
    assert isinstance(load_encoder(lambda texts: np.ones((len(texts), 2))), CallableEncoder)
    with pytest.raises(ModelError, match="max_length=3"):
        load_encoder(found, max_length=3)
    with pytest.raises(ModelError, match="int is no bi-encoder"):
        load_encoder(3)
    judge = Judge()
    assert load_reranker(judge) is judge
    with pytest.raises(ModelError, match="int is no cross-encoder"):
        load_reranker(3)


def test_a_hub_that_does_not_answer_is_an_error_at_once(monkeypatch):
    hub = importlib.import_module("huggingface_hub")

    def silent(self, name, timeout):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(hub.HfApi, "model_info", silent)
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"'nobody/no-such-model'.*hub cannot be reached.*'minilm' or 'static'"):
        load_encoder("nobody/no-such-model")
    assert time.monotonic() - start < 10


def test_a_model_that_the_hub_does_not_have(monkeypatch):
    hub = importlib.import_module("huggingface_hub")

    class Missing(hub.errors.RepositoryNotFoundError):
        def __init__(self):
            Exception.__init__(self, "404")

    def absent(self, name, timeout):
        raise Missing

    monkeypatch.setattr(hub.HfApi, "model_info", absent)
    with pytest.raises(ModelError, match="the hub has no such model"):
        load_reranker("nobody/no-such-model")


def saved(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_families_are_not_mixed_up(tmp_path):
    """sentence-transformers loads either as the other, with random weights for what is missing."""
    bi = saved(tmp_path / "bi", modules=[], config={"architectures": ["BertModel"]})
    bare = saved(tmp_path / "bare", config={"architectures": ["BertForMaskedLM"]})
    new = saved(tmp_path / "new", modules=[], config_sentence_transformers={"model_type": "CrossEncoder"})
    old = saved(tmp_path / "old", config={"architectures": ["BertForSequenceClassification"]})
    for folder in (bi, bare):
        with pytest.raises(ModelError, match=r"is a bi-encoder.*at random"):
            load_reranker(folder)
    for folder in (new, old):
        with pytest.raises(ModelError, match="is a cross-encoder"):
            load_encoder(folder)


def test_folders_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="no model can be loaded from this folder"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config.json: not JSON"):
        load_encoder(tmp_path)


def test_reduction_is_a_rotation_without_the_leading_directions():
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((200, 6)) * [9, 5, 3, 2, 1, 0.5]).astype(np.float32)
    got = reduced(vectors, 3, 2)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(got), np.abs(centred @ axes[2:5].T), atol=1e-8)
    np.testing.assert_allclose(reduced(vectors[::-1], 3, 2)[::-1], got, atol=1e-8)  # signs do not depend on the order


def test_weights_rise_with_the_rank():
    weights = frequency_weights(1000, 1e-4)
    assert (np.diff(weights) > 0).all()
    share = 1 / np.arange(2, 1002)
    assert weights[9] == pytest.approx(1e-4 / (1e-4 + share[9] / share.sum()))


@pytest.mark.slow
def test_static_model_is_built_once_and_knows_what_is_alike(tmp_path, monkeypatch):
    every = static._live
    monkeypatch.setattr(static, "_live", lambda tokenizer: every(tokenizer)[1000:5000])  # words: enough to try it on
    monkeypatch.setattr(models, "cache_root", lambda: tmp_path)
    encoder = load_encoder("static")
    assert encoder.dim == 256
    texts = ["the doctor gave him medicine", "a hospital for the sick", "the army began the war"]
    vectors = encoder.encode(texts, "document")
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    place = Path(resolve("static"))
    assert place.is_relative_to(tmp_path / "models")
    made = place.stat().st_mtime_ns
    assert Path(resolve("static")).stat().st_mtime_ns == made
    again = static.static_model(Path(resolve("minilm")), tmp_path / "again")
    assert again.name == place.name
    files = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())
    assert all((again / file).read_bytes() == (place / file).read_bytes() for file in files)


@pytest.mark.slow
def test_minilm_is_itself():
    encoder = load_encoder("minilm", max_length=64)
    texts = ["How do I treat a cold?", "Remedies for catching flu", "The stock market fell on Monday"] * 2
    vectors = encoder.encode(texts, "query")
    np.testing.assert_allclose(vectors, load_model("minilm").encode(texts, normalize_embeddings=True), atol=1e-5)
    assert encoder.name == "minilm"
    with pytest.raises(ModelError, match="is a bi-encoder"):
        load_reranker("minilm")


def test_loading_leaves_the_progress_bars_as_they_were(tmp_path):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    with pytest.raises(ModelError):
        loading.load(str(tmp_path), "SentenceTransformer")
    assert logging.is_progress_bar_enabled() == before
