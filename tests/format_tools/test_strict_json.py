"""JSON objects without repeated keys."""

from __future__ import annotations

import pytest

from initreg import DamagedFile
from initreg.format_tools.strict_json import is_text, parse_object


def test_an_object_is_parsed() -> None:
    """Keys keep their order."""
    assert list(parse_object(b'{"b": 1, "a": [2]}', "m").items()) == [("b", 1), ("a", [2])]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b'{"x": {"a": 1, "a": 2}}', "the key 'a' occurs twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[1]", "holds a list, not an object"),
        (b'{"\\ud800": 1}', "surrogates not allowed"),
        (b"\xff", "can't decode byte"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_other_json_is_damage(text: bytes, reason: str) -> None:
    """What readers would read differently is refused, with the name of the file."""
    with pytest.raises(DamagedFile, match=f"^m: .*{reason}"):
        parse_object(text, "m")


def test_a_lone_surrogate_is_no_text() -> None:
    """It could not be printed."""
    assert is_text("größe")
    assert not is_text("\ud800")
