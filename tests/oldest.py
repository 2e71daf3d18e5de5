"""The oldest versions that pyproject.toml allows, as constraints for pip.

The lower bound of each runtime dependency becomes its exact version, so that ``make oldest`` tests
what is promised. Libraries that only the tests need are as new as possible.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def constraints() -> list[str]:
    content = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    requirements = [
        *content["project"]["dependencies"],
        *(each for extra in content["project"]["optional-dependencies"].values() for each in extra),
    ]
    found = {}
    for requirement in requirements:
        if requirement.startswith("initreg"):  # our own formats, which are not on an index here
            continue
        name, version = re.fullmatch(r"([\w-]+)[>=]=([\d.]+)", requirement).groups()  # type: ignore[union-attr]
        found[name] = version
    found["tf-keras"] = ".".join(found["tensorflow"].split(".")[:2])  # one for each
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    print("\n".join(constraints()))
