from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def little(beir):
    """The folder of the little collection, as a command names it."""
    return str(beir)
