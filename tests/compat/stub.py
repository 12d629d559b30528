"""A little data set, and models that need no weights: vectors and scores are hashes of the texts."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers.util import cos_sim, pairwise_cos_sim

from foils.compat import mine_hard_negatives

PAIRS = {"query": [f"t{i % 3} question {i}" for i in range(12)], "answer": [f"t{i % 3} answer {i}" for i in range(12)]}


def data(**columns) -> Dataset:
    return Dataset.from_dict(columns or PAIRS)


def mine(*args, **options):
    return mine_hard_negatives(*args, **({"verbose": False} | options))


def draw(text: str, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).standard_normal(dim)


class StubModel:
    """Texts that begin with the same word are close."""

    device = torch.device("cpu")
    similarity = staticmethod(cos_sim)
    similarity_pairwise = staticmethod(pairwise_cos_sim)

    def __init__(self, dim: int = 12, version: str = "", spread: float = 0.8) -> None:
        self.dim, self.version, self.spread = dim, version, spread
        self.calls: list[tuple[str, list[str], dict]] = []
        self.pools: list[str] = []
        self.model_card_data = SimpleNamespace(base_model="stub")

    def get_embedding_dimension(self) -> int:
        return self.dim

    def _encode(self, side, texts, prompt, options):
        self.calls.append((side, list(texts), {"prompt": prompt, **options}))
        rows = [
            draw(self.version + text.split()[0], self.dim)
            + self.spread * draw(f"{self.version}{prompt}{text}", self.dim)
            for text in texts
        ]
        matrix = np.array(rows).reshape(len(texts), self.dim)
        return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)

    def encode_query(self, texts, prompt=None, **options):
        return self._encode("query", texts, prompt, options)

    def encode_document(self, texts, prompt=None, **options):
        return self._encode("document", texts, prompt, options)

    def start_multi_process_pool(self, target_devices=None):
        self.pools.append(f"start {target_devices}")
        return "pool"

    def stop_multi_process_pool(self, pool):
        self.pools.append(f"stop {pool}")


class StubCrossEncoder:
    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.pools: list[str] = []

    def predict(self, pairs, batch_size=32, convert_to_tensor=False, pool=None):
        assert convert_to_tensor
        self.pairs.extend(pairs)
        return torch.tensor([float(draw(f"{a}|{b}", 1)[0]) + (a.split()[0] == b.split()[0]) for a, b in pairs])

    def start_multi_process_pool(self, target_devices=None):
        self.pools.append(f"start {target_devices}")
        return "pool"

    def stop_multi_process_pool(self, pool):
        self.pools.append(f"stop {pool}")
