"""The folder of a plugin that works, with its tests, made from the files in templates/."""

from __future__ import annotations

import contextlib
import importlib.util
import keyword
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from initreg.errors import InitregError, UnwritableFile, printable

# What is made, by kind: the files of the folder, each with its template.
_ALL = {
    ".github/workflows/tests.yml": "workflow.yml",
    ".gitignore": "gitignore",
    "README.md": "{kind}/README.md",
    "pyproject.toml": "pyproject.toml",
    "src/{module}/__init__.py": "{kind}/plugin.py",
    "src/{module}/py.typed": "",
    "tests/test_{point}.py": "{kind}/test_{kind}.py",
}
_DESCRIPTIONS = {
    "format": "Lets initreg read and write {ending} files",
    "target": "Lets initreg restore weights into models of {name}",
    "verb": "Adds the verb {name} to the command line of initreg",
}
KINDS = tuple(_DESCRIPTIONS)
_LONGEST = 40  # letters of a name, so that module and folder names stay short
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class NewPlugin:
    """A plugin that was made.

    Attributes:
        kind: ``"format"``, ``"target"`` or ``"verb"``.
        name: the name of its entry point, by which initreg and its users call it.
        folder: where it is.
        distribution: what ``pip install`` calls it.
        module: what Python imports.
        files: its files, relative to the folder.
    """

    kind: str
    name: str
    folder: Path
    distribution: str
    module: str
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "folder": str(self.folder),
            "distribution": self.distribution,
            "module": self.module,
            "files": list(self.files),
        }


def new_plugin(
    name: str,
    kind: str = "format",
    inside: str | os.PathLike[str] = ".",
    own_verbs: Collection[str] = (),
) -> NewPlugin:
    """Make the folder ``initreg-NAME`` with a plugin that works. It is made whole, or not at all.

    Args:
        name: what the plugin is called: lower-case letters and digits, in words that hyphens
            separate.
        kind: ``"format"``, ``"target"`` or ``"verb"``.
        inside: the folder in which the new one is made.
        own_verbs: initreg's own verbs, whose names no plugin can have.

    Raises:
        InitregError: the name cannot be used, or the folder exists.
        UnwritableFile: the folder cannot be written.
    """
    words = _words_of(name)
    made = NewPlugin(
        kind,
        words["point"],
        Path(inside) / words["distribution"],
        words["distribution"],
        words["module"],
        tuple(path.format(**words) for path in _ALL),
    )
    _refuse_taken(made, words["ending"])
    if kind == "verb":
        _refuse_verb(name, own_verbs)
    if os.path.lexists(made.folder):
        raise InitregError(
            f"{made.folder}: it exists, and nothing is replaced. Choose another name, or remove it"
        )
    texts = dict(zip(made.files, _texts(kind, words), strict=True))
    try:
        with _beside(made.folder) as folder:
            for path, text in texts.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, "utf-8")
            folder.rename(made.folder)
    except OSError as error:
        why = error.strerror or error
        raise UnwritableFile(
            f"{made.folder}: cannot be made: {why}. Nothing was changed"
        ) from error
    return made


def _words_of(name: str) -> dict[str, str]:
    """What a name becomes in file names and in code.

    Raises:
        InitregError: it is not a name, or Python reserves it.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InitregError(
            f"{printable(name)!r} cannot be the name of a plugin. Give at most {_LONGEST} "
            f"lower-case letters and digits, in words that hyphens separate{_rather(name)}"
        )
    if name == "initreg" or name.startswith("initreg-"):
        raise InitregError(
            f"{name!r}: give the name without 'initreg-', which is put before it in the name of "
            f"the distribution{_rather(name.removeprefix('initreg').strip('-'))}"
        )
    point = name.replace("-", "_")
    if keyword.iskeyword(point) or keyword.issoftkeyword(point):
        raise InitregError(f"{name!r} is a keyword of Python. Choose another name")
    magic = f"{name.replace('-', '').upper()[:8]}1"
    return {
        "name": name,
        "point": point,
        "distribution": f"initreg-{name}",
        "module": f"initreg_{point}",
        "class": "".join(word.capitalize() for word in name.split("-")),
        "ending": f".{name}",
        "magic": magic,
        "magic_length": str(len(magic)),
        "version": metadata.version("initreg"),
    }


def _rather(name: str) -> str:
    """A name that could be meant, as the end of a message."""
    words = "-".join(re.findall(r"[a-z0-9]+", name.lower())).lstrip("0123456789-")[:_LONGEST]
    words = words.removeprefix("initreg").strip("-")
    return f", such as {words!r}" if _NAME.fullmatch(words) else ""


def _refuse_taken(made: NewPlugin, ending: str) -> None:
    """Raise an InitregError if there is such a plugin, distribution, module or ending already."""
    from initreg.plugin.installed import default_registry

    registry = default_registry()
    for record in registry.records:
        if record.name == made.name:
            raise InitregError(
                f"{made.name!r} is the name of an installed plugin, of {record.distribution}. "
                "Choose another name"
            )
    # The extras of initreg are the plugins that its own developers publish.
    ours = {
        re.split(r"[^\w-]", line)[0]
        for line in metadata.requires("initreg") or ()
        if line.startswith("initreg-")
    }
    if made.distribution in ours:
        raise InitregError(
            f"{made.distribution} exists: pip install {made.distribution}. Choose another name"
        )
    if importlib.util.find_spec(made.module) is not None:
        raise InitregError(
            f"{made.module} is a module that is installed already. Choose another name"
        )
    owner = registry.endings().get(ending)
    if made.kind == "format" and owner is not None:
        raise InitregError(
            f"{ending} is an ending of the format {owner!r}, and would be the one of this. Choose "
            "another name"
        )


def _refuse_verb(name: str, own_verbs: Collection[str]) -> None:
    """Raise an InitregError if there is such a verb already."""
    from initreg.plugin.installed import default_registry
    from initreg.plugin.verbs import plugin_verbs

    added = plugin_verbs(default_registry(), own_verbs)
    if name in {*own_verbs, *added.verbs, *added.clashes}:
        whose = "of a plugin" if name not in own_verbs else "of initreg"
        raise InitregError(f"{name!r} is a verb {whose} already. Choose another name")


def _texts(kind: str, words: Mapping[str, str]) -> Iterator[str]:
    """The texts of all files."""
    description = _DESCRIPTIONS[kind].format(**words)
    folder = resources.files("initreg.cli") / "templates"
    for template in _ALL.values():
        text = ""
        if template:
            text = (folder / f"{template.format(kind=kind)}.in").read_text("utf-8")
        for word, value in {**words, "description": description}.items():
            text = text.replace(f"@{word.upper()}@", value)
        yield text


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new folder beside another one, which is gone afterwards, unless it was renamed."""
    made = folder.with_name(f".initreg-{uuid.uuid4().hex}")
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
