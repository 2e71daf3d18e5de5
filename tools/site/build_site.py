"""Builds the documentation as a site into build/docs/site, and fails on any warning or dead link.

    python tools/site/build_site.py

It needs the dependency group ``docs``, and neither the network nor TensorFlow.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reference_pages
import site_links

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
STAGE = ROOT / "build" / "docs"
REPOSITORY = "https://github.com/initreg/initreg"
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2$", re.DOTALL | re.MULTILINE)


def navigation() -> list[Any]:
    """``nav`` of zensical.toml, as it is written there."""
    config = tomllib.loads((HERE / "zensical.toml").read_text("utf-8"))
    found: list[Any] = config["project"]["nav"]
    return found


def listed(entries: list[Any]) -> list[str]:
    """All files of a navigation, in order."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += listed(value) if isinstance(value, list) else [value]
    return found


def place(path: str) -> str:
    """Where a file of the repository is among the pages of the site."""
    if path == "README.md":
        return "index.md"
    if path.endswith("/README.md"):
        return f"plugins/{path.split('/')[-2]}.md"
    name = path.removeprefix("docs/")
    return name.lower() if "/" not in path else name


def stage() -> None:
    """Copy the pages into build/docs, with links that fit there, and write the others."""
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = STAGE / "pages"
    files = [path for path in listed(navigation()) if path != "{reference}"]
    places = {path: place(path) for path in files}
    images = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.svg"))
    for path, to in places.items():
        target = pages / to
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / path).read_text("utf-8")
        target.write_text(relinked(text, path, places | {i: place(i) for i in images}), "utf-8")
    for image in images:
        shutil.copy(ROOT / image, pages / place(image))
    (pages / "reference").mkdir()
    for page in reference_pages.pages():
        (pages / "reference" / f"{page.file}.md").write_text(reference_pages.text_of(page), "utf-8")
    for name in ("style.css", "worker.js"):
        shutil.copy(HERE / name, pages)
    text = (HERE / "zensical.toml").read_text("utf-8").replace("{root}", ROOT.as_posix())
    for path, to in places.items():
        text = text.replace(f'"{path}"', f'"{to}"')
    api = ", ".join(f'{{ "{p.title}" = "reference/{p.file}.md" }}' for p in reference_pages.pages())
    text = text.replace('"{reference}"', f'{{ "API" = [{api}] }}')
    (STAGE / "zensical.toml").write_text(text, "utf-8")


def relinked(text: str, path: str, places: dict[str, str]) -> str:
    """The text of a page, whose links lead to the other pages of the site, or to the repository."""
    here = Path(path).parent
    there = Path(places[path]).parent

    def link(match: re.Match[str]) -> str:
        to, _, anchor = match[1].partition("#")
        if re.match(r"[a-z]+:", match[1]) or not to:
            return match[0]
        target = os.path.normpath(here / to)
        if not (ROOT / target).exists():
            raise SystemExit(f"{path}: links to {to}, which does not exist")
        if target in places:
            found = os.path.relpath(places[target], there)
        else:
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            found = f"{REPOSITORY}/{kind}/main/{target}"
        return f"]({found}{'#' if anchor else ''}{anchor})"

    return outside_of_fences(text, lambda prose: re.sub(r"\]\(([^)\s]+)\)", link, prose))


def outside_of_fences(text: str, change: Callable[[str], str]) -> str:
    """The text, with everything changed but its blocks of code."""
    found, end = [], 0
    for fence in FENCE.finditer(text):
        found += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*found, change(text[end:])])


def finish(page: Path) -> None:
    """What the generator cannot be told.

    A page takes what its search needs on the disk from the site itself, rather than from another
    server. And no browser breaks a line after the dashes of an option.
    """
    text = page.read_text("utf-8")
    worker = os.path.relpath(STAGE / "site" / "worker.js", page.parent)
    text = text.replace("https://unpkg.com/iframe-worker/shim", worker)
    text = re.sub(r"<code>(--[\w-]+)</code>", r'<code class="option">\1</code>', text)
    page.write_text(text, "utf-8")


def main() -> int:
    stage()
    # Beside this interpreter, since `make docs` does not activate the environment.
    program = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [program, "build", "--strict"],
        cwd=STAGE,
        env=os.environ | {"PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    print(built.stdout, end="")
    if built.returncode != 0:
        return built.returncode
    for page in sorted((STAGE / "site").rglob("*.html")):
        finish(page)
    # --strict does not count what the reader of docstrings finds wrong.
    problems = [line for line in built.stdout.splitlines() if line.startswith("griffe:")]
    problems += site_links.problems_of(STAGE / "site")
    for problem in problems:
        print(problem, file=sys.stderr)
    count = len(list((STAGE / "site").rglob("*.html")))
    print(f"{STAGE / 'site' / 'index.html'}: {count} pages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
