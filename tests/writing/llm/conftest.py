from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from foils.adapters.llm import Access, opened
from foils.writing import Desk, Wanted


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("FOILS_LLM_KEY", "FOILS_LLM_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def writer():
    """The module of the example's endpoint, which imports its neighbour."""
    folder = str(Path(__file__).parents[3] / "examples")
    sys.path.insert(0, folder)
    try:
        import writer_server
    finally:
        sys.path.remove(folder)
    return writer_server


@pytest.fixture
def endpoint(writer):
    """Starts the example's endpoint over real HTTP; stops what was started."""
    running = []

    def start(faults=0.0):
        server = writer.Server(0, faults)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def desk_at(data, cache, models, tmp_path):
    """A desk whose model is at an address (or is a function); replies are kept in the test's own folder."""

    def make(url=None, model="rule", folder="kept", seed=0, **access):
        (llm,) = opened([model], Access(url=url, **access), tmp_path / folder)
        return Desk(data, "train", seed, cache, llm, models)

    return make


@pytest.fixture
def pairs(data):
    """The first queries with their positives."""
    known = data.positives("train")
    return Wanted(known.query[:9].copy(), known.doc[:9].copy())


@pytest.fixture
def docs(data):
    """Documents that queries are written from."""
    rows = np.arange(20, 29, dtype=np.int32)
    return Wanted(np.full(len(rows), -1, np.int32), rows)
