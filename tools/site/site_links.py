"""What is wrong in a built site: links to what is not there, and anything from another server."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, with the attribute that says from where.
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "alternate", "edit", "prev", "next"}  # `rel` of links that are not


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        source = given.get(LOADED.get(tag, ""))
        if source and not (tag == "link" and given.get("rel") in NOT_LOADED):
            self.loaded.append(source)


def problems_of(site: Path) -> list[str]:
    """Every problem of a site, one line each.

    Args:
        site: the folder of the site.
    """
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = pages[path] = _Page()
        page.feed(path.read_text("utf-8"))
    return [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        if path.name != "404.html"  # its links are absolute, since it is shown anywhere
        for problem in _problems(path, page, pages)
    ]


def _problems(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for source in page.loaded:
        parts = urlsplit(source)
        if parts.scheme in ("http", "https") or parts.netloc:
            yield f"loads {source} from another server"
        elif not parts.scheme and not (path.parent / unquote(parts.path)).exists():
            yield f"loads {source}, which does not exist"
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield f"links to {link}, which does not exist"
        elif target in pages and unquote(parts.fragment) not in pages[target].anchors | {""}:
            yield f"links to {link}, which has no such anchor"
