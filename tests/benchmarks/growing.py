"""How time and memory grow: by bytes, then by the number of variables."""

from __future__ import annotations

import json
import sys

TITLE = "Growth"
NOTE = """\
The same, for the encoder scaled by its width, from an npz; then for many small variables, from an
object-based checkpoint. Medians of three fresh processes, of one for 100,000 variables.
"""


def main(arguments: list[str]) -> None:
    import restoring

    found = restoring.growth("--quick" in arguments)
    json.dump([row.to_dict() for row in found], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
