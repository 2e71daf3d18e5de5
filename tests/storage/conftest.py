"""Fixtures of the tests of stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.web_server import WebServer, serving


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server on loopback that serves ``tmp_path``."""
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("initreg.storage.store_files._FIRST_PAUSE", 0.001)
