"""Writes initreg/rules/schema.json, the JSON Schema of rule files, from what the rules check.

``--check`` changes nothing and fails if the file is old.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from initreg.rules.schema import schema

FILE = Path(__file__).parents[1] / "initreg" / "rules" / "schema.json"


def text() -> str:
    """What the file must be."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text(), "utf-8")
        return 0
    if FILE.is_file() and FILE.read_text("utf-8") == text():
        return 0
    print("initreg/rules/schema.json is not what the rules say: run 'make schema'", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
