"""The site of `make docs`: its contents, what is done to links, and what a build would fail on."""

from __future__ import annotations

import re
from pathlib import Path

import build_site
import pytest
import reference_pages
import site_links
from pages import DOCS, README, ROOT, text_of

import initreg

LISTED = build_site.listed(build_site.navigation())


def test_every_page_is_in_the_navigation_once() -> None:
    """Each page of docs/, the README, and those of the plugins, and nothing that does not exist."""
    plugins = sorted((ROOT / "plugins").glob("*/README.md"))
    pages = [README, *DOCS, *plugins, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    expected = [path.relative_to(ROOT).as_posix() for path in pages]
    assert sorted(LISTED) == sorted([*expected, "{reference}"])


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    """Whoever reads on GitHub finds each page by a link of the README."""
    assert re.search(rf"\]\(docs/{re.escape(page.name)}[)#]", text_of(README))


def test_every_public_name_is_in_the_reference() -> None:
    """Each name of initreg.__all__ is on one page of the reference, and so are whole modules."""
    names = [name for page in reference_pages.pages() for name in page.names]
    for name in initreg.__all__:
        assert names.count(f"initreg.{name}") == 1
        assert f"::: initreg.{name}\n" in "".join(
            map(reference_pages.text_of, reference_pages.pages())
        )
    assert {"initreg.dtypes", "initreg.testing", "initreg.trainers.keras"} <= set(names)
    assert len({page.file for page in reference_pages.pages()}) == len(reference_pages.pages())


def test_links_are_made_to_fit() -> None:
    """A link to a page leads to where it is on the site, with its anchor; one to another file leads
    to the repository. Blocks of code, other servers and anchors of the page itself stay."""
    places = {path: build_site.place(path) for path in LISTED}
    text = """[a](tour.md#the-plan) [b](../README.md) [c](../plugins/initreg-gguf/README.md)
[d](../tests/docs/pages.py) [e](../plugins/initreg-gguf) [f](https://example.org/a.md) [g](#here)
```python
"[a](tour.md)"
```
[h](tour.md)
"""
    expected = """[a](tour.md#the-plan) [b](index.md) [c](plugins/initreg-gguf.md)
[d](https://github.com/initreg/initreg/blob/main/tests/docs/pages.py) \
[e](https://github.com/initreg/initreg/tree/main/plugins/initreg-gguf) \
[f](https://example.org/a.md) [g](#here)
```python
"[a](tour.md)"
```
[h](tour.md)
"""
    assert build_site.relinked(text, "docs/speed.md", places) == expected
    path = "plugins/initreg-gguf/README.md"
    assert build_site.relinked("[a](../../docs/tour.md)", path, places) == "[a](../tour.md)"
    with pytest.raises(SystemExit, match=r"docs/speed\.md: links to no\.md, which does not exist"):
        build_site.relinked("[a](no.md)", "docs/speed.md", places)


def test_what_is_wrong_in_a_site_is_found(tmp_path: Path) -> None:
    """Dead links, dead anchors, missing files, and whatever another server would be asked for."""
    (tmp_path / "below").mkdir()
    (tmp_path / "a.html").write_text(
        '<link rel="canonical" href="https://example.org"><link rel="stylesheet" href="style.css">'
        '<h1 id="größe">A</h1><a href="#gr%C3%B6%C3%9Fe">1</a><a href="#no">2</a>'
        '<a href="below/b.html#there">3</a><a href="c.html">4</a><a href="https://example.org">5</a>'
        '<script src="https://example.org/x.js"></script><img src="data:image/png;base64,AA">'
        '<img src="//example.org/y.png"><img src="z.png">',
        "utf-8",
    )
    (tmp_path / "below" / "b.html").write_text(
        '<p id="here"><a href="../a.html#größe">1</a>', "utf-8"
    )
    assert site_links.problems_of(tmp_path) == [
        "a.html: loads style.css, which does not exist",
        "a.html: loads https://example.org/x.js from another server",
        "a.html: loads //example.org/y.png from another server",
        "a.html: loads z.png, which does not exist",
        "a.html: links to #no, which has no such anchor",
        "a.html: links to below/b.html#there, which has no such anchor",
        "a.html: links to c.html, which does not exist",
    ]


def test_what_is_raised_begins_with_the_name_of_an_error() -> None:
    """The reference shows the entries of `Raises:` as a list, in which the names come first."""
    entries = []
    for path in sorted((ROOT / "initreg").rglob("*.py")):
        sections = re.findall(r"^( +)Raises:\n((?:\1 +.*\n|\n)+)", text_of(path), re.MULTILINE)
        for indent, text in sections:
            found = re.findall(rf"^{indent}    (?! )(.+)", text, re.MULTILINE)
            entries += [f"{path.name}: {entry}" for entry in found]
    assert len(entries) > 100
    right = re.compile(r"\S+: [\w.]+(, [\w.]+)*(: \S|[:,]$)")
    assert [entry for entry in entries if not right.match(entry)] == []
