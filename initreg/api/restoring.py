"""One restore: open the chain, plan for the target, then read and write."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.api.chain import Link, open_chain
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.memory import ALIGNMENT
from initreg.arrays.streaming import position, stream
from initreg.errors import (
    CastWarning,
    InitregError,
    InitregWarning,
    MismatchWarning,
    MissingWarning,
    PartialRestoreError,
    PluginError,
    ReshapeWarning,
    TargetError,
    UnmetWarning,
    UnusedWarning,
    warn,
)
from initreg.names import Patterns, normalise
from initreg.option_spelling import join, said
from initreg.plan.expectations import SourceSpecs
from initreg.plan.hints import nearest, renamings, transposes
from initreg.plan.matching import match
from initreg.plan.plan import Plan
from initreg.plan.rows import Hint, Kind, Policy, Row
from initreg.plan.text import chain_text, route_text, warning_text
from initreg.plugin import training
from initreg.plugin.installed import default_registry
from initreg.plugin.target import Target
from initreg.rules.changes import cast_values
from initreg.specs import VariableSpec
from initreg.wording import code_text, names_text, options_text, plural

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("initreg")

_FEW_NAMES = 50  # on one side only: a misspelt name is looked for among at most so many
_MOST_HINTS = 3


class Restore:
    """A restore that is planned, and that can be carried out.

    Args:
        links: the sources, in order.
        target: the target, as the user passed it.
        stack: it closes the sources that are opened here.
        on_missing: the policy for variables that no source supplies.
        expect_missing: names of variables that are expected to be missing.

    Raises:
        InitregError: a source cannot be opened, no target takes the object, or a rule is wrong.
    """

    def __init__(
        self,
        links: Sequence[Link],
        target: Any,
        stack: ExitStack,
        *,
        on_missing: Policy,
        expect_missing: Patterns,
    ) -> None:
        self._target: Target = default_registry().target(target)
        self._maps = open_chain(links, stack)
        # By the names in the source itself, as in the rows of a plan.
        self._arrays = [{array.spec.origin: array for array in m.values()} for m in self._maps]
        variables = _variables(self._target)
        self._variables = {normalise(v.name): v for v in variables}
        self._links = links
        sources = [
            SourceSpecs(
                m.label,
                m.specs(),
                link.ignore_mismatch,
                m.dropped,
                link.on_unused,
                link.expected,
                link.ignored,
            )
            for m, link in zip(self._maps, links, strict=True)
        ]
        plan = match(
            sources,
            variables,
            self._target.label,
            on_missing=on_missing,
            expect_missing=expect_missing,
            slots=partial(training.slots, default_registry()),
        )
        self.plan = plan.with_hints(self._hints(plan, sources, variables))

    def warn(self) -> None:
        """Give one warning for each kind of row that the user should know of."""
        plan = self.plan
        cast = [row for row in plan if row.is_cast and row.kind is not Kind.RESHAPED]
        told: list[tuple[Sequence[Row], type[InitregWarning], str]] = [
            (plan.of(Kind.PASSED_OVER), MismatchWarning, "mismatched, skipped"),
            (plan.of(Kind.RESHAPED), ReshapeWarning, "reshaped by axes of length 1"),
            (
                plan.missing(Policy.WARN),
                MissingWarning,
                "only in the target, left unchanged",
            ),
            (plan.unused(Policy.WARN), UnusedWarning, "only in the source, not used"),
            (cast, CastWarning, "cast"),
        ]
        hints = "".join(f"\n  hint: {hint}" for hint in plan.hints)
        for rows, category, what in told:
            if rows:
                text = warning_text(plan, rows, what)
                if category in (MissingWarning, UnusedWarning, MismatchWarning):
                    text, hints = text + hints, ""  # hints are shown once
                warn(text, category)
        if plan.unmet:
            clauses = join(", ", plan.unmet)
            warn(
                f"{route_text(plan)}: nothing matches "
                + clauses
                + ". Is a name misspelt, or has it been restored?",
                UnmetWarning,
            )

    def write(self, *, atomic: bool = False) -> None:
        """Read, change and write every restored variable, in the order of the files.

        Args:
            atomic: read all of them before the first is written.

        Raises:
            PartialRestoreError: it failed after some variables were written.
            InitregError: it failed before. Nothing was written.
        """
        rows = sorted(self.plan.restored, key=self._position)
        written: list[str] = []
        logger.info("Restoring %s from %s", plural(len(rows), "variable"), chain_text(self.plan))
        try:
            pairs: Iterable[tuple[VariableSpec, Any]] = self._read(rows)
            if atomic or any(hasattr(self._array(row).value, "assign") for row in rows):
                # Variables of the target may be a source, too. They are read before any is
                # written, or else a swap would give both the same value.
                pairs = _given_away(list(pairs))
            expected = {row.name for row in rows}
            for given in self._target.write(pairs):
                name = normalise(given)
                if name in expected:
                    logger.debug("Restored %s", name)
                    written.append(name)
            missed = len(expected) - len(set(written))
            if missed:
                raise PluginError(
                    f"{self.plan.target}: the target stopped before it had written "
                    f"{plural(missed, 'variable')}"
                )
        except Exception as error:
            if not written:
                if isinstance(error, InitregError):
                    raise
                reason = f"{type(error).__name__}: {error}"
                raise TargetError(
                    f"{self.plan.target}: writing failed, and nothing was written: {reason}"
                ) from error
            left = sorted({row.name for row in rows} - set(written))
            names = "; ".join(names_text(((n, "") for n in left), more="see error.not_written"))
            raise PartialRestoreError(
                f"{self.plan.target}: {plural(len(written), 'variable')} written, then: "
                + said(error)
                + f". Not written: {names}. With atomic=True, all is read before anything is "
                "written",
                written,
                left,
            ) from error
        logger.info("Restored %s", plural(len(written), "variable"))

    def _array(self, row: Row) -> LazyArray:
        """The array of a row. The row has a source, or this is a bug."""
        if row.source is None or row.array is None:
            raise ValueError(f"{row.name!r} has no source")
        return self._arrays[row.source][row.array]

    def _position(self, row: Row) -> tuple[int, str, int]:
        """Where the array is read: by source, then by file and offset."""
        return (row.source or 0, *position(self._array(row)))

    def _read(self, rows: Sequence[Row]) -> Iterator[tuple[VariableSpec, np.ndarray[Any, Any]]]:
        """Read what is written, ahead of the target. None of it is kept here."""
        for index, array in stream([self._array(r) for r in rows], ALIGNMENT, self._room(rows)):
            variable = self._variables[rows[index].name]
            if rows[index].kind is Kind.RESHAPED:
                assert variable.shape is not None
                shape = [-1 if axis is None else axis for axis in variable.shape]
                array = array.reshape(shape)
            pair = variable, cast_values(array, dtypes.to_numpy(variable.dtype), rows[index].name)
            del array
            yield pair
            del pair

    def _room(
        self, rows: Sequence[Row]
    ) -> Callable[[int, tuple[int, ...], int], np.ndarray[Any, Any] | None] | None:
        """The memory that the target offers for arrays, None if it has no ``room``.

        It is offered for arrays that go into their variables as they are stored.
        """
        room = getattr(self._target, "room", None)
        if room is None:
            return None

        def of_row(index: int, shape: tuple[int, ...], nbytes: int) -> Any:
            row = rows[index]
            variable = self._variables[row.name]
            as_stored = row.kind is Kind.MATCHED and not self._array(row).changes
            return room(variable, shape, nbytes) if as_stored else None

        return of_row

    # --- hints --------------------------------------------------------------------------------

    def _hints(
        self, plan: Plan, sources: Sequence[SourceSpecs], variables: Sequence[VariableSpec]
    ) -> list[Hint]:
        """Hints for a source that matches little, or whose arrays fit in another order of axes."""
        found: list[Hint] = []
        of_source: list[list[Row]] = [[] for _ in sources]
        for row in plan:
            if row.source is not None and row.kind is not Kind.DROPPED:
                of_source[row.source].append(row)
        for number, (source, rows) in enumerate(zip(sources, of_source, strict=True)):
            code = self._code(number)
            matched = [row for row in rows if row.in_target]
            if 2 * len(matched) < min(len(source.arrays), len(variables)) or not (
                source.arrays and variables
            ):
                label = source.label if len(sources) > 1 else ""
                found += renamings(source.arrays, variables, code, label)
            elif matched:
                named = [(row, self._array(row).name) for row in rows]
                found += transposes(named, code)
        return found[:_MOST_HINTS] or self._misspelt(plan)

    def _misspelt(self, plan: Plan) -> list[Hint]:
        """Hints for names on one side only that look like a name on the other side."""
        missing = {row.name for row in plan.of(Kind.ONLY_IN_TARGET) if not row.expected}
        found: list[Hint] = []
        for number in range(len(plan.sources)):
            unused = [
                self._array(row).spec
                for row in plan.of(Kind.ONLY_IN_SOURCE)
                if row.source == number and not row.expected
            ]
            if 0 < len(missing) <= _FEW_NAMES and 0 < len(unused) <= _FEW_NAMES:
                variables = [self._variables[name] for name in missing]
                found += nearest(unused, variables, self._code(number), cutoff=0.85)
        return found[:_MOST_HINTS]

    def _code(self, number: int) -> str:
        """The code that names a source, with its options: ``"zoo.npy", allow_pickle=True``.

        If it has rules already, it is ``SmartInit("base.npz", drop="head/*")``.
        """
        link = self._links[number]
        path = isinstance(link.source, (str, os.PathLike))
        code = code_text(os.fspath(link.source)) if path else "source"
        code += options_text(link.opening.typed())
        for typed in filter(None, link.typed):
            code = f"SmartInit({code}{options_text(typed)})"
        return code


def _variables(target: Target) -> list[VariableSpec]:
    """The variables of a target. Raises TargetError if it cannot list them."""
    try:
        found = list(target.variables())
    except InitregError:
        raise
    except Exception as error:
        raise TargetError(
            f"{target.label}: cannot list its variables: {type(error).__name__}: {error}"
        ) from error
    for each in found:
        if not isinstance(each, VariableSpec):
            raise TargetError(f"{target.label}: lists {each!r}, which is not a VariableSpec")
    return found


def _given_away(pairs: list[Any]) -> Iterable[Any]:
    """Each pair, which is then no longer held here, so that no value is in memory twice."""
    pairs.reverse()
    while pairs:
        yield pairs.pop()
