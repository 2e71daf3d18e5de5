"""Writes initreg/__init__.pyi from the list of public names in initreg/__init__.py.

Type checkers cannot follow the lazy imports of the package, so they read this stub. The names are
spelt once, in ``initreg.__init__._HOME``. ``--check`` changes nothing and fails if the stub is old.
"""

from __future__ import annotations

import sys
from pathlib import Path

import initreg

STUB = Path(__file__).parents[1] / "initreg" / "__init__.pyi"
HEADER = '''\
"""Generated from __init__.py by `make stubs`; do not edit."""

'''


def text() -> str:
    """What the stub must be."""
    homes: dict[str, list[str]] = {}
    for name, home in initreg._HOME.items():
        homes.setdefault(home, []).append(name)
    imports = "".join(
        f"from initreg.{home} import {name} as {name}\n"
        for home in sorted(homes)
        for name in sorted(homes[home])
    )
    names = "".join(f'    "{name}",\n' for name in initreg.__all__)
    return f"{HEADER}{imports}\n__version__: str\n\n__all__ = [\n{names}]\n"


def main() -> int:
    if "--check" not in sys.argv[1:]:
        STUB.write_text(text(), "utf-8")
        return 0
    if STUB.is_file() and STUB.read_text("utf-8") == text():
        return 0
    print("initreg/__init__.pyi is not what __init__.py says: run 'make stubs'", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
