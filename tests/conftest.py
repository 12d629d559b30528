from __future__ import annotations

import signal

import pytest

import foils
from browsing import browser  # noqa: F401 - a fixture; one for all, since one process has one
from foils.stages import Context
from little import HashEncoder, OverlapReranker, make_beir, make_shard


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """What a shell starts in the background ignores Ctrl-C, and so do the processes that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(cache):
    patch = pytest.MonkeyPatch()
    patch.setenv("FOILS_CACHE", str(cache))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def beir(tmp_path_factory):
    return make_beir(tmp_path_factory.mktemp("data") / "little")


@pytest.fixture(scope="session")
def data(beir, _own_cache):
    return foils.load(beir)


@pytest.fixture(scope="session")
def shard(data, tmp_path_factory):
    """The little collection with texts written for it that any search would find first."""
    return make_shard(data, tmp_path_factory.mktemp("written") / "shards")


@pytest.fixture(scope="session")
def models():
    return {"student": HashEncoder(), "teacher": HashEncoder("teacher", 12, 1), "judge": OverlapReranker()}


@pytest.fixture
def context(data, models, cache):
    """A context over all training queries of the little collection."""

    def make(seed: int = 0, split: str = "train") -> Context:
        rows = data.query_rows(split)
        return Context(data, split, seed, rows, rows, models, cache)

    return make
