"""Plugins: how they are imported, and checked against the contract."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pluggy

from initreg.errors import PluginError
from initreg.plugin import hookspecs, training_hookspecs, verb_hookspecs
from initreg.plugin.calling import is_wrapper
from initreg.plugin.claim import Claim, Confidence
from initreg.plugin.entry_points import Point
from initreg.plugin.target import Target
from initreg.records import fresh, record

_VERBS = "initreg_verbs"
HOME = "initreg"  # the distribution whose plugins win when two have the same name
PATIENCE = 20.0  # seconds for the import of a third party's plugin

HOOKS = tuple(
    sorted(
        name
        for module in (hookspecs, training_hookspecs, verb_hookspecs)
        for name in vars(module)
        if name.startswith("initreg_")
    )
)


@record(frozen=False)
class PluginRecord:
    """What is known about one plugin.

    Attributes:
        name: the name of its entry point, which for a format is the format's name.
        distribution: the installed package that it comes from, "" if there is none.
        version: the version of that package.
        module: what its entry point names.
        kinds: what it can do, of ``"format"``, ``"target"``, ``"wrapper"``, ``"training"`` and
            ``"verb"``.
        broken: why it takes no part, or None if it works.
        missing: the libraries that it needs and that are not installed. Each is mapped to the
            command that installs it.
    """

    name: str
    distribution: str
    version: str
    module: str
    kinds: tuple[str, ...] = ()
    broken: str | None = None
    missing: Mapping[str, str] = fresh(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "module": self.module,
            "kinds": list(self.kinds),
            "broken": self.broken,
            "missing": dict(self.missing),
        }


_thread = threading.local()  # .loads: whether this thread loads plugins


@contextmanager
def here() -> Iterator[None]:
    """Mark this thread as one that loads plugins."""
    before = is_here()
    _thread.loads = True
    try:
        yield
    finally:
        _thread.loads = before


def is_here() -> bool:
    """Whether this thread loads plugins."""
    return getattr(_thread, "loads", False)


def being_imported() -> set[str]:
    """The modules whose import is under way in this thread."""
    found = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "<module>" and isinstance(name, str) and name != "__main__":
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):  # not, say, a doctest of the module
                found.add(name)
        frame = frame.f_back
    return found


def loaded(point: Point) -> Any:
    """The module or object that an entry point names. Raises whatever its import raises.

    A third party's plugin is imported in a thread of its own, so that an import that does not end
    is given up, with a PluginError. Within another import there is no such thread: it could need a
    module that the calling thread is importing, and the two would wait for each other.
    """
    busy = being_imported()
    if point.module in busy:
        raise PluginError("it is being imported by the code that loads the plugins")
    if busy or point.distribution == HOME:
        with here():
            return point.load()
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with here():
                found.append(point.load())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name=f"initreg-import-{point.name}", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if failed:
        raise failed[0]
    if not found:
        raise PluginError(f"its import has not ended for {PATIENCE:g} s, and was given up")
    return found[0]


def checked_kinds(plugin: object, impls: Mapping[str, list[pluggy.HookImpl]]) -> tuple[str, ...]:
    """What a plugin with these implementations, by hook, can do.

    Raises PluginError, with the reason, if it breaks the contract.
    """
    own: set[str] = set()
    wraps = False
    for hook, found in impls.items():
        if hook not in HOOKS:
            if all(impl.optionalhook for impl in found):
                continue
            raise PluginError(f"there is no hook {hook!r}; the hooks are {list(HOOKS)}")
        plain = [impl for impl in found if not is_wrapper(impl)]
        if len(plain) > 1:
            raise PluginError(f"it implements {hook} {len(plain)} times")
        if plain and len(found) > 1:
            raise PluginError(
                f"it both implements and wraps {hook}; put the wrapper into a module with an entry "
                "point of its own"
            )
        wraps = wraps or not plain
        own.update([hook] if plain else [])
    if "initreg_claim" in own and "initreg_open" not in own:
        raise PluginError("it has initreg_claim, but no initreg_open")
    if "initreg_open" in own and "initreg_claim" not in own:
        raise PluginError("it has initreg_open, but no initreg_claim")
    if "initreg_save" in own and "initreg_open" not in own:
        raise PluginError("it has initreg_save, but neither initreg_claim nor initreg_open")
    if "initreg_save" in own:
        endings(plugin)
    can = {"format": "initreg_open" in own, "target": "initreg_target" in own, "wrapper": wraps}
    others = own - {_VERBS}
    can["training"] = bool(others) and not (can["format"] or can["target"])
    can["verb"] = _VERBS in own
    if not any(can.values()):
        raise PluginError("it implements no hook; is @hookimpl missing?")
    return tuple(kind for kind, yes in can.items() if yes)


def checked_claim(claim: Any) -> Claim | None:
    """The claim, if it can be weighed against others. Raises PluginError if not."""
    if claim is None:
        return None
    if not isinstance(claim, Claim):
        raise PluginError(f"initreg_claim returned a {type(claim).__name__}, not a Claim")
    texts = isinstance(claim.reason, str) and isinstance(claim.file, str)
    if not isinstance(claim.confidence, Confidence) or not texts:
        raise PluginError(f"initreg_claim returned {claim!r}; give a Confidence and texts")
    return claim


def checked_target(target: Any) -> Target | None:
    """The target, if it is one or None. Raises ValueError if not: it is the plugin's fault."""
    if target is None or is_target(target):
        return target  # type: ignore[no-any-return]
    raise ValueError(f"initreg_target returned a {type(target).__name__}, not a Target")


def is_target(obj: object) -> bool:
    """Whether it has what a ``Target`` has."""
    try:
        return isinstance(obj, Target)
    except Exception:  # the check evaluates the properties of a foreign object
        return False


def missing(plugin: object) -> dict[str, str]:
    """The part of ``initreg_requires`` that is not installed. Raises PluginError if it is not a
    dict of str."""
    needs = getattr(plugin, "initreg_requires", {})
    if not isinstance(needs, Mapping) or not all(
        isinstance(text, str) for item in needs.items() for text in item
    ):
        raise PluginError(
            f"initreg_requires is {needs!r}, not a dict of libraries and the commands that "
            "install them"
        )
    return {library: remedy for library, remedy in needs.items() if not is_installed(library)}


def check_parameter_files(plugin: object) -> None:
    """Raise PluginError if ``initreg_parameter_files`` is not a tuple of extensions."""
    files = getattr(plugin, "initreg_parameter_files", ())
    if not isinstance(files, (tuple, list)) or not all(
        isinstance(ending, str) and len(ending) > 1 and ending[0] == "." for ending in files
    ):
        raise PluginError(
            f"initreg_parameter_files is {files!r}, not a tuple of endings such as '.meta'"
        )


def endings(plugin: object) -> tuple[str, ...]:
    """The file extensions that a format is saved under, in lower case. Raises PluginError if
    ``initreg_endings`` is not a tuple of extensions."""
    found = getattr(plugin, "initreg_endings", ())
    if not isinstance(found, tuple) or not all(
        isinstance(ending, str) and len(ending) > 1 and ending[0] == "." for ending in found
    ):
        raise PluginError(f"initreg_endings is {found!r}, not a tuple of endings such as '.npz'")
    return tuple(ending.lower() for ending in found)


def keeps_metadata(plugin: object) -> bool:
    """Whether a format saves the metadata that it gets."""
    return getattr(plugin, "initreg_keeps_metadata", False) is True


def is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False
