"""docs/layers.md is what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from page import page

PAGE = Path(__file__).parents[3] / "docs" / "layers.md"


@pytest.mark.newest
def test_the_page_is_current() -> None:
    """The table has the layers of the installed Keras, with what the sweep finds."""
    assert PAGE.read_text("utf-8") == page(), "run 'make layers'"
