"""SmartInit: a chain of sources -> a plan -> writes."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import ArrayMap, LazyArray, normalise
from initreg.errors import (
    CastWarning,
    InitregError,
    InitregWarning,
    MismatchError,
    MismatchWarning,
    MissingWarning,
    NothingMatched,
    PartialRestoreError,
    ReshapeWarning,
    TargetError,
    UnusedWarning,
)
from initreg.hints import hints, transposed
from initreg.hookspecs import OpenOptions
from initreg.matching import SourceSpecs, match
from initreg.plan import Kind, Plan, Row
from initreg.registry import Registry, default_registry
from initreg.report import names_text, plural, printable, row_note, shape_text, source_note
from initreg.source import Source
from initreg.target import Target, VariableSpec

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("initreg")


@dataclass(frozen=True, slots=True)
class _Link:
    """One source of the chain, and how to open it."""

    source: Any
    format: str | None
    options: OpenOptions
    ignore_mismatch: bool


class SmartInit:
    """Initialise variables from weights that somebody else saved, each from the array of its name.

    ``source``: a path (``str`` or ``Path``), a mapping of names to arrays, an open ``ArrayMap``,
    another ``SmartInit``, or a list of these, nested as you like: a chain, in which the last
    source that has a name supplies it. ``None``, ``""``, ``{}`` and ``[]`` restore nothing, and
    the log says so.

    ``format``: the format's name, where the source does not show it. ``ignore_mismatch``: pass
    over an array that does not fit its variable, with a warning, instead of raising. ``verify``:
    check the checksums that the format carries. ``allow_pickle``: open pickles, **which can run
    any code**; only for files that you made yourself.

    >>> SmartInit(["base.npz", {"head/b": zeros}]).init(session)  # doctest: +SKIP
    """

    def __init__(
        self,
        source: Any,
        *,
        format: str | None = None,
        ignore_mismatch: bool = False,
        verify: bool = True,
        allow_pickle: bool = False,
    ) -> None:
        self.source = source
        self.ignore_mismatch = ignore_mismatch
        options = OpenOptions(allow_pickle=allow_pickle, verify=verify)
        self._links = tuple(_flatten(source, format, options, ignore_mismatch))

    def __repr__(self) -> str:
        return f"SmartInit({self.source!r})"

    def plan(self, target: Any) -> Plan:
        """What :meth:`init` would do, having read names, shapes and dtypes and written nothing.

        Raises what opening the sources raises; a plan that cannot be carried out is returned.
        """
        if not self._links:
            return Plan((), (), type(target).__name__)
        with ExitStack() as stack:
            return _Restore(self._links, target, stack).plan

    def init(self, target: Any) -> Plan:
        """Write each variable of ``target`` that a source has an array for; return the plan.

        ``target``: a TF1 session, ``tf.Variable``s, a ``tf.Module``, a Keras model, or a dict of
        numpy arrays, filled in place. Warns, once for each kind, of names on one side only and of
        arrays that are cast, reshaped or passed over. Raises MismatchError and NothingMatched with
        nothing written; PartialRestoreError if a file turns out to be damaged midway.
        """
        if not self._links:
            logger.warning("No source (%r): nothing is restored", self.source)
            return self.plan(target)
        with ExitStack() as stack:
            restore = _Restore(self._links, target, stack)
            restore.raise_if_failed()
            restore.warn()
            restore.write()
            return restore.plan


def open(  # the name that people know from gzip, zipfile and safetensors
    source: Any,
    *,
    format: str | None = None,
    verify: bool = True,
    allow_pickle: bool = False,
) -> ArrayMap:
    """Open one source as a lazy map of its arrays; use it in a ``with``.

    Options as for :class:`SmartInit`. Raises SourceNotFound, UnknownFormat, AmbiguousSource,
    MissingLibrary, DamagedFile, RefusedFile.

    >>> with initreg.open("base.npz") as m:  # doctest: +SKIP
    ...     m["fc/W"].shape, np.asarray(m["fc/W"])
    """
    options = OpenOptions(allow_pickle=allow_pickle, verify=verify)
    return default_registry().open(Source(source), options, format)


def load(
    source: Any,
    *,
    format: str | None = None,
    verify: bool = True,
    allow_pickle: bool = False,
) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of one source, or of a chain, into a dict; later sources win.

    Every array is the caller's own: native byte order, C order, writable.
    """
    options = OpenOptions(allow_pickle=allow_pickle, verify=verify)
    suppliers: dict[str, LazyArray] = {}
    with ExitStack() as stack:
        for link in _flatten(source, format, options, False):
            suppliers.update(_open(link, stack, default_registry()).items())
        return {name: array.read() for name, array in suppliers.items()}


def _flatten(
    source: Any, format: str | None, options: OpenOptions, ignore_mismatch: bool
) -> Iterator[_Link]:
    if isinstance(source, SmartInit):
        yield from source._links
    elif isinstance(source, (list, tuple)):
        for each in source:
            yield from _flatten(each, format, options, ignore_mismatch)
    elif source is None or (isinstance(source, (str, Mapping)) and not source):
        return
    else:
        yield _Link(source, format, options, ignore_mismatch)


def _open(link: _Link, stack: ExitStack, registry: Registry) -> ArrayMap:
    if isinstance(link.source, ArrayMap):
        return link.source  # the caller opened it, and closes it
    opened = registry.open(Source(link.source), link.options, link.format)
    return stack.enter_context(opened)


class _Restore:
    """One run: the maps, the target, the plan, then the writes."""

    def __init__(self, links: Sequence[_Link], target: Any, stack: ExitStack) -> None:
        registry = default_registry()
        self.target: Target = registry.target(target)
        self.maps = [_open(link, stack, registry) for link in links]
        # What can be typed again in the code of a hint.
        given = [link.source for link in links]
        self.paths = [os.fspath(each) for each in given if isinstance(each, (str, os.PathLike))]
        variables = list(self.target.variables())
        self.variables = {normalise(v.name): v for v in variables}
        sources = [
            SourceSpecs(m.label, m.specs(), link.ignore_mismatch)
            for m, link in zip(self.maps, links, strict=True)
        ]
        self.plan = match(sources, variables, self.target.label)

    def raise_if_failed(self) -> None:
        plan = self.plan
        mismatched = plan.of(Kind.MISMATCHED)
        if mismatched:
            lines = "\n".join(f"  {self._mismatch_line(row)}" for row in mismatched)
            raise MismatchError(
                f"{_chain(plan)} -> {plan.target}: {plural(len(mismatched), 'array')} not "
                f"fitting, and nothing was written:\n{lines}\n"
                "Rename or drop them, or pass ignore_mismatch=True to restore all others",
                plan,
            )
        if not any(row.array is not None and row.in_target for row in plan):
            specs = [spec for m in self.maps for spec in m.specs()]
            code = repr(self.paths[0]) if len(self.paths) == len(plan.sources) == 1 else "source"
            found = hints(specs, list(self.variables.values()), code)
            advice = "".join(f"\n  {hint}" for hint in found)
            raise NothingMatched(
                f"no name of {_chain(plan)} is a name of {plan.target}, and nothing was "
                f"written{advice}\n{_examples(specs, self.variables)}",
                plan,
            )

    def _mismatch_line(self, row: Row) -> str:
        text = f"{printable(row.name)}: {row.reason}{source_note(row, self.plan)}"
        if transposed(self._array(row).spec, self.variables[row.name]):
            text += "  (it is the transpose: pass {name: array.T})"
        return text

    def warn(self) -> None:
        """One warning for each kind of thing that the user should know of."""
        plan = self.plan
        for kind, category, text in (
            (Kind.PASSED_OVER, MismatchWarning, "{n:,} not fitting, passed over"),
            (Kind.RESHAPED, ReshapeWarning, "{n:,} reshaped by axes of length 1"),
            (Kind.ONLY_IN_TARGET, MissingWarning, "{n:,} only in the target, left unchanged"),
            (Kind.ONLY_IN_SOURCE, UnusedWarning, "{n:,} only in the source, not used"),
        ):
            _warn(plan.of(kind), plan, category, text)
        cast = [row for row in plan if row.is_cast and row.kind is not Kind.RESHAPED]
        _warn(cast, plan, CastWarning, "{n:,} cast")

    def write(self) -> None:
        """Read, convert and write every restored variable, in the order of the files."""
        rows = sorted(self.plan.restored, key=self._position)
        written: list[str] = []
        logger.info("Restoring %s from %s", plural(len(rows), "variable"), _chain(self.plan))
        try:
            for name in self.target.write(map(self._read, rows)):
                logger.debug("Restored %s", name)
                written.append(normalise(name))
        except Exception as error:
            if not written:
                if isinstance(error, InitregError):
                    raise
                reason = f"{type(error).__name__}: {error}"
                raise TargetError(
                    f"{self.plan.target}: writing failed, and nothing was written: {reason}"
                ) from error
            left = sorted({row.name for row in rows} - set(written))
            raise PartialRestoreError(
                f"{self.plan.target}: {plural(len(written), 'variable')} written, then: {error}. "
                f"Not written: {'; '.join(names_text((n, '') for n in left))}",
                written,
                left,
            ) from error
        logger.info("Restored %s", plural(len(written), "variable"))

    def _array(self, row: Row) -> LazyArray:
        """The array of a row that has a source."""
        if row.source is None or row.array is None:
            raise ValueError(f"{row.name!r} has no source")
        return self.maps[row.source][row.array]

    def _position(self, row: Row) -> tuple[int, str, int]:
        """Where the array lies: sources in order, then file and offset."""
        value = self._array(row).value
        return row.source or 0, str(getattr(value, "file", "")), getattr(value, "offset", 0)

    def _read(self, row: Row) -> tuple[VariableSpec, np.ndarray[Any, Any]]:
        variable = self.variables[row.name]
        array = self._array(row).read()
        if row.kind is Kind.RESHAPED:
            assert variable.shape is not None
            shape = [-1 if axis is None else axis for axis in variable.shape]
            array = array.reshape(shape)
        wanted = dtypes.to_numpy(variable.dtype)
        if array.dtype != wanted:
            array = _cast(array, wanted, row.name)
        return variable, array


def _cast(array: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        with np.errstate(over="raise", invalid="ignore"):
            return array.astype(dtype)
    except FloatingPointError:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype)
    lost = int(np.isinf(cast).sum() - np.isinf(array).sum())
    warnings.warn(
        f"{printable(name)}: {plural(lost, 'value')} of {array.dtype} beyond the range of {dtype} "
        "became infinite",
        CastWarning,
        stacklevel=_outside(),
    )
    return cast


def _chain(plan: Plan) -> str:
    return " + ".join(plan.sources) or "nothing"


def _examples(specs: Sequence[Any], variables: Mapping[str, VariableSpec]) -> str:
    have = _some([f"{printable(spec.name)} {shape_text(spec.shape)}" for spec in specs])
    want = _some([f"{name} {shape_text(spec.shape)}" for name, spec in variables.items()])
    return f"  the source has {have}; the target has {want}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "nothing") + more


def _warn(rows: Sequence[Row], plan: Plan, category: type[InitregWarning], text: str) -> None:
    if not rows:
        return
    lines = names_text((row.name, row_note(row, plan)) for row in rows)
    shown = "\n".join(f"  {line}" for line in lines)
    message = f"{_chain(plan)} -> {plan.target}: {text.format(n=len(rows))}:\n{shown}"
    warnings.warn(message, category, stacklevel=_outside())


def _outside() -> int:
    """The stacklevel, seen from our caller, of the first frame that is not initreg's."""
    here = os.fspath(Path(__file__).parent)
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    return level
