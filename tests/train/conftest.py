"""A collection that can be learnt in seconds, and a tiny static model for it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import foils
from guarded import guarded, turned  # noqa: F401 - fixtures
from taught import FAST

WORDS = 60


def make_learnable(folder, *, docs=150, queries=240, seed=3):
    """Query words are another language than document words, word for word; each query asks for one document."""
    rng = np.random.default_rng(seed)
    contents = [rng.choice(WORDS, 5, replace=False) for _ in range(docs)]
    corpus = [{"_id": f"d{i}", "title": "", "text": " ".join(f"d{w}" for w in c)} for i, c in enumerate(contents)]
    corpus.append({"_id": "copy", "title": "", "text": corpus[0]["text"].upper()})
    asked, train, test = [], [], []
    for i in range(queries):
        doc = int(rng.integers(docs))
        words = rng.permutation(contents[doc])[:4]
        asked.append({"_id": f"q{i}", "text": " ".join(f"q{w}" for w in words) + f" ask{i}"})
        (test if i % 4 == 0 else train).append((f"q{i}", f"d{doc}", 1))
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, rows in (("train", train), ("test", test)):
        lines = ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t{g}" for q, d, g in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def learnable_path(tmp_path_factory):
    return make_learnable(tmp_path_factory.mktemp("learnable") / "words")


@pytest.fixture(scope="session")
def learnable(learnable_path, _own_cache):
    return foils.load(learnable_path)


def make_static(folder, *, dim=16, seed=0):
    """A static model with random vectors for the words of the learnable collection."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["[UNK]", *(f"{side}{w}" for side in "qd" for w in range(WORDS))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = torch.randn(len(vocabulary), dim, generator=torch.Generator().manual_seed(seed))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    model = SentenceTransformer(modules=[StaticEmbedding(fast, embedding_weights=weights)], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="session")
def static_path(tmp_path_factory):
    return make_static(tmp_path_factory.mktemp("models") / "static")


def make_transformer(folder, *, dropout):
    """A BERT of one layer, with a prompt for queries."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", *(f"{side}{w}" for side in "qd" for w in range(WORDS))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        noise = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        bert = BertModel(BertConfig(vocab_size=len(words), **size, **noise, max_position_embeddings=32))
    bert.save_pretrained(folder / "bert")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=32
    )
    fast.save_pretrained(folder / "bert")
    model = SentenceTransformer(modules=[Transformer(str(folder / "bert")), Pooling(16)], device="cpu")
    model.prompts.update({"query": "d1 d2 ", "document": ""})
    model.save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def transformer_path(tmp_path_factory):
    """With dropout, so that the random state matters."""
    return make_transformer(tmp_path_factory.mktemp("bert"), dropout=0.1)


@pytest.fixture(scope="session")
def still_path(tmp_path_factory):
    """Without dropout."""
    return make_transformer(tmp_path_factory.mktemp("bert"), dropout=0.0)


@pytest.fixture(scope="session")
def random_negatives(learnable, tmp_path_factory):
    """Eight random documents for each query."""
    return foils.mine(learnable, "Random(k=8)", out=tmp_path_factory.mktemp("mined") / "random")


@pytest.fixture(scope="session")
def teacher(learnable, random_negatives, still_path, tmp_path_factory):
    """A teacher that has learnt a little; tests must not change it."""
    from foils.teach import teach

    return teach(learnable, random_negatives, still_path, out=tmp_path_factory.mktemp("teachers") / "one", options=FAST)


@dataclass
class FakeTexts:
    keys: np.ndarray


@dataclass
class FakeCollection:
    """What `make_rows` reads of a collection: positives of a split, ``same`` and the keys."""

    pairs: foils.Pairs
    same: np.ndarray
    queries: FakeTexts
    corpus: FakeTexts
    name: str = "fake"

    def positives(self, split):
        return self.pairs


@pytest.fixture(scope="session")
def fake():
    def make(positives, *, docs=40, queries=12, same=None):
        query, doc = zip(*positives, strict=True)
        leader = np.arange(docs, dtype=np.int32)
        for copy, first in (same or {}).items():
            leader[copy] = first
        pairs = foils.Pairs.build(query, doc, np.ones(len(query), np.int8))
        keys = lambda n, salt: FakeTexts(np.arange(n, dtype=np.uint64) * np.uint64(7919) + np.uint64(salt))  # noqa: E731
        return FakeCollection(pairs, leader, keys(queries, 1), keys(docs, 2))

    return make
