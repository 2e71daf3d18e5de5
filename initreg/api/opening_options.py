"""How sources are opened: the options that every verb shares, and their defaults, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from initreg.arrays.array_map import ArrayMap
from initreg.errors import InitregError
from initreg.names import plain
from initreg.option_spelling import option
from initreg.plugin.hookspecs import OpenOptions
from initreg.plugin.installed import default_registry
from initreg.plugin.source import Source
from initreg.records import defaults_of, record
from initreg.rules.keywords import RuleOptions, Rules
from initreg.storage.locating import takes_options

F = TypeVar("F", bound=Callable[..., Any])


class OpeningOptions(TypedDict, total=False):
    """What may be opened, as keywords.

    Args:
        format: the name of the format, for a source that does not show it.
        allow_pickle: open pickles, **which can run any code**. Only for files that you made.
        native: let a library in C read what initreg does not, such as rare filters of HDF5. It may
            **crash or return wrong values** if the file is damaged. Only for files that you trust.
        max_inflation: a packed array may unpack to this many times its size. Up to 64 MB is
            always allowed.
        storage_options: for a URL: what fsspec's file system is made with, such as credentials.
    """

    format: str | None
    allow_pickle: bool
    native: bool
    max_inflation: float
    storage_options: Mapping[str, Any] | None


class ReadingOptions(OpeningOptions, total=False):
    """What may be opened, and how it is read, as keywords.

    Args:
        verify: check the checksums of the format while reading.
        mmap: let arrays be views of the mapped file where that is possible. That takes neither
            time nor memory. The file **must not change** while they are in use.
    """

    verify: bool
    mmap: bool


class SourceOptions(ReadingOptions, RuleOptions, total=False):
    """How a source is opened and read, and its rules, as keywords."""


def spelt_out(allowed: type[Any]) -> Callable[[F], F]:
    """Decorate a function that takes the keywords of a TypedDict as ``**options``.

    ``help()``, and completion in notebooks, then show each keyword.

    Args:
        allowed: the TypedDict.
    """
    defaults = {"format": None, "storage_options": None} | defaults_of(OpenOptions)
    defaults |= {n: each.default for n, each in inspect.signature(Rules.of).parameters.items()}

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name),
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for name, annotation in allowed.__annotations__.items()
        ]
        spelt = signature.replace(parameters=[*own, *keywords])
        function.__signature__ = spelt  # type: ignore[attr-defined]
        return function

    return decorate


@record(hidden=("storage_options",))  # which may hold a password
class Opening:
    """How one source is opened.

    Args:
        format: the name of the format, or None to ask all formats.
        options: the options of opening and reading.
        storage_options: what the file system of a URL is made with. It may be secret.
    """

    format: str | None = None
    options: OpenOptions = OpenOptions()
    storage_options: Mapping[str, Any] | None = None

    def source(self, source: Any) -> Source:
        """What formats are asked about. Raises what :class:`Source` raises."""
        return Source(
            source, storage_options=self.storage_options if takes_options(source) else None
        )

    def check_options(self, sources: Iterable[Any]) -> None:
        """Raise InitregError if there are options for URLs, and none of the sources is one."""
        sources = list(sources)
        if self.storage_options and not any(map(takes_options, sources)):
            labels = ", ".join(
                Source(each).label for each in sources if not isinstance(each, ArrayMap)
            )
            raise InitregError(
                option("storage_options", python="storage_options")
                + f": these are for URLs, and no source is one: {labels}"
            )

    def open(self, source: Any) -> ArrayMap:
        """Open a source as a map of its arrays. Raises what :func:`initreg.open` raises."""
        return default_registry().open(self.source(source), self.options, self.format)

    def typed(self) -> dict[str, Any]:
        """The options that are not at their defaults, as keywords, for the code of a hint."""
        found: dict[str, Any] = {} if self.format is None else {"format": self.format}
        for name, default in defaults_of(OpenOptions).items():
            value = getattr(self.options, name)
            if value != default:
                found[name] = value
        if self.storage_options is not None:
            found["storage_options"] = _Secret()
        return found


class _Secret:
    """Stands for ``storage_options`` in the code of a hint, which may hold credentials."""

    def __repr__(self) -> str:
        return "storage_options"


def opening_of(
    options: Mapping[str, Any], caller: str, allowed: type[Any] = ReadingOptions
) -> Opening:
    """The opening that keywords ask for.

    Args:
        options: the keywords.
        caller: the function that the user called, for messages.
        allowed: the TypedDict of the keywords that it takes.

    Raises:
        TypeError: a keyword is not one of these.
        InitregError: a keyword has a value that it cannot have.
    """
    for name in options:
        if name not in allowed.__annotations__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")
    given = {name: plain(value) for name, value in options.items()}
    for name in ("verify", "mmap", "allow_pickle", "native"):
        switch(given.get(name, False), name)
    most = given.get("max_inflation", 1)
    if isinstance(most, bool) or not isinstance(most, (int, float)) or not most > 0:
        raise InitregError(option("max_inflation", most) + ": give a number greater than 0")
    storage = given.pop("storage_options", None)
    if storage is not None and not isinstance(storage, Mapping):
        raise InitregError(
            option("storage_options", "...")
            + f": give a dict. This is of type {type(storage).__name__}"
        )
    others = {name: value for name, value in given.items() if name != "format"}
    return Opening(given.get("format"), OpenOptions(**others), storage)


def switch(value: Any, name: str) -> bool:
    """The value of an option that is True or False.

    Raises:
        InitregError: it is anything else. ``allow_pickle="false"`` would otherwise mean yes.
    """
    value = plain(value)
    if not isinstance(value, bool):
        raise InitregError(option(name, value) + ": give True or False")
    return value


def split(options: Mapping[str, Any], caller: str) -> tuple[Opening, RuleOptions]:
    """The opening and the rules that keywords of :class:`SourceOptions` ask for.

    Raises:
        TypeError: a keyword is neither, as if ``caller`` had raised it.
        InitregError: a keyword has a value that it cannot have.
    """
    rules = {k: v for k, v in options.items() if k in RuleOptions.__annotations__}
    others = {k: v for k, v in options.items() if k not in rules}
    return opening_of(others, caller), rules  # type: ignore[return-value]
