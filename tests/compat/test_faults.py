"""What we do otherwise than the incumbent, and that nothing else changes; S1 to S7 are its silent faults."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from datasets import Features, List, Value
from sentence_transformers import SentenceTransformer
from sentence_transformers import util as theirs
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from compat.stub import PAIRS, StubCrossEncoder, StubModel, data, mine
from foils.compat import mine_hard_negatives
from foils.core.errors import ModelError


@pytest.fixture
def static() -> SentenceTransformer:
    """A model with weights that is made in no time."""
    words = {word: i for i, word in enumerate(["[UNK]", "t0", "t1", "t2", "question", "answer", *map(str, range(12))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")


class TestS1Cache:
    def test_second_call_encodes_nothing(self, static, tmp_path, monkeypatch):
        first = mine(data(), static, cache_folder=str(tmp_path))
        assert len(list(tmp_path.glob("query_embeddings_*.npy"))) == 1
        assert len(list(tmp_path.glob("corpus_embeddings_*.npy"))) == 1
        monkeypatch.setattr(static, "encode", lambda *_, **__: pytest.fail("encoded again"))
        assert mine(data(), static, cache_folder=str(tmp_path))[:] == first[:]

    def test_other_weights_other_vectors(self, static, tmp_path):
        mine(data(), static, cache_folder=str(tmp_path))
        with torch.no_grad():
            static[0].embedding.weight.mul_(torch.linspace(-3, 3, 8))
        fresh = mine(data(), static)
        assert mine(data(), static, cache_folder=str(tmp_path))[:] == fresh[:]
        assert len(list(tmp_path.iterdir())) == 4

    @pytest.mark.parametrize("change", [{"query_prompt": "a "}, {"corpus_prompt": "a "}])
    def test_another_prompt_another_file(self, static, tmp_path, change):
        mine(data(), static, cache_folder=str(tmp_path))
        mine(data(), static, cache_folder=str(tmp_path), **change)
        assert len(list(tmp_path.iterdir())) == 3

    def test_another_corpus_another_file(self, static, tmp_path):
        mine(data(), static, cache_folder=str(tmp_path))
        mine(data(), static, cache_folder=str(tmp_path), corpus=["t0 answer 99"])
        assert sorted(path.name.split("_")[0] for path in tmp_path.iterdir()) == ["corpus", "corpus", "query"]

    def test_a_model_without_weights_is_told_by_what_it_computes(self, tmp_path):
        mine(data(), StubModel(), cache_folder=str(tmp_path))
        same = StubModel()
        mine(data(), same, cache_folder=str(tmp_path))
        assert max(len(texts) for _, texts, _ in same.calls) <= 8
        mine(data(), StubModel(version="new"), cache_folder=str(tmp_path))
        assert len(list(tmp_path.iterdir())) == 4

    def test_lines(self, static, tmp_path, capsys):
        for _ in range(2):
            mine(data(), static, cache_folder=str(tmp_path), verbose=True)
        said = capsys.readouterr().out
        assert [said.count(f"[Cache] {what} embeddings") for what in ("Saved query", "Saved corpus")] == [1, 1]
        assert "[Cache] Loaded query embeddings from" in said
        assert "(shape=(12, 8))" in said


class TestS2CrossEncoder:
    def test_is_used_without_any_bound(self):
        judge = StubCrossEncoder()
        found = mine(data(), StubModel(), cross_encoder=judge, output_scores=True, num_negatives=4, range_max=8)
        assert judge.pairs
        expected = judge.predict(list(zip(found["query"], found["negative"], strict=True)), convert_to_tensor=True)
        np.testing.assert_allclose([row[1] for row in found["scores"]], expected, atol=1e-6)

    def test_does_not_see_what_cannot_be_chosen(self):
        judge = StubCrossEncoder()
        mine(data(), StubModel(), cross_encoder=judge, max_score=9.0)
        known = set(zip(*PAIRS.values(), strict=True))
        assert len(judge.pairs) == len(set(judge.pairs))
        assert known <= set(judge.pairs)

    def test_scores_that_are_none(self):
        class Broken(StubCrossEncoder):
            def predict(self, pairs, **_):
                return torch.full((len(pairs),), torch.nan)

        with pytest.raises(ModelError, match="NaN"):
            mine(data(), StubModel(), cross_encoder=Broken())


class TestS3Columns:
    @pytest.mark.parametrize("argument", ["anchor_column_name", "positive_column_name"])
    def test_unknown_name(self, argument):
        with pytest.raises(ValueError, match=rf"{argument}='qury'.*'query', 'answer'\. Did you mean 'query'"):
            mine(data(), StubModel(), **{argument: "qury"})

    def test_one_column_for_both(self):
        with pytest.raises(ValueError, match="'answer' cannot be both"):
            mine(data(), StubModel(), anchor_column_name="answer")

    def test_no_text(self):
        with pytest.raises(ValueError, match="'id' holds int64, not text"):
            mine(data(id=[1, 2], answer=["a", "b"]), StubModel())
        with pytest.raises(ValueError, match=r"'answer' has no text in 1 rows, the first is row 1"):
            mine(data(query=["a", "b"], answer=["c", None]), StubModel())

    def test_names_in_any_order(self):
        turned = data(answer=PAIRS["answer"], query=PAIRS["query"])
        found = mine(turned, StubModel(), anchor_column_name="query", positive_column_name="answer")
        assert found[:] == mine(data(), StubModel())[:]


class TestS4Copies:
    def test_are_no_negatives_and_take_no_place(self):
        copies = [f"T{i % 3}   ANSWER {i}" for i in range(12)]
        model = StubModel()
        vectors = model._encode

        def folded(side, texts, prompt, options):
            return vectors(side, [" ".join(text.casefold().split()) for text in texts], prompt, options)

        model._encode = folded
        clean = mine(data(), model, output_format="labeled-pair", num_negatives=2)
        found = mine(data(), model, output_format="labeled-pair", num_negatives=4, corpus=copies)
        rows = zip(found["query"], found["answer"], found["label"], strict=True)
        assert not {(q.split()[2], a.split()[2]) for q, a, label in rows if not label} & {
            (str(i),) * 2 for i in range(12)
        }
        assert found["label"].count(0) == 4 * 12
        # Other queries' positives and their copies stay: each clean negative is there, in both spellings.
        best = {(q, a) for q, a, label in zip(*clean[:].values(), strict=True) if not label}
        assert best <= set(zip(found["query"], found["answer"], strict=True))

    def test_stay_with_include_positives(self):
        found = mine(data(), StubModel(), include_positives=True, num_negatives=12)
        assert len(found) == 12
        assert all(row["answer"] in [row[f"negative_{i}"] for i in range(1, 13)] for row in found)


class TestS5Seed:
    def test_draws_depend_on_the_seed_alone(self):
        asked = {"sampling_strategy": "random", "num_negatives": 3, "range_max": 10}
        first = mine(data(), StubModel(), **asked)
        again = mine(data(), StubModel(), **asked, faiss_batch_size=1)
        assert first[:] == again[:]
        assert first[:] != mine(data(), StubModel(), **asked, seed=1)[:]

    def test_draws_are_uniform(self):
        counts: dict[str, int] = {}
        for seed in range(300):
            found = mine(data(), StubModel(), sampling_strategy="random", num_negatives=2, range_max=6, seed=seed)
            for row in found.select(range(2)):
                counts[row["negative"]] = counts.get(row["negative"], 0) + 1
        assert len(counts) == 6
        assert max(abs(count - 100) for count in counts.values()) < 45  # 5 standard deviations


class TestS6ShortTuples:
    def test_are_reported_without_verbose(self, caplog, capsys):
        with caplog.at_level(logging.WARNING):
            found = mine(data(), StubModel(), output_format="n-tuple", num_negatives=5, relative_margin=0.6)
        missing = 12 - len(found)
        assert missing > 0
        assert f"Could not find enough negatives for {missing} samples" in caplog.text
        assert not capsys.readouterr().out

    def test_nothing_to_report(self, caplog):
        mine(data(), StubModel(), output_format="n-tuple")
        assert not caplog.text


def test_s7_range_min_counts_survivors():
    everything = mine(data(), StubModel(), relative_margin=0.3, num_negatives=4, range_max=10)
    later = mine(data(), StubModel(), relative_margin=0.3, num_negatives=3, range_min=1, range_max=10)
    for query in PAIRS["query"]:
        first, second = (t.filter(lambda row, q=query: row["query"] == q)["negative"] for t in (everything, later))
        assert list(first)[1:] == list(second)


def test_a_similarity_of_its_own_is_asked_in_blocks():
    class Manhattan(StubModel):
        seen: list[int]

        def similarity(self, a, b):
            self.seen.append(len(a))
            return theirs.manhattan_sim(a, b)

        similarity_pairwise = staticmethod(theirs.pairwise_manhattan_sim)

    models = Manhattan(), Manhattan()
    for model in models:
        model.seen = []
    asked = {"output_scores": True, "absolute_margin": 0.05, "faiss_batch_size": 5, "verbose": False}
    found = mine_hard_negatives(data(), models[0], **asked)
    expected = theirs.mine_hard_negatives(data(), models[1], **asked)
    assert models[0].seen == models[1].seen == [5, 5, 2]
    assert list(found["negative"]) == list(expected["negative"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-6)


def test_vectors_that_are_not_normalised():
    class Long(StubModel):
        def _encode(self, side, texts, prompt, options):
            vectors = super()._encode(side, texts, prompt, options)
            return vectors * np.linspace(0.5, 9, len(vectors), dtype=np.float32)[:, None]

    found = mine(data(), Long(), output_scores=True)
    expected = theirs.mine_hard_negatives(data(), Long(), output_scores=True, verbose=False)
    assert list(found["negative"]) == list(expected["negative"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-6)


def test_types_of_an_empty_result():
    text, numbers = Value("string"), List(Value("float64"))
    asked = {"max_score": -2.0, "output_scores": True}
    found = mine(data(), StubModel(), **asked)
    assert len(found) == 0
    assert found.features == Features(query=text, answer=text, negative=text, scores=numbers)


def test_margins_that_drop_everything_before_a_lower_bound(capsys):
    asked = {"absolute_margin": 9.0, "min_score": -9.0, "include_positives": True, "range_max": 5}
    table = data(query=PAIRS["query"][:6], answer=PAIRS["answer"][:6])
    with pytest.raises(ZeroDivisionError):
        theirs.mine_hard_negatives(table, StubModel(), **asked)
    assert not len(mine(table, StubModel(), verbose=True, **asked))
    assert "due to the min_score of -9.0" in capsys.readouterr().out


def test_long_texts_come_in_parts(monkeypatch):
    monkeypatch.setattr("foils.compat.layouts._PART", 200)
    for layout in ("triplet", "n-tuple", "labeled-pair", "labeled-list"):
        found = mine(data(), StubModel(), output_format=layout)
        expected = theirs.mine_hard_negatives(data(), StubModel(), output_format=layout, verbose=False)
        assert found.data.num_rows > 0
        assert found[:] == expected[:]


def test_a_real_model(static):
    found = mine(data(), static, output_scores=True, relative_margin=0.05)
    expected = theirs.mine_hard_negatives(data(), static, output_scores=True, relative_margin=0.05, verbose=False)
    assert found.features == expected.features
    assert len(found) == len(expected)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-6)


def test_a_selection_of_rows_and_other_columns():
    table = data(id=[*range(12)], **PAIRS).select([7, 3, 3, 1])
    found = mine(table, StubModel(), "query", "answer", output_format="labeled-list")
    expected = theirs.mine_hard_negatives(
        table, StubModel(), "query", "answer", output_format="labeled-list", verbose=False
    )
    assert found[:] == expected[:]
