"""``initreg new-plugin``: what is made, and the names that are refused.

tests/plugin/test_third_party.py installs what is made, and runs its tests.
"""

from __future__ import annotations

import ast
import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from initreg import InitregError, UnwritableFile
from initreg.cli import main
from initreg.cli.scaffolding import new_plugin

FILES = [
    ".github/workflows/tests.yml",
    ".gitignore",
    "README.md",
    "pyproject.toml",
    "src/initreg_my_rawz/__init__.py",
    "src/initreg_my_rawz/py.typed",
    "tests/test_my_rawz.py",
]


@pytest.mark.parametrize("kind", ["format", "target", "verb"])
def test_the_folder_has_all_that_a_distribution_needs(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are those that are printed. No placeholder is left, and all of it is valid."""
    options = [] if kind == "format" else [f"--{kind}"]
    assert main(["new-plugin", "my-rawz", "--directory", str(tmp_path), *options]) == 0
    folder = tmp_path / "initreg-my-rawz"
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder}: a {kind} called my_rawz, with its tests\n")
    assert f"  cd {folder}\n" in printed
    assert all(f"  {file}\n" in printed for file in FILES)
    made = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert made == FILES
    texts = {file: (folder / file).read_text("utf-8") for file in made}
    for file, text in texts.items():
        words = text.replace("actions/checkout@v6", "").replace("actions/setup-python@v6", "")
        assert not set("@") & set(words.replace("@hookimpl", "").replace("@pytest", "")), file
        if file.endswith(".py"):
            ast.parse(text)
            assert all(len(line) <= 100 for line in text.splitlines()), file
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["name"] == "initreg-my-rawz"
    assert project["project"]["entry-points"]["initreg"] == {"my_rawz": "initreg_my_rawz"}
    assert [p.name for p in tmp_path.iterdir()] == ["initreg-my-rawz"]


def test_the_folder_has_usual_permissions(tmp_path: Path) -> None:
    """As `mkdir` makes it, so that colleagues can read it, too."""
    (tmp_path / "usual").mkdir()
    made = new_plugin("rawz", inside=tmp_path)
    assert made.folder.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert stat.S_ISDIR(made.folder.stat().st_mode)


def test_json_has_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    assert main(["new-plugin", "my-rawz", "--directory", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "kind": "format",
        "name": "my_rawz",
        "folder": str(tmp_path / "initreg-my-rawz"),
        "distribution": "initreg-my-rawz",
        "module": "initreg_my_rawz",
        "files": FILES,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Rawz", "'Rawz' cannot be the name of a plugin. Give at most 40 lower-case letters and "
                 "digits, in words that hyphens separate, such as 'rawz'"),
        ("my_rawz", "such as 'my-rawz'"),
        ("my--rawz", "such as 'my-rawz'"),
        ("-rawz", "such as 'rawz'"),
        ("../rawz", "such as 'rawz'"),
        ("/", "in words that hyphens separate"),
        ("", "'' cannot be the name"),
        ("raw z", "such as 'raw-z'"),
        ("raw\n", "'raw\\\\n' cannot be"),
        ("9rawz", "such as 'rawz'"),
        ("größe", "cannot be the name of a plugin"),
        ("r" * 41, "at most 40"),
        ("initreg", "give the name without 'initreg-'"),
        ("initreg-rawz", "give the name without 'initreg-', which is put before it in the name of "
                         "the distribution, such as 'rawz'"),
        ("class", "'class' is a keyword of Python. Choose another name"),
        ("match", "'match' is a keyword of Python"),
        ("npz", "'npz' is the name of an installed plugin, of initreg. Choose another name"),
        ("tf-session", "'tf_session' is the name of an installed plugin"),
        ("torch", "initreg-torch exists: pip install initreg-torch. Choose another name"),
        ("formats", "initreg_formats is a module that is installed already"),
        ("hdf5", ".hdf5 is an ending of the format 'h5'"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_used(name: str, message: str, tmp_path: Path) -> None:
    """Each is one error, with a name that would do if there is one, and nothing is made."""
    with pytest.raises(InitregError) as caught:
        new_plugin(name, inside=tmp_path)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["ls", "new-plugin", "help"])
def test_names_of_verbs_matter_to_verbs_only(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb of initreg's own cannot be added once more, and a format may be called so."""
    assert main(["new-plugin", name, "--verb", "--directory", str(tmp_path)]) == 2
    error = f"initreg: {name!r} is a verb of initreg already. Choose another name\n"
    assert capsys.readouterr().err == error
    assert main(["new-plugin", name, "--directory", str(tmp_path)]) == 0


def test_an_ending_matters_to_formats_only(tmp_path: Path) -> None:
    """A target for models of hdf5 may be called so."""
    assert new_plugin("hdf5", "target", tmp_path).name == "hdf5"


@pytest.mark.parametrize("kind", ["folder", "file", "link to nothing"])
def test_what_exists_is_not_replaced(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even an empty folder; the exit code is 2."""
    there = tmp_path / "initreg-rawz"
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_bytes(b"")
    else:
        there.symlink_to("nothing")
    assert main(["new-plugin", "rawz", "--directory", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"initreg: {there}: it exists, and nothing is replaced. Choose another name, or remove it\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["initreg-rawz"]
    assert not there.is_dir() or list(there.iterdir()) == []


def test_a_folder_that_cannot_be_finished_is_not_begun(tmp_path: Path) -> None:
    """One of its paths is too long for the system, and others are not. None of it is left."""
    longest = os.pathconf(tmp_path, "PC_PATH_MAX") - 1  # without the byte that ends it
    temporary = len("/.initreg-") + 32
    inside = str(tmp_path)
    # The workflow is written first, with 28 characters; src/initreg_rawz_rawz/__init__.py has 34.
    left = longest - 30 - temporary - len(inside)
    while left > 1:
        part = min(left - 1, 200)
        part -= left - 1 - part == 1  # not one more character, which would be a slash alone
        inside += "/" + "d" * part
        left -= part + 1
    os.makedirs(inside)
    with pytest.raises(UnwritableFile, match=r"cannot be made: .*\. Nothing was changed"):
        new_plugin("rawz-rawz", inside=inside)
    assert os.listdir(inside) == []


@pytest.mark.parametrize("inside", ["no", "file"])
def test_a_folder_that_cannot_be_written(inside: str, tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnwritableFile, match=r"initreg-rawz: cannot be made: N.* directory\. "):
        new_plugin("rawz", inside=tmp_path / inside)
