"""Prints docs/layers.md: which layers the sweep covers, in which formats, and with which result.

python tests/targets/layers/page.py > docs/layers.md
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from cases import NOT_USABLE, Case, cases, classes, is_stateless
from known import Known, known
from sweep import BETTER, LACKING, NOT_SAVED, RENAMED, formats

TITLES = {"keras": "Keras 3", "tf_keras": "tf_keras"}
HEAD = """\
# Layers

A test saves every layer class that has state in every format of its library, and restores it twice:
with the reference loader into one model, and with initreg into another. The reference loader is
`load_weights` of Keras, or `tf.train.Checkpoint.read` for checkpoints. Each model has two layers of
the class with random state, under other names than in the saved model. Then outputs and state are
compared. In a SavedModel the outputs are compared with those of the saved model.

[The test](../tests/targets/layers/test_sweep.py) fails for a class that is not in this table.
`make layers` writes this page.

| in the table | what it means |
| --- | --- |
| yes | initreg restores outputs and state as they were saved |
| yes, with a number | so does initreg, and the reference loader does not; the number says why |
| no, with a number | something is not in the file, and the reference loader does no better |
| not saved, with a number | Keras cannot save the layer in this format |

A column ", other names" is a legacy `.h5` whose layers have other names than those of the model.
"""


def page() -> str:
    """The text of the page."""
    notes: dict[str, int] = {}
    parts = [HEAD]
    for name, title in TITLES.items():
        K = importlib.import_module(name)
        parts += [f"\n## {title}\n", *_table(K, notes), "\n", *_rest(K)]
    parts += ["\n## Notes\n\n", *(f"{number}. {note}\n" for note, number in notes.items())]
    return "".join(parts)


def _table(K: Any, notes: dict[str, int]) -> Iterator[str]:
    columns = formats(K.__name__)
    shown = [f"`{each}`" if each.startswith(".") and each != RENAMED else each for each in columns]
    shown[columns.index(RENAMED)] = "`.h5`, other names"
    yield f"\n| layer | {' | '.join(shown)} |\n| --- |{' --- |' * len(columns)}\n"
    for case in sorted(cases(K), key=lambda case: case.name.lower()):
        cells = [_cell(known(K.__name__, case, suffix), notes) for suffix in columns]
        yield f"| {_title(case)} | {' | '.join(cells)} |\n"


def _title(case: Case) -> str:
    title = ", ".join(f"`{kind}`" for kind in case.kinds)
    return f"{title}, {case.variant}" if case.variant else title


def _cell(found: Known | None, notes: dict[str, int]) -> str:
    if found is None:
        return "yes"
    number = notes.setdefault(found.reason, len(notes) + 1)
    word = {BETTER: "yes", LACKING: "no", NOT_SAVED: "not saved"}[found.outcome]
    return f"{word} ({number})"


def _rest(K: Any) -> Iterator[str]:
    library = K.__name__
    stateless = [f"`{kind}`" for kind in classes(K) if is_stateless(library, kind)]
    yield f"These classes have no state: {', '.join(stateless)}.\n"
    unused = [f"`{kind}` ({NOT_USABLE[kind]})" for kind in classes(K) if kind in NOT_USABLE]
    yield f"\nThese are not tested: {', '.join(unused)}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
