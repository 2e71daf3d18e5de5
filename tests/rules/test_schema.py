"""initreg.rules.schema: what an editor says of a rule file is what initreg says of it."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from initreg import RuleError
from initreg.rules.files import USAGE, read
from initreg.rules.kinds import FIELD_KINDS, IN_TABLE, WHOLE
from initreg.rules.options import ORDER
from initreg.rules.schema import URL, schema
from initreg.rules.writing import FIELDS

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "plugins").glob("*/README.md"))]
VALIDATOR = jsonschema.Draft7Validator(schema())


def is_of_rules(text: str) -> bool:
    """Whether a block of TOML is a rule file: it begins with a rule or a step."""
    keys = set(tomllib.loads(text))
    return bool(keys & {*ORDER, "step"})


EXAMPLES = {
    f"{page.parent.name}/{page.name}:{number}": text
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    )
    if is_of_rules(text)
}


def faults(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_the_published_file_is_what_the_rules_say() -> None:
    """It is made by `make schema`, is in the package, and is a schema."""
    found = json.loads(resources.files("initreg.rules").joinpath("schema.json").read_text("utf-8"))
    assert found == schema()
    jsonschema.Draft7Validator.check_schema(found)
    assert found["$id"] == URL
    assert f"#:schema {URL}\n" in (ROOT / "docs" / "rules.md").read_text("utf-8")


def test_every_rule_and_field_has_a_kind() -> None:
    """What is checked and what the schema says come from the same tables."""
    assert set(WHOLE) | set(IN_TABLE) | set(FIELDS) == set(ORDER) == set(USAGE)
    assert {name for names, _ in FIELDS.values() for name in names} == set(FIELD_KINDS)


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_the_pages_are_right(text: str, tmp_path: Path) -> None:
    """Each rule file that a page shows can be read, and the schema agrees."""
    (tmp_path / "rules.toml").write_text(text)
    assert read(str(tmp_path / "rules.toml"))
    assert faults(text) == []


def test_there_are_examples() -> None:
    """Those of recurrent layers and of llama.cpp among them."""
    assert len(EXAMPLES) >= 10
    assert any("llama-rows" in text for text in EXAMPLES.values())


_RIGHT = """
keep = "a"
---
drop = ["a", "b*"]
---
rename = { a = "b" }
---
rename = ["a", "b"]
---
rename = [["a", "b"], { c = "d" }]
---
view = "bfloat16"
---
cast = { a = "float32" }
---
[scale]
a = 0.5
b = "c"
d = { by = "e", block = [4, 3] }
f = ["g", 128]
---
[slice]
a = [0, 1, 2]
b = { axis = 0, start = 1 }
---
pad = { a = { axis = 0, length = 9, fill = "mean" }, b = [0, 9], c = [0, 9, 1.5] }
---
[take]
a = { axis = 0, indices = [1, 0] }
b = { axis = 0, old = "o.txt", new = "n.txt", fill = 0 }
---
[split]
a = { axis = 0, into = "b{i}", sizes = "equal" }
c = [0, ["d", "e"], [1, 2]]
---
sum = { a = ["b", "c"], d = "e{i}" }
---
add = { a = 1 }
---
[fold_batch_norm]
k = { axis = 0, epsilon = 1, bias = "b", mean = "m", variance = "v" }
l = [0, 0.1, "b2", "m2", "v2", "g2"]
---
gates = { a = { axis = 0, from = "iofc", to = "ifco" }, b = [0, "iofc", "ifco"] }
---
[[step]]
drop = "a"
inverse = {}
[[step]]
prefix = "b"
[step.inverse]
strip_prefix = "b"
"""
_WRONG = """
keep = 3
---
transpos = "a"
---
drop = ["a", 3]
---
rename = [["a"]]
---
rename = { a = 3 }
---
cast = 3
---
prefix = ["a"]
---
[scale]
a = true
---
[scale]
a = { by = "b" }
---
[slice]
a = [0, 1]
---
[slice]
a = { axis = 0 }
---
[pad]
a = { axis = "0", length = 9 }
---
[take]
a = { axis = 0 }
---
[take]
a = { axis = 0, indices = [0], old = "b" }
---
[take]
a = [0, [1]]
---
[split]
a = { axis = 0, into = ["b", 3] }
---
[stack]
a = { axis = 0, of = "b{i}", sizes = 3 }
---
permute = { a = [0, "1"] }
---
sum = { a = { of = ["b", "c"] } }
---
add = { a = "1" }
---
gates = { a = { axis = 0, old = "iofc", new = "ifco" } }
---
gates = { a = [0, "iofc"] }
---
[fold_batch_norm]
k = { axis = 0, epsilon = 1, bias = "b", mean = "m" }
---
step = "a"
---
drop = "a"
[[step]]
drop = "b"
---
[[step]]
[[step.step]]
---
inverse = "drop"
---
[inverse]
inverse = {}
"""
RIGHT, WRONG = (text.split("---") for text in (_RIGHT, _WRONG))


@pytest.mark.parametrize("text", RIGHT, ids=str.split)
def test_what_is_read_is_valid(text: str, tmp_path: Path) -> None:
    """Every way in which a value can be given."""
    (tmp_path / "rules.toml").write_text(text)
    read(str(tmp_path / "rules.toml"))
    assert faults(text) == []


@pytest.mark.parametrize("text", WRONG, ids=str.split)
def test_what_is_an_error_is_not_valid(text: str, tmp_path: Path) -> None:
    """Wrong names, types, and fields that are missing or too many."""
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(RuleError):
        read(str(tmp_path / "rules.toml"))
    assert faults(text)


def test_every_option_has_a_description() -> None:
    """An editor shows what to give."""
    found: dict[str, Any] = schema()["definitions"]
    assert all(each["description"] for each in found.values())
