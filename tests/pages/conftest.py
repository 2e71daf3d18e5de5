"""Makes ``chromium`` importable, and gives tests one browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chromium import Chromium, program


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    if program() is None:
        pytest.skip("there is no Chromium: apt install chromium, or set INITREG_CHROMIUM")
    with Chromium() as found:
        yield found
