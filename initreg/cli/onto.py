"""What ``--onto`` names: a source, for its names and shapes, or code that builds a model."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from initreg.api.chain import open as open_source
from initreg.errors import InitregError, SourceNotFound, TargetError, UnknownTarget
from initreg.plugin.registry import default_registry

_CALLABLE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def target_of(text: str, stack: ExitStack, **opening: Any) -> Any:
    """The target: an open map, which ``stack`` closes, or what ``package.module:callable`` gives.

    Modules are looked for in the working folder, too. Raises what opening a source raises, and
    TargetError if the code cannot be imported, fails, or gives nothing.
    """
    match = _CALLABLE.fullmatch(text)
    if match is None or os.path.exists(text):
        try:
            return stack.enter_context(open_source(text, **opening))
        except SourceNotFound as error:
            raise SourceNotFound(
                f"{error}. --onto takes a source, or code as package.module:callable"
            ) from error
    return _build(match[1], match[2])


def _build(module: str, path: str) -> Any:
    where = f"--onto {module}:{path}"
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, and the installed script does not
    with _foreign(f"{where}: {module} cannot be imported", module):
        found: Any = importlib.import_module(module)
    try:
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as error:
        names = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
        has = f". It has {', '.join(sorted(names)[:10])}" if names else ""
        raise TargetError(f"{where}: {error}{has}") from error
    if not _is_builder(found):
        return found
    with _foreign(f"{where}: calling it failed", module):
        built = found()
    if built is None:
        raise TargetError(
            f"{where} returned None: let it return what it builds, which may be a model, a "
            "session, a graph, variables or a dict of arrays"
        )
    return built


def _is_builder(found: Any) -> bool:
    """Whether it is to be called; a model that is there already may be callable, too."""
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
def _foreign(failure: str, module: str) -> Iterator[None]:
    """Run the user's code: what it prints goes to stderr, for stdout has the plan; it finds no
    arguments of ours; and whatever it raises is a TargetError, so that leaving is no success."""
    arguments = sys.argv
    sys.argv = [module]
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
