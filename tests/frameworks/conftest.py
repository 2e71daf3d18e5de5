"""What the tests of the bridge share. They need torch, JAX, ONNX and Keras: `make bridge`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "docs" / "rules.md"
# Without torch, none of these files can be imported. `make bridge` has an environment that has it.
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.bridge)


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a rule file of docs/rules.md, which begins with its name in a comment."""

    def recipe(name: str) -> Path:
        blocks = re.findall(r"^```toml\n(.*?)^```$", RULES.read_text("utf-8"), re.M | re.S)
        [text] = [block for block in blocks if block.startswith(f"# {name}: ")]
        path = tmp_path / name
        path.write_text(text)
        return path

    return recipe
