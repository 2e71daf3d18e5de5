"""The entry points of a group: which plugins are installed, without importing them.

:mod:`importlib.metadata` says so. Its import and its answer take a fifth of the instructions that
the import of numpy takes, most of them for a parser of e-mail, which reads the names of
distributions. So what almost every installation consists of is read here: folders on ``sys.path``
with folders ``NAME-VERSION.dist-info`` or ``.egg-info``. :mod:`importlib.metadata` is asked
whenever there is anything else: a zip file, an egg, a finder of distributions that is not Python's,
or a text that is not as packaging tools write it.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from initreg.errors import PluginError, brief
from initreg.records import record

if TYPE_CHECKING:
    from importlib import metadata

_ENDINGS = (".dist-info", ".egg-info")
_LACKS_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


@record()
class Point:
    """An entry point.

    Attributes:
        name: its name.
        value: the module or object that it names, as it is written.
        module: the module that it names, or that the object is in.
        load: imports it. Raises whatever its import raises.
        distribution: the name of the installed package that it comes from, "" if there is none.
        version: the version of that package.
    """

    name: str
    value: str
    module: str
    load: Callable[[], Any]
    distribution: str
    version: str


class _NotPlainError(Exception):
    """Something that is left to importlib.metadata."""


def entry_points(group: str) -> list[Point]:
    """The entry points of all installed distributions, as ``importlib.metadata`` finds them.

    The load of an entry point raises PluginError if its distribution cannot be read.
    """
    try:
        return list(_plain_points(group))
    except (_NotPlainError, OSError, ValueError):
        return list(_all_points(group))


def _all_points(group: str) -> Iterator[Point]:
    """The entry points of all distributions, of which any may be damaged.

    ``metadata.entry_points`` fails for all of them if one of them cannot be read.
    """
    from importlib import metadata

    seen: set[str] = set()
    for dist in metadata.distributions():
        try:
            name = re.sub(r"[-_.]+", "_", _named(dist)[0]).lower()
        except Exception:  # what a parser raises for bytes that somebody else wrote
            name = ""
        if name in seen:  # the first one is imported, too
            continue
        seen.update({name} - {""})
        try:
            found = [each for each in dist.entry_points if each.group == group]
        except Exception as error:
            if point := _unreadable(group, dist, name, error):
                yield point
            continue
        yield from map(point_of, found)


def _unreadable(
    group: str, dist: metadata.Distribution, name: str, error: Exception
) -> Point | None:
    """A point that cannot be loaded, if the text that cannot be read is about the group."""
    folder = str(getattr(dist, "_path", ""))
    path = os.path.join(folder, "entry_points.txt")
    try:
        with open(path, "rb") as opened:
            if f"[{group}]".encode() not in opened.read(1 << 20):
                return None
    except OSError:  # in a zip file, or of a finder of somebody else's
        return None
    reason = f"{path} cannot be read: {brief(error)}"

    def load() -> Any:
        raise PluginError(reason)

    return Point(name or os.path.basename(folder), path, "", load, name, "")


def point_of(given: metadata.EntryPoint) -> Point:
    """An entry point of ``importlib.metadata`` as one of ours."""
    try:
        name, version = _named(given.dist) if given.dist is not None else ("", "")
    except Exception:  # what a parser raises for bytes that somebody else wrote
        name, version = "", ""
    try:
        module = given.module
    except (AttributeError, AssertionError):  # of a value that names nothing, and cannot be loaded
        module = ""
    return Point(given.name, given.value, module, given.load, name, version)


@functools.lru_cache(256)  # each answer parses the whole description of the distribution
def _named(dist: metadata.Distribution) -> tuple[str, str]:
    described = dist.metadata  # which is parsed each time, and ``dist.name`` asks for it, too
    return described["Name"] or "", described["Version"] or ""


def _plain_points(group: str) -> Iterator[Point]:
    """The entry points, if all distributions are plain folders. Raises _NotPlainError if not."""
    finders = [each for each in sys.meta_path if hasattr(each, "find_distributions")]
    if finders != [PathFinder]:
        raise _NotPlainError
    for folder in _infos():
        text = _read(folder, "entry_points.txt")
        if text is None or group not in text:
            continue
        values = list(_values_of(group, text))
        if values:
            described = _read(folder, "METADATA") or _read(folder, "PKG-INFO") or ""
            name, version = (_header(described, each) for each in ("Name", "Version"))
            for key, value in values:
                module, attribute = _parts(value)
                load = functools.partial(_load, module, attribute)
                yield Point(key, value, module, load, name, version)


def _infos() -> Iterator[str]:
    """The folders that describe distributions. Of several with one name, the first counts."""
    seen: set[str] = set()
    for entry in sys.path:
        if not isinstance(entry, str) or entry.lower().endswith((".egg", ".egg/")):
            raise _NotPlainError
        try:
            found = os.listdir(entry or ".")
        except FileNotFoundError:
            continue
        for each in found:
            if not each.lower().endswith(_ENDINGS):
                continue
            stem, dot, kind = each.rpartition(".")
            name = re.sub(r"[-_.]+", "_", stem.partition("-")[0]).lower()
            if not name or dot + kind not in _ENDINGS:
                raise _NotPlainError
            if name not in seen:
                seen.add(name)
                yield os.path.join(entry, each)


def _read(folder: str, name: str) -> str | None:
    """A text in a folder, or None if it has none."""
    try:
        file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_CLOEXEC)
    except _LACKS_FILE:
        return None
    try:
        found = os.read(file, 1 << 16)
        while more := os.read(file, 1 << 20):  # few are as long
            found += more
    finally:
        os.close(file)
    return found.decode()


def _values_of(group: str, text: str) -> Iterator[tuple[str, str]]:
    """The names and values of a group in the text of ``entry_points.txt``."""
    section = None
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section is not None:
            name, equals, value = line.partition("=")
            if not equals:
                raise _NotPlainError
            if section == group:
                yield name.strip(), value.strip()


def _parts(value: str) -> tuple[str, str]:
    """The module and the attribute in it that an entry point names, which may be ""."""
    module, colon, attribute = value.partition(":")
    names = module.split(".") + (attribute.split(".") if colon else [])
    if not all(name.isidentifier() for name in names):
        raise _NotPlainError
    return module, attribute


def _header(text: str, name: str) -> str:
    """The value of a header in the description of a distribution."""
    lines = text.replace("\r\n", "\n").partition("\n\n")[0].split("\n")
    found = [at for at, line in enumerate(lines) if line.lower().startswith(f"{name.lower()}:")]
    if len(found) != 1:
        raise _NotPlainError
    value = lines[found[0]].partition(":")[2].strip()
    is_continued = any(line[:1].isspace() for line in lines[found[0] + 1 : found[0] + 2])
    if not value or not value.isprintable() or is_continued:
        raise _NotPlainError
    return value


def _load(module: str, attribute: str) -> Any:
    found = importlib.import_module(module)
    return functools.reduce(getattr, filter(None, attribute.split(".")), found)
