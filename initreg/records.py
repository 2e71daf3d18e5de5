"""Records: frozen dataclasses with slots, which are defined and made several times as fast.

A checkpoint may have a million names. For each of them there are an extent, two specs and a row.
``dataclasses`` sets each field of a frozen class by a call, which takes 1.7 us for the 17 fields of
a row, and this module 0.3 us. To define a class takes ``dataclasses`` 4 million instructions, ten
times as many as this module, and ``initreg ls`` needs 60 such classes.

:mod:`dataclasses` knows records as dataclasses: ``replace``, ``fields``, ``asdict`` and
``is_dataclass`` take them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar, cast, dataclass_transform

T = TypeVar("T")

# Makes an object one of another class with the same layout, even if it cannot be changed.
_become: Any = vars(object)["__class__"].__set__
_set = object.__setattr__
_NOT_COPIED = ("__dict__", "__weakref__", "__slots__")


class _Fresh:
    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def fresh(*, factory: Callable[[], Any]) -> Any:
    """A default that is made anew for each object: ``fresh(factory=dict)``."""
    return _Fresh(factory)


@dataclass_transform(frozen_default=True, field_specifiers=(fresh,))
def record(
    *,
    frozen: bool = True,
    eq: bool = True,
    kw_only: bool = False,
    hidden: tuple[str, ...] = (),
) -> Callable[[type[T]], type[T]]:
    """Make a class with annotated fields a record.

    A ``__post_init__`` is called as by dataclasses. A subclass of a record has further fields if it
    is a record, too.

    Args:
        frozen: whether its objects cannot be changed, and have a hash.
        eq: whether two objects of the class are equal if all of their fields are. Otherwise each is
            equal to itself alone.
        kw_only: whether all fields are given as keywords.
        hidden: the fields that ``repr`` leaves out.

    >>> @record()
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1, 2) == Point(1, y=2)
    (Point(x=1, y=0), True)
    """

    def made(given: type[T]) -> type[T]:
        own = {k: v for k, v in given.__annotations__.items() if not v.startswith("ClassVar")}
        fields: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for base in given.__mro__[:0:-1]:
            if isinstance(of := vars(base).get("__record__"), _Fields):
                fields |= of.fields
                defaults |= of.defaults
        slots = tuple(name for name in own if name not in fields)
        fields |= own
        defaults |= {name: value for name, value in vars(given).items() if name in own}
        of = _Fields(fields, defaults, hidden, frozen=frozen, eq=eq, kw_only=kw_only)
        body = {k: v for k, v in vars(given).items() if k not in own and k not in _NOT_COPIED}
        body |= {"__slots__": slots, "__record__": of, "__reduce__": _reduce}
        body |= {"__match_args__": () if kw_only else tuple(fields), "__replace__": replace}
        body |= {"__dataclass_fields__": _OfDataclass(), "__dataclass_params__": _OfDataclass()}
        body.setdefault("__repr__", _repr)
        if eq:
            body |= {"__eq__": _equals, "__hash__": _hash if frozen else None}
        if frozen:
            body |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
        cls: Any = type(given)(given.__name__, given.__bases__, body)  # type: ignore[misc]
        cls.__init__ = _LaterInit(cls, of)
        return cast("type[T]", cls)

    return made


def replace(given: T, **changes: Any) -> T:
    """A copy of a record with some fields changed, as ``dataclasses.replace`` makes it."""
    cls = type(given)
    of: _Fields = cls.__record__  # type: ignore[attr-defined]
    key = cls, *changes
    copy = of.copies.get(key)
    if copy is None:
        if "__record__" not in vars(cls) or not changes.keys() <= of.places.keys():
            return cls(**dict(zip(of.fields, of.values(given), strict=True)) | changes)
        copy = of.copies[key] = _copy(cls, of, tuple(changes))
    made: T = copy(given, **changes)
    return made


def defaults_of(cls: type) -> dict[str, Any]:
    """The defaults of the fields of a record, by name. No field has a factory."""
    of: _Fields = cls.__record__  # type: ignore[attr-defined]
    return dict(of.defaults)


class _Fields:
    """The fields of a record.

    Args:
        fields: their annotations, by name.
        defaults: their defaults, by name.
        hidden: the fields that ``repr`` leaves out.
        options: the other arguments of :func:`record`.

    Attributes:
        places: the positions of the fields that ``__init__`` takes by position, by name.
        copies: what copies a record with other values of some fields, by its class and their names.
    """

    def __init__(
        self,
        fields: dict[str, Any],
        defaults: dict[str, Any],
        hidden: tuple[str, ...],
        **options: bool,
    ) -> None:
        required = [name for name in fields if name not in defaults]
        if not options["kw_only"] and required != list(fields)[: len(required)]:
            raise TypeError(f"a field without a default follows one with a default: {required[-1]}")
        self.fields = fields
        self.places = {} if options["kw_only"] else {name: i for i, name in enumerate(fields)}
        self.copies: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self.defaults = defaults
        self.hidden = hidden
        self.options = options
        self.values: Callable[[Any], tuple[Any, ...]]  # the values of all fields, in order
        if len(fields) > 1:
            self.values = attrgetter(*fields)
        else:
            self.values = lambda given: tuple(getattr(given, name) for name in fields)

    @cached_property
    def as_dataclass(self) -> Any:
        """A dataclass with the same fields, for what :mod:`dataclasses` asks a class for."""
        import dataclasses

        fields: list[tuple[str, Any, Any]] = []
        for name, kind in self.fields.items():
            default = self.defaults.get(name, dataclasses.MISSING)
            is_made = isinstance(default, _Fresh)
            key = "default_factory" if is_made else "default"
            field: Any = dataclasses.field(**{key: default.factory if is_made else default})
            fields.append((name, kind, field))
        made: Any = dataclasses.make_dataclass
        return made("Record", fields, **self.options)


class _OfDataclass:
    """An attribute of a record that :mod:`dataclasses` asks for. It is made only then."""

    def __set_name__(self, cls: type, name: str) -> None:
        self._name = name

    def __get__(self, given: Any, cls: Any) -> Any:
        return getattr(cls.__record__.as_dataclass, self._name)


class _LaterInit:
    """Stands for the ``__init__`` of a record until somebody asks for it. To make one is most of
    what it takes to define a record, and a process makes objects of half of its records."""

    def __init__(self, cls: Any, of: _Fields) -> None:
        self._cls = cls
        self._of = of

    def __get__(self, given: Any, cls: type) -> Any:
        made = self._cls.__init__ = _init(self._cls, self._of)
        return made.__get__(given, cls)


def _init(cls: type, of: _Fields) -> Callable[..., None]:
    """The ``__init__`` of a record.

    A frozen record is one of ``Open`` while its fields are set, so that they are set as quickly as
    those of any other object. A subclass may have another layout, so there they are set by calls.
    """
    names = list(of.fields)
    made = {name: each for name, each in of.defaults.items() if isinstance(each, _Fresh)}
    makes = "".join(
        f"    if {name} is {name}_made:\n        {name} = {name}_made.factory()\n" for name in made
    )
    sets = "".join(f"\n        self.{name} = {name}" for name in names)
    if of.options["frozen"]:
        sets = f"\n        become(self, Open){sets}\n        self.__class__ = cls"
    text = (
        f"def __init__({', '.join(['self', *['*'] * of.options['kw_only'], *names])}):\n"
        f"{makes}"
        f"    if type(self) is cls:{sets}\n"
        f"    else:\n"
        f"        set_all(self, {{{', '.join(f'{name!r}: {name}' for name in names)}}})\n"
    )
    if hasattr(cls, "__post_init__"):
        text += "    self.__post_init__()\n"
    unfrozen = {"__slots__": (), "__setattr__": _set, "__delattr__": object.__delattr__}
    scope: dict[str, Any] = {"cls": cls, "become": _become, "set_all": _set_all}
    scope |= {f"{name}_made": each for name, each in made.items()}
    scope["Open"] = type("Open", (cls,), unfrozen)
    exec(text, scope)  # as dataclasses and namedtuple do it
    init: Any = scope["__init__"]
    if of.options["kw_only"]:
        init.__kwdefaults__ = of.defaults
    else:
        init.__defaults__ = tuple(of.defaults[name] for name in names if name in of.defaults)
    init.__annotations__ = {**of.fields, "return": "None"}
    init.__module__, init.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    return cast("Callable[..., None]", init)


def _copy(cls: type, of: _Fields, names: tuple[str, ...]) -> Callable[..., Any]:
    """What copies a record with other values of these fields: code for each set of them, because a
    rule copies 100,000 in the same way."""
    values = (name if name in names else f"given_.{name}" for name in of.fields)
    options = "".join(f", {each}" for each in ("*", *names)) if names else ""
    text = f"def copy(given_{options}): return cls_({', '.join(values)})"
    scope: dict[str, Any] = {"cls_": cls}
    exec(text, scope)
    made: Callable[..., Any] = scope["copy"]
    return made


def _set_all(self: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        _set(self, name, value)


def _equals(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    values = self.__record__.values
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(self.__record__.values(self))


def _repr(self: Any) -> str:
    of = self.__record__
    shown = [f"{name}={getattr(self, name)!r}" for name in of.fields if name not in of.hidden]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _reduce(self: Any) -> tuple[Any, ...]:
    """For ``pickle`` and ``copy``."""
    of = self.__record__
    return _made_again, (type(self), dict(zip(of.fields, of.values(self), strict=True)))


def _made_again(cls: type, values: dict[str, Any]) -> Any:
    return cls(**values)


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")
