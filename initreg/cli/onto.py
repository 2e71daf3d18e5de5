"""What ``--onto`` names: a source, for its names and shapes, or code that builds a model."""

from __future__ import annotations

import importlib
import os
import re
import sys
from contextlib import ExitStack
from typing import Any

from initreg.chain import open as open_source
from initreg.errors import InitregError, SourceNotFound, TargetError

_CALLABLE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def target_of(text: str, stack: ExitStack, *, allow_pickle: bool = False) -> Any:
    """The target: an open map, which ``stack`` closes, or what ``package.module:callable`` gives.

    Modules are looked for in the working folder, too. Raises what opening a source raises, and
    TargetError if the code cannot be imported, fails, or gives nothing.
    """
    match = _CALLABLE.fullmatch(text)
    if match is None or os.path.exists(text):
        try:
            return stack.enter_context(open_source(text, allow_pickle=allow_pickle))
        except SourceNotFound as error:
            raise SourceNotFound(
                f"{error}. --onto takes a source, or code as package.module:callable"
            ) from error
    return _build(match[1], match[2])


def _build(module: str, path: str) -> Any:
    where = f"--onto {module}:{path}"
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, and the installed script does not
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # the user's own code
        raise TargetError(f"{where}: {module} cannot be imported: {_brief(error)}") from error
    try:
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
        has = f". It has {', '.join(sorted(names)[:10])}" if names else ""
        raise TargetError(f"{where}: {error}{has}") from error
    if not callable(found):
        return found  # a model that is there already
    try:
        built = found()
    except InitregError:
        raise
    except Exception as error:
        raise TargetError(f"{where}: calling it failed: {_brief(error)}") from error
    if built is None:
        raise TargetError(
            f"{where} returned None: let it return what it builds, which may be a model, a "
            "session, a graph, variables or a dict of arrays"
        )
    return built


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
