"""What the tests of a target share: its objects, how to read them back, and the arrays to write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
import pytest

from initreg import InitregError, Plan, SmartInit, Target, VariableSpec
from initreg.dtypes import STRING, is_float, name_of, to_numpy
from initreg.names import normalise
from initreg.plugin.installed import default_registry
from initreg.plugin.registry import GROUP
from initreg.testing.formats.base import Array, fail

# What can be switched off, by a reason in ``exempt``.
EXEMPTIONS = {
    "change": "a variable cannot be changed in place: the tests that train on after a restore",
    "order": "the variables come in an order of their own, which is the same every time",
}
STRANGER = "stranger "  # "stranger dict" and so on: the target rightly accepts that object

# Plain identifiers, which every library allows as the name of a variable.
NAMES = ("alpha", "beta", "gamma")
# Of float32: 82 kB, which libraries share rather than copy, and a bit over 1 MiB, which initreg
# reads from a file by itself, into the target's room() if there is one.
LARGE = (80, 257)
HUGE = (530, 500)

_INTEGERS = tuple(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))
_FLOATS = ("float16", "float32", "float64", "complex64", "complex128")


class TargetBase:
    """One target, and how to make and read the objects that it writes into."""

    target: ClassVar[str]
    dtypes: ClassVar[Iterable[str]] = ("bool", *_INTEGERS, *_FLOATS)
    exempt: ClassVar[Mapping[str, str]] = {}

    # --- what an author writes --------------------------------------------------------------

    def make(self, values: dict[str, Array]) -> Any:
        """Return a new object whose variables have these names, values, dtypes and shapes.

        The names are plain words. If your library calls the variables otherwise, say so in
        :meth:`named`. The arrays are copies, so the object may keep them.
        """
        raise NotImplementedError(f"{type(self).__name__}: write make(self, values)")

    def values(self, obj: Any) -> Mapping[str, Any]:
        """Return the value of every variable of ``obj`` now, by the names that ``make`` got.

        A value is anything that ``numpy.asarray`` takes.
        """
        raise NotImplementedError(f"{type(self).__name__}: write values(self, obj)")

    def change(self, obj: Any, name: str) -> None:
        """Change every element of a float32 variable, in place, as training on would."""
        raise NotImplementedError(
            f"{type(self).__name__}: write change(self, obj, name), or say why it is impossible: "
            'exempt = {"change": "..."}'
        )

    # --- what an author may write -----------------------------------------------------------

    def named(self, name: str) -> str:
        """What the target calls the variable that ``make`` was given as ``name``."""
        return name

    def aliases(self, obj: Any) -> Mapping[str, str]:
        """The other names that variables of ``obj`` answer to: ``{alias: the name in make}``."""
        return {}

    def make_open(self, value: Array, shape: tuple[int | None, ...] | None) -> Any:
        """Return an object with one variable, ``"alpha"``, that has this value and takes any shape
        (``shape`` is None) or any length of an axis (that axis is None). Return None if the target
        has no such variables."""
        return None

    def strangers(self) -> Iterable[Any]:
        """Objects that the target must decline, besides those of the kit."""
        return ()

    def unwritable(self) -> Iterable[Any]:
        """Objects of the target's own kind that cannot be written: closed, unbuilt, read-only."""
        return ()

    def failing(self) -> tuple[Any, Mapping[str, Array]] | None:
        """Return an object and the arrays for its variables, by the names in ``values``. Writing
        one of them must fail, which shows only when it is written. None if that cannot happen."""
        return None

    # --- what the tests use -----------------------------------------------------------------

    def _skip_if_exempt(self, topic: str) -> None:
        """Skip the test if the author gave a reason. The report shows the reason."""
        if topic in self.exempt:
            pytest.skip(f"{self.target!r} is exempt from {topic!r}: {self.exempt[topic]}")

    def _point(self) -> metadata.EntryPoint:
        """The entry point of the target."""
        points = [p for p in metadata.entry_points(group=GROUP) if p.name == self.target]
        if not points:
            fail(
                f"no plugin is called {self.target!r}. Install yours ('pip install -e .') with "
                f'[project.entry-points.{GROUP}] {self.target} = "your_module" in its pyproject'
            )
        return points[0]

    def _make(self, values: Mapping[str, Array]) -> Any:
        """A new object with these values, which ``values`` must give back."""
        obj = self.make({name: array.copy() for name, array in values.items()})
        found = self._values(obj)
        if set(found) != set(values):
            fail(
                f"make() was given the variables {sorted(values)}, and values() gives "
                f"{sorted(found)}. One of them is wrong"
            )
        for name, array in values.items():
            if not alike(found[name], array):
                fail(
                    f"make() and values() disagree about {name!r}: one of them is wrong, or the "
                    f"target has no {name_of(array.dtype)}, which you then leave out of dtypes. "
                    f"make() was given\n{array!r}\nand values() gives\n{found[name]!r}"
                )
        return obj

    def _values(self, obj: Any) -> dict[str, Array]:
        """Copies of all values."""
        return {name: np.array(value) for name, value in self.values(obj).items()}

    def _target(self, obj: Any) -> Target:
        """The target of an object, found as users find it: among all that are installed."""
        try:
            return default_registry().target(obj)
        except InitregError as error:
            fail(f"initreg finds no target for an object of make(): {error}")

    def _specs(self, target: Target, names: Iterable[str] = NAMES) -> dict[str, VariableSpec]:
        """The specs of these variables, by the names in ``make``."""
        specs = {normalise(spec.name): spec for spec in target.variables()}
        for name in names:
            if self._called(name) not in specs:
                fail(f"variables() does not list {self._called(name)!r}, but {sorted(specs)}")
        return {name: specs[self._called(name)] for name in names}

    def _called(self, name: str) -> str:
        return normalise(self.named(name))

    def _source(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as a source that has the target's own names."""
        return {self.named(name): value for name, value in values.items()}

    def _init(self, obj: Any, values: Mapping[str, Any], **options: Any) -> Plan:
        """Restore as a user does. Variables that the values leave out cause no warning."""
        return SmartInit(self._source(values), on_missing="ignore", **options).init(obj)

    def _expect(self, obj: Any, expected: Mapping[str, Array], when: str) -> None:
        """Fail unless the variables have these values in every bit."""
        found = self._values(obj)
        for name, array in expected.items():
            if name not in found:
                fail(f"values() has no {name!r} {when}")
            if not alike(found[name], array):
                fail(f"{name!r} {when} is\n{found[name]!r}\nbut expected is\n{array!r}")


def alike(found: Array, expected: Array) -> bool:
    """Whether two arrays have the same dtype, shape and bits. Strings are compared as UTF-8."""
    if expected.dtype.kind in "OSU":
        if found.dtype.kind not in "OSU" or found.shape != expected.shape:
            return False
        return _encoded(found) == _encoded(expected)
    if name_of(found.dtype) != name_of(expected.dtype) or found.shape != expected.shape:
        return False
    native = found.astype(found.dtype.newbyteorder("="), copy=False)
    return native.tobytes() == expected.tobytes()


def _encoded(array: Array) -> list[Any]:
    found = array.ravel().tolist()
    return [
        each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each for each in found
    ]


def pattern(seed: int, shape: tuple[int, ...] = (3, 5), dtype: str = "float32") -> Array:
    """Values that differ for each seed: of any bits, NaN with a payload among them, where the dtype
    uses all of its bits. For float32 they are finite, so that they can be changed by arithmetic."""
    rng = np.random.default_rng(seed)
    size = math.prod(shape)
    if dtype == STRING:
        words = [f"größe-{seed}-{i}".encode() for i in range(size)]
        return np.array(words, object).reshape(shape)
    if dtype == "float32":
        return rng.uniform(1, 2, shape).astype(np.float32)
    kind = to_numpy(dtype)
    if kind.kind == "b" or "int4" in kind.name or "int2" in kind.name:
        return rng.integers(0, 2, shape).astype(kind)
    return rng.integers(0, 256, size * kind.itemsize, np.uint8).view(kind).reshape(shape)


def zeros(shape: tuple[int, ...] = (3, 5), dtype: str = "float32") -> Array:
    """What a variable holds before a restore."""
    if dtype == STRING:
        return np.full(shape, b"old", object)
    return np.zeros(shape, to_numpy(dtype))


def specials(dtype: str) -> Array | None:
    """The values of a float dtype that a careless copy changes: -0.0, NaN with a payload, quiet and
    signalling, infinities and the smallest numbers."""
    if not is_float(dtype) or to_numpy(dtype).itemsize < 2:
        return None
    kind = to_numpy(dtype)
    bits = np.dtype(f"u{kind.itemsize}")
    one, infinity = (int(np.array(x).astype(kind).view(bits)) for x in (1.0, np.inf))
    sign = 1 << (8 * kind.itemsize - 1)
    quiet = infinity | (one & -one) >> 1  # the bit below the exponent's lowest, which 1.0 has
    found = [sign, 1, sign | 1, infinity, sign | infinity, infinity | 1, quiet | 5]
    return np.array([*found, sign | infinity | 3], bits).view(kind)


def aligned(array: Array) -> Array:
    """A copy at a multiple of 64 bytes, where libraries share memory that they otherwise copy."""
    raw = np.zeros(array.nbytes + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def layouts() -> Iterator[tuple[str, Any, Array]]:
    """``(case, what the user gives, what the variable shall hold)``: arrays of shape (3, 5) that
    lie in memory in unusual ways."""
    plain = pattern(1)
    frozen = plain.copy()
    frozen.flags.writeable = False
    raw = np.zeros(plain.nbytes + 65, np.uint8)
    odd: Array = raw[1 : 1 + plain.nbytes].view(np.float32).reshape(plain.shape)
    odd[...] = plain
    wide = np.repeat(np.repeat(plain, 2, 0), 2, 1)
    yield "in big-endian order", plain.astype(">f4"), plain
    yield "in Fortran order", np.asfortranarray(plain), plain
    yield "with strides", wide[::2, ::2], plain
    yield "with negative strides", plain[::-1, ::-1].copy()[::-1, ::-1], plain
    yield "read-only", frozen, plain
    yield "at an odd address", odd, plain
    yield "broadcast", np.broadcast_to(plain[0], (3, 5)), np.stack([plain[0]] * 3)
    yield "as nested lists", np.ones((3, 5), np.float32).tolist(), np.ones((3, 5), np.float32)
