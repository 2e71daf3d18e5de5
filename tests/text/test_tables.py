"""Tables fit a terminal, and no name is broken."""

from __future__ import annotations

import pytest

from initreg.text.tables import cells, lay_out

HEAD = ("NAME", "SHAPE", "SIZE", "MORE")
ROWS = [("a", "(2,)", "8 B", ""), ("encoder/layer_0/attention/kernel", "(64, 64)", "16 kB", "")]


def test_columns_without_text_are_left_out() -> None:
    """So are their headings."""
    lines, spared = lay_out(HEAD, ROWS, right=(2,))
    assert lines == [
        "NAME                              SHAPE      SIZE",
        "a                                 (2,)        8 B",
        "encoder/layer_0/attention/kernel  (64, 64)  16 kB",
    ]
    assert spared == []


def test_a_long_name_has_a_line_of_its_own() -> None:
    """The columns stay where they are, and every name is whole."""
    lines, _ = lay_out(HEAD, ROWS, right=(2,), width=45)
    assert lines == [
        "NAME                          SHAPE      SIZE",
        "a                             (2,)        8 B",
        "encoder/layer_0/attention/kernel",
        "                              (64, 64)  16 kB",
    ]


def test_columns_that_can_be_spared_go_first() -> None:
    """In their order, until the table fits, and they are named."""
    assert lay_out(HEAD, ROWS, right=(2,), width=45, spare=(2, 1))[1] == []
    lines, spared = lay_out(HEAD, ROWS, right=(2,), width=40, spare=(2, 1))
    assert spared == ["SIZE"]
    assert lines[1] == "a                               (2,)"
    lines, spared = lay_out(HEAD, ROWS, width=33, spare=(2, 1))
    assert spared == ["SIZE", "SHAPE"]
    assert lines == ["NAME", "a", "encoder/layer_0/attention/kernel"]


@pytest.mark.parametrize("width", [1, 5, 10, 20, 30, 79, 80])
def test_any_width(width: int) -> None:
    """However narrow, each name is on one line, alone or before its columns."""
    lines, _ = lay_out(HEAD, ROWS, width=width, spare=(2,))
    for name, *_ in ROWS:
        assert sum(line.split("  ")[0] == name for line in lines) == 1


def test_wide_characters() -> None:
    """A character of two columns counts as two, and a combining one as none."""
    assert [cells(text) for text in ("ab", "é", "e\u0301", "層", "\uff57")] == [2, 1, 1, 2, 2]
    lines, _ = lay_out(("NAME", "SHAPE"), [("層/w", "(1,)"), ("ab/w", "(2,)")])
    assert lines[1:] == ["層/w  (1,)", "ab/w  (2,)"]


def test_styles_do_not_move_columns() -> None:
    """Each text is painted without the spaces around it."""
    painted = lay_out(
        HEAD, ROWS, styles={1: "dim"}, marked=(0,), paint=lambda text, style: f"<{style}:{text}>"
    )[0]
    assert painted[1].startswith("<cyan:a>   ")
    assert "<dim:(64, 64)>" in painted[2]
    assert painted[0].startswith("<bold:NAME>")
