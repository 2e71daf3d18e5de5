"""initreg.text.markup: pieces of HTML in which no text is markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from initreg.text.markup import folding, names, notebook, table, text, verdict

EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects tags and what is between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.data: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.data.append(data)


@pytest.mark.parametrize(
    "html",
    [
        text(EVIL),
        verdict(EVIL, is_bad=True),
        verdict(EVIL, is_bad=False),
        folding(EVIL, ""),
        table([EVIL], []),
        table((), [[EVIL]]),
        table((), [], last=EVIL),
        names([(EVIL, "")], ""),
        names([("w", EVIL)], ""),
    ],
)
def test_text_is_escaped(html: str) -> None:
    """Wherever it is put."""
    parsed = Tags(html)
    assert "script" not in parsed.tags
    assert EVIL in parsed.data


def test_nothing_is_invisible() -> None:
    """Characters that cannot be seen, or that turn text around, are escaped. Lines stay."""
    assert text("a\u202eb\x00\n\ud800") == "a\\u202eb\\x00\n\\ud800"


def test_what_is_wrong_is_red_without_style_sheets() -> None:
    """Some viewers of notebooks remove them."""
    html = notebook(verdict("it fails", is_bad=True))
    assert 'style="background:#b3261e;color:#fff' in html.partition("</style>")[2]


def test_long_lists_are_cut() -> None:
    """They say how many are left."""
    html = names(((f"{i}/{'x' * i}", str(i)) for i in range(1000)), "print(it)")
    assert html.count("<tr>") == 200
    assert "... and 800 names more: print(it)" in html
