"""What the package index shows of initreg."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = "https://github.com/initreg/initreg/blob/main/"
FILE = "https://raw.githubusercontent.com/initreg/initreg/main/"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """As the build backend writes it into a wheel."""
    folder = tmp_path_factory.mktemp("metadata")
    code = f"from hatchling.build import *; prepare_metadata_for_build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    (found,) = folder.glob("*.dist-info/METADATA")
    return message_from_string(found.read_text("utf-8"))


def test_links_of_the_readme_are_absolute(metadata: Message) -> None:
    """Each relative link leads to that file of the repository. Nothing else is changed."""
    text = metadata.get_payload()
    assert isinstance(text, str)
    links = re.findall(r"\]\((?!#)([^)\s]+)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []
    ours = [link.removeprefix(PAGE) for link in links if link.startswith(PAGE)]
    ours += [link.removeprefix(FILE) for link in links if link.startswith(FILE)]
    assert {"LICENSE", "CHANGELOG.md", "docs/security.md"} <= set(ours)
    assert [link for link in ours if not (ROOT / link.partition("#")[0]).exists()] == []
    readme = (ROOT / "README.md").read_text("utf-8")
    assert text.replace(f"]({PAGE}", "](").replace(f"]({FILE}", "](") == readme


def test_who_and_where(metadata: Message) -> None:
    """The index links to the code, the documentation, the changes and the issues."""
    assert metadata["Author"] == "The initreg developers"
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL", []))
    assert urls.keys() == {"Repository", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith("https://github.com/initreg/initreg") for url in urls.values())


def test_no_extra_repeats_a_dependency(metadata: Message) -> None:
    """What is always installed needs no extra."""
    required = metadata.get_all("Requires-Dist", [])
    always = {re.split(r"\W", each)[0] for each in required if "extra ==" not in each}
    extra = {re.split(r"\W", each)[0] for each in required if "extra ==" in each}
    assert always
    assert extra
    assert always & extra == set()


def test_the_wheel_has_what_code_reads(tmp_path: Path) -> None:
    """The files beside the code that are not code: all of them, and nothing of the tests."""
    code = f"from hatchling.build import *; print(build_wheel({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    data = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "initreg").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".pyi")
    }
    templates = {each for each in data if each.endswith(".in")}
    assert len(templates) > 6  # from which `initreg new-plugin` makes a folder
    assert {f"initreg/api/report_page/page.{ending}" for ending in ("html", "css", "js")} <= data
    assert data <= names
    packages = {"initreg", "initreg_formats", "initreg_targets"}
    assert {name.partition("/")[0] for name in names} == packages
