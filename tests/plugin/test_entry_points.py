"""Entry points are those that importlib.metadata finds, whatever the installation looks like."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest

from initreg.plugin.entry_points import Point, _NotPlainError, _plain_points, entry_points, point_of

POINTS = "[initreg]\nraw = some_raw\n"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write a folder that describes a distribution, in a folder of sys.path; give that folder."""
    path: list[str] = []
    monkeypatch.setattr(sys, "path", path)

    def install(
        info: str, points: str | None = POINTS, described: str | None = None, site: str = "site"
    ) -> Path:
        folder = tmp_path / site
        if str(folder) not in path:
            path.append(str(folder))
        made = folder / info
        made.mkdir(parents=True)
        name, _, version = info.rpartition(".")[0].partition("-")
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: in the text\n"
        kind = "PKG-INFO" if info.endswith(".egg-info") else "METADATA"
        (made / kind).write_bytes((text if described is None else described).encode())
        if points is not None:
            (made / "entry_points.txt").write_bytes(points.encode())
        return folder

    return install


def said(points: Iterable[Point]) -> list[tuple[str, ...]]:
    return [(p.name, p.value, p.module, p.distribution, p.version) for p in points]


def expected() -> list[tuple[str, ...]]:
    """What importlib.metadata says."""
    return said(map(point_of, metadata.entry_points(group="initreg")))


def is_plain() -> bool:
    """Whether importlib.metadata is not asked."""
    try:
        list(_plain_points("initreg"))
    except (_NotPlainError, OSError, ValueError):
        return False
    return True


# --- plain folders --------------------------------------------------------------------------------


def test_the_installed_plugins_are_found() -> None:
    """Those of the environment of this test, the wheel's among them."""
    found = said(entry_points("initreg"))
    assert found == expected()
    assert ("npz", "initreg_formats.npz", "initreg") in {(p[0], p[2], p[3]) for p in found}


@pytest.mark.parametrize(
    "points",
    [
        POINTS,
        "[console_scripts]\nraw = other:main\n\n[initreg]\n# a comment\n  raw=some.raw : X.y\n",
        "[initreg]\r\nraw = some_raw:\r\n[initreg.more]\r\nnot = this\r\n",
        "# [initreg]\n[other]\ninitreg = initreg\n",
        "[initreg]\nb = second\na = first\n[gui_scripts]\n\n[initreg]\nc = third:made.here\n",
        "",
        None,
    ],
)
@pytest.mark.parametrize("ending", ["dist-info", "egg-info"])
def test_texts_as_tools_and_people_write_them(
    install: Install, points: str | None, ending: str
) -> None:
    """Comments, spaces, other groups and the group in two parts, in folders of both kinds."""
    install(f"stranger-2.0.{ending}", points)
    assert said(entry_points("initreg")) == expected()


def test_the_first_of_several_distributions_of_one_name_counts(install: Install) -> None:
    """However the name is spelt, in one folder of sys.path or in two, even if it has no plugins."""
    install("Some_Thing-1.0.dist-info", "[initreg]\nraw = first\n", site="one")
    install("some.thing-2.0.dist-info", "[initreg]\nraw = second\n", site="two")
    install("other-1.0.dist-info", None, site="one")
    install("other-2.0.dist-info", "[initreg]\nhidden = other\n", site="two")
    install("third-1.0.dist-info", "[initreg]\nx = old\n", site="three")
    install("third-2.0.dist-info", "[initreg]\nx = new\n", site="three")
    sys.path += [*sys.path, "/there/is/no/such/folder"]
    found = said(entry_points("initreg"))
    assert is_plain()
    assert found == expected()
    assert found[0] == ("raw", "first", "first", "Some_Thing", "1.0")
    assert len(found) == 2


def test_the_working_folder_is_on_the_path(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is "" there, as in ``python -c``."""
    monkeypatch.chdir(install("stranger-2.0.dist-info"))
    monkeypatch.setattr(sys, "path", [""])
    assert is_plain()
    assert said(entry_points("initreg")) == expected() != []


# --- what is left to importlib.metadata -----------------------------------------------------------


def test_zipped_eggs_and_eggs_in_folders(install: Install, tmp_path: Path) -> None:
    """Both are found by importlib.metadata, beside a plain distribution."""
    install("stranger-2.0.dist-info")
    with zipfile.ZipFile(tmp_path / "zipped-1.0.egg", "w") as egg:
        egg.writestr("EGG-INFO/PKG-INFO", "Name: zipped\nVersion: 1.0\n")
        egg.writestr("EGG-INFO/entry_points.txt", "[initreg]\nzipped = some_zipped\n")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("inside-3.0.dist-info/METADATA", "Name: inside\nVersion: 3.0\n")
        archive.writestr("inside-3.0.dist-info/entry_points.txt", "[initreg]\ninside = x\n")
    folder = tmp_path / "open-1.0.egg" / "EGG-INFO"
    folder.mkdir(parents=True)
    (folder / "PKG-INFO").write_text("Name: open\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[initreg]\nopen = some_open\n")
    for name in ("zipped-1.0.egg", "archive.zip", "open-1.0.egg"):
        sys.path[1:] = [str(tmp_path / name)]
        assert not is_plain()
        found = said(entry_points("initreg"))
        assert found == expected()
        assert len(found) == 2


def test_a_finder_of_distributions_is_asked(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on sys.meta_path finds distributions that are in no folder of sys.path."""
    install("stranger-2.0.dist-info")

    class Built(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            texts = {
                "METADATA": "Name: built\nVersion: 5.0\n",
                "entry_points.txt": "[initreg]\nbuilt = some_built\n",
            }
            return texts.get(filename)

        def locate_file(self, path: object) -> Path:
            raise NotImplementedError

    class Finder(metadata.DistributionFinder):
        def find_distributions(
            self, context: metadata.DistributionFinder.Context | None = None
        ) -> list[metadata.Distribution]:
            return [Built()]

        def find_spec(self, *arguments: object) -> None:
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert not is_plain()
    found = said(entry_points("initreg"))
    assert found == expected()
    assert ("built", "some_built", "some_built", "built", "5.0") in found


@pytest.mark.parametrize(
    ("info", "points", "described"),
    [
        ("stranger-2.0.dist-info", "[initreg]\nraw = some:x [extra]\n", None),
        ("stranger-2.0.dist-info", "[initreg]\nraw = not a module\n", None),
        ("stranger-2.0.dist-info", POINTS, "Name: folded\n  over lines\nVersion: 2\n"),
        ("stranger-2.0.dist-info", POINTS, "Name: twice\nName: again\nVersion: 2\n"),
        ("stranger-2.0.DIST-INFO", POINTS, "Name: loud\nVersion: 2\n"),
        ("-2.0.dist-info", POINTS, "Name: nameless\nVersion: 2\n"),
    ],
)
def test_what_no_tool_writes(
    install: Install, info: str, points: str, described: str | None
) -> None:
    """importlib.metadata says what it means, also if that cannot be loaded."""
    install(info, points, described)
    assert not is_plain()
    assert said(entry_points("initreg")) == expected()


@pytest.mark.parametrize("entry", [None, "empty.zip"])
@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("entry_points.txt", b"[initreg]\nraw\n", "entry_points.txt cannot be read: "),
        ("entry_points.txt", b"[initreg]\nraw = a\n# \xff\n", "entry_points.txt cannot be read: "),
        ("entry_points.txt", b"[other]\n\xff = a\n", None),
        ("METADATA", b"Name: bad\nVersion: 1\nAuthor: \xff\n", "cannot be imported: "),
    ],
)
def test_a_damaged_distribution_breaks_no_other(
    install: Install,
    tmp_path: Path,
    entry: str | None,
    file: str,
    content: bytes,
    reason: str | None,
) -> None:
    """Its record says what is damaged, if it is about initreg, and the other plugin works."""
    from initreg.plugin.registry import Registry

    if entry is not None:  # then importlib.metadata is asked, even if this one is in order
        with zipfile.ZipFile(tmp_path / entry, "w"):
            sys.path.append(str(tmp_path / entry))
    folder = install("bad-1.0.dist-info", "[initreg]\nraw = no_such_module\n")
    (folder / "bad-1.0.dist-info" / file).write_bytes(content)
    install("right-1.0.dist-info", "[initreg]\ngood = good_two\n")
    (folder / "good_two.py").write_text(
        "from initreg import hookimpl\n@hookimpl\ndef initreg_target(obj): pass\n"
    )
    records = {record.name: record for record in Registry().records}
    assert (records.pop("good").broken, len(records)) == (None, 0 if reason is None else 1)
    if reason is not None:
        assert reason in str(next(iter(records.values())).broken)
    del sys.modules["good_two"]


# --- loading --------------------------------------------------------------------------------------


def test_an_entry_point_loads_a_module_or_an_object_in_it(install: Install) -> None:
    """As the value says; a module that is not there raises the error of the import."""
    text = "[initreg]\na = json\nb = json:JSONEncoder.encode\nc = no_such_module\n"
    install("stranger-2.0.dist-info", text)
    import json

    a, b, c = entry_points("initreg")
    assert (a.load(), b.load()) == (json, json.JSONEncoder.encode)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        c.load()


def test_a_value_that_names_nothing_is_told_of_one_plugin(install: Install) -> None:
    """Its record says so, and the other plugin works."""
    from initreg.plugin.registry import Registry

    folder = install("stranger-2.0.dist-info", "[initreg]\nbad = not a module\ngood = good_one\n")
    (folder / "good_one.py").write_text(
        "from initreg import hookimpl\n@hookimpl\ndef initreg_target(obj): pass\n"
    )
    records = {record.name: record for record in Registry().records}
    assert str(records["bad"].broken).startswith("cannot be imported: ")
    assert (records["good"].broken, records["good"].kinds) == (None, ("target",))
    del sys.modules["good_one"]


def test_a_listing_does_not_import_what_reads_metadata() -> None:
    """Neither importlib.metadata nor the parser of e-mail that it needs."""
    program = (
        "import sys\nfrom initreg.plugin.installed import default_registry\n"
        "assert 'npz' in default_registry().formats()\n"
        "print({'importlib.metadata', 'email', 'subprocess', 'argparse'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
