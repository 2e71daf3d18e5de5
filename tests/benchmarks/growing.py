"""How time and memory grow: by bytes, then by the number of variables."""

from __future__ import annotations

import json
import sys

TITLE = "Growth"
NOTE = """\
The same restore is measured for growing sizes. The first rows restore the encoder, scaled by its
width, from an npz. The next rows restore many small variables from an object-based checkpoint.
Times are medians of three fresh processes. For 100,000 variables there is one process.
"""


def main(arguments: list[str]) -> None:
    import restoring

    found = restoring.growth("--quick" in arguments)
    json.dump([row.to_dict() for row in found], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
