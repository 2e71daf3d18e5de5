"""The target that ``--onto`` names: a source, or code that builds a model."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from initreg.api.opening import open as open_source
from initreg.errors import InitregError, SourceNotFound, TargetError, UnknownFormat, UnknownTarget
from initreg.option_spelling import said
from initreg.plugin.installed import default_registry

_DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_IN_A_MODULE = re.compile(rf"({_DOTTED}):({_DOTTED})")
_IN_A_FILE = re.compile(rf"(.*\.py):({_DOTTED})")
_MODULE = "__onto__"  # the name of a loaded file; like __main__, it is no other module's


def target_of(text: str, stack: ExitStack, **opening: Any) -> Any:
    """The target: an open map, or what the named code builds.

    Modules are also looked for in the working folder. If a path exists, it is a source, even if it
    could be the name of code.

    Args:
        text: a source, ``package.module:callable`` or ``path/to/file.py:callable``.
        stack: it closes the map.
        **opening: how a source is opened.

    Raises:
        SourceNotFound: the file does not exist.
        TargetError: the code cannot be imported, fails, or returns None.
        InitregError: what :func:`initreg.open` raises.
    """
    if is_code(text):
        return built(text, "--onto ")
    try:
        return stack.enter_context(open_source(text, **opening))
    except SourceNotFound as error:
        raise SourceNotFound(
            said(error) + ". --onto takes a source, or code as package.module:callable or as "
            "file.py:callable"
        ) from error
    except UnknownFormat as error:
        if not text.endswith(".py"):
            raise
        raise UnknownFormat(
            said(error) + f". If it is code, name what builds the model: --onto {text}:callable"
        ) from error


def is_code(text: str) -> bool:
    """Whether a text names code, as ``package.module:callable`` or ``file.py:callable``."""
    if os.path.exists(text):
        return False
    return bool(_IN_A_FILE.fullmatch(text) or _IN_A_MODULE.fullmatch(text))


def built(text: str, option: str = "") -> Any:
    """What the named code is or builds: a model, a session, variables, a dict of arrays.

    Args:
        text: it names code, by :func:`is_code`.
        option: the option before it, for messages.

    Raises:
        SourceNotFound: the file does not exist.
        TargetError: the code cannot be imported, fails, or returns None.
    """
    if match := _IN_A_FILE.fullmatch(text):
        return _from_file(match[1], match[2], option)
    match = _IN_A_MODULE.fullmatch(text)
    assert match is not None
    return _from_module(match[1], match[2], option)


def _from_module(name: str, path: str, option: str) -> Any:
    where = f"{option}{name}:{path}"
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, but not the installed script
    with _foreign(f"{where}: {name} cannot be imported", name):
        module = importlib.import_module(name)
    return _build(module, name, path, option)


def _from_file(name: str, path: str, option: str) -> Any:
    where = f"{option}{name}:{path}"
    file = Path(os.path.expanduser(name))
    if not os.path.exists(file):
        raise SourceNotFound(f"{where}: there is no file {name}")
    with _importable(file.resolve().parent):  # also while it builds, since functions may import
        with _foreign(f"{where}: {name} cannot be imported", name):
            module = ModuleType(_MODULE)
            module.__file__ = str(file.absolute())
            sys.modules[_MODULE] = module  # dataclasses, for example, look for it there
            code = compile(file.read_bytes(), module.__file__, "exec", dont_inherit=True)
            exec(code, vars(module))
        return _build(module, name, path, option)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Look for modules in ``folder`` first, as ``python folder/file.py`` does."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _build(module: ModuleType, name: str, path: str, option: str) -> Any:
    """What the named code is, or returns if it is called.

    Args:
        module: the module.
        name: what the user calls the module.
        path: the name in the module, which may have dots.
        option: the option before it, for messages.

    Raises:
        TargetError: there is no such name, calling it fails, or it returns None.
    """
    where = f"{option}{name}:{path}"
    found: Any = module
    try:
        for part in path.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
        has = f". It has {', '.join(sorted(names)[:10])}" if names else ""
        what = str(error).replace(f"module '{_MODULE}'", name)
        raise TargetError(f"{where}: {what}{has}") from error
    if not _is_builder(found):
        return found
    with _foreign(f"{where}: calling it failed", name):
        built = found()
    if built is None:
        raise TargetError(
            f"{where} returned None. It must return what it builds: a model, a session, a graph, "
            "variables or a dict of arrays"
        )
    return built


def _is_builder(found: Any) -> bool:
    """Whether it must be called to get the target. A model that exists may be callable, too."""
    if inspect.isroutine(found) or inspect.isclass(found):
        return True
    if not callable(found):
        return False
    try:
        default_registry().target(found)
    except UnknownTarget:
        return True
    except InitregError:  # a target that says what is wrong with it
        return False
    return False


@contextlib.contextmanager
def _foreign(failure: str, program: str) -> Iterator[None]:
    """Run the user's code.

    What it prints goes to stderr, because stdout has the plan. It does not see the arguments of
    this program. Whatever it raises becomes a TargetError, so that ``sys.exit()`` in it is no
    success.

    Args:
        failure: how the message of the error begins.
        program: the name of the program that it sees.
    """
    arguments = sys.argv
    sys.argv = [program]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except InitregError:
        raise
    except (Exception, SystemExit) as error:
        raise TargetError(f"{failure}: {_brief(error)}") from error
    finally:
        sys.argv = arguments


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
