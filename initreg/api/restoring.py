"""One restore: open the chain, plan for the target, then read and write."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.api import optimizer_states
from initreg.api.chain import Link, Step, open_chain
from initreg.api.hinting import Hinting
from initreg.api.progressing import Counted
from initreg.api.target_variables import boxes_of, layers_of, shape_in, variables_of
from initreg.api.written import Done
from initreg.arrays.differences import compare
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.memory import ALIGNMENT
from initreg.arrays.pieces import pieces
from initreg.arrays.regions import refitted
from initreg.arrays.saved import Progress
from initreg.arrays.streaming import position, stream
from initreg.errors import (
    AxesWarning,
    CastWarning,
    InitregError,
    InitregWarning,
    MismatchWarning,
    MissingWarning,
    NamingWarning,
    PluginError,
    ReshapeWarning,
    TargetError,
    UnmetWarning,
    UnusedWarning,
    is_fault,
    warn,
)
from initreg.names import Patterns, normalise
from initreg.option_spelling import join, option, said
from initreg.plan.expectations import SourceSpecs
from initreg.plan.matching import match
from initreg.plan.not_needed import mark_not_needed, mark_unneeded
from initreg.plan.plan import Plan
from initreg.plan.rows import Kind, Policy, Row
from initreg.plan.second_copies import mark_second_copies, without_copy
from initreg.plan.text import chain_text, route_text, warning_text
from initreg.plugin import training
from initreg.plugin.installed import default_registry
from initreg.plugin.target import PieceSpec, Target
from initreg.rules.casting import cast_values
from initreg.specs import VariableSpec
from initreg.text.wording import plural

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger("initreg")


class Restore:
    """A restore that is planned, and that can be carried out.

    Args:
        links: the sources, in order.
        source: what the user passed as the source.
        target: the target, as the user passed it.
        stack: it closes the sources that are opened here.
        on_missing: the policy for variables that no source supplies.
        expect_missing: names of variables that are expected to be missing.
        steps: what is run between the links.

    Raises:
        InitregError: a source cannot be opened, no target takes the object, or a rule is wrong.
    """

    def __init__(
        self,
        links: Sequence[Link],
        source: Any,
        target: Any,
        stack: ExitStack,
        *,
        on_missing: Policy,
        expect_missing: Patterns,
        steps: Sequence[Step] = (),
    ) -> None:
        self._target: Target = default_registry().target(target)
        self._obj = target
        self._steps = steps
        variables = variables_of(self._target)
        links = [link.onto([v.name for v in variables]) for link in links]
        self._maps = open_chain(links, stack)
        # By the names in the source itself, as in the rows of a plan.
        self._arrays = [{array.spec.origin: array for array in m.values()} for m in self._maps]
        self._variables = {normalise(v.name): v for v in variables}
        sources = [
            SourceSpecs(
                m.label,
                m.specs(),
                link.ignore_mismatch,
                m.dropped,
                link.on_unused,
                link.expected,
                link.ignored,
                link.by,
            )
            for m, link in zip(self._maps, links, strict=True)
        ]
        slots = partial(training.slots, default_registry())

        def planned(sources: Sequence[SourceSpecs]) -> Plan:
            return match(
                sources,
                variables,
                self._label,
                on_missing=on_missing,
                expect_missing=expect_missing,
                slots=slots,
            )

        plan = mark_not_needed(planned(sources), variables)
        plan = mark_unneeded(
            plan, [m.not_needed for m in self._maps], [m.copies for m in self._maps]
        )
        plan, self._copies = mark_second_copies(plan, [s.arrays for s in sources], variables)
        layers = partial(layers_of, self._target)
        hinting = Hinting(
            *(source, links, self._maps, self._variables, slots, sources, planned, layers)
        )
        self.plan = hinting.of(plan)

    def check_copies(self) -> None:
        """Report those copies of what is restored that have other values."""
        for copy in self._copies:
            row, of = self.plan[copy.row], self.plan[copy.of]
            if not compare(self.array_of(row), self.array_of(of), 0, 0).is_equal:
                self.plan = without_copy(self.plan, copy)

    def check_states(self) -> None:
        """Leave state of optimizers out of the plan that cannot be right, as its values show."""
        self.plan = optimizer_states.checked(self.plan, self.array_of)

    def warn(self) -> None:
        """Give one warning for each kind of row that the user should know of."""
        plan = self.plan
        optimizer_states.tell(plan)
        # Reshaped ones may be cast, too. They are told as both.
        cast = [row for row in plan.of(Kind.CAST, Kind.RESHAPED) if row.is_cast]
        told: list[tuple[Sequence[Row], type[InitregWarning], str]] = [
            (plan.of(Kind.PASSED_OVER), MismatchWarning, "mismatched, skipped"),
            (plan.doubtful, AxesWarning, "maybe with axes in another order"),
            (plan.of(Kind.RESHAPED), ReshapeWarning, "reshaped by axes of length 1"),
            (
                plan.missing(Policy.WARN),
                MissingWarning,
                "only in the target, not restored",
            ),
            (plan.unused(Policy.WARN), UnusedWarning, "only in the source, not used"),
            (
                plan.called_otherwise,
                NamingWarning,
                "matched by place, although people gave them other names",
            ),
            (cast, CastWarning, "cast"),
        ]
        kept = plan.of(Kind.KEPT) if plan.on_missing is not Policy.IGNORE else ()
        if kept:
            text = warning_text(plan, kept, "only in the target, and maybe wrong now")
            remedies = dict.fromkeys(row.remedy for row in kept if row.remedy)
            text += "".join(f"\n{remedy}" for remedy in remedies)
            names = list(dict.fromkeys(row.name for row in kept))
            text += "\nIf it is right as it is, pass "
            text += option("expect_missing", names[0] if len(names) == 1 else names)
            warn(text, MissingWarning)
        hints = "".join(f"\n  hint: {hint}" for hint in plan.hints)
        for rows, category, what in told:
            if rows:
                text = warning_text(plan, rows, what)
                if category in (MissingWarning, UnusedWarning, MismatchWarning, AxesWarning):
                    text, hints = text + hints, ""  # hints are shown once
                if category is AxesWarning:
                    text += self._as_it_is(rows)
                warn(text, category)
        if plan.unmet:
            clauses = join(", ", plan.unmet)
            warn(
                f"{route_text(plan)}: nothing matches "
                + clauses
                + ". Is a name misspelt, or has it been restored?",
                UnmetWarning,
            )

    def _as_it_is(self, rows: Sequence[Row]) -> str:
        """How to say that an array is in the right order, for one that no rule has moved."""
        for row in rows:
            spec = self.array_of(row).spec
            if spec.axes is None:
                axes = tuple(range(len(spec.shape)))
                name = glob.escape(spec.name)
                return (
                    "\nIf one is right as it is, say so: pass "
                    + option("permute", {name: axes})
                    + " for it"
                )
        return ""

    def write(self, *, atomic: bool = False, report: Progress | None = None) -> None:
        """Read, change and write every restored variable, in the order of the files.

        Args:
            atomic: read all of them before the first is written.
            report: is told the bytes that were read, and all bytes.

        Raises:
            PartialRestoreError: it failed after some variables were written.
            InitregError: it failed before, or, with ``atomic``, the target put the old values back.
                Nothing has changed.
        """
        rows = list(self.plan.restored)
        if not self._is_in_order:
            rows.sort(key=self._position)
        done = Done({row.name for row in rows})
        put_back: Callable[[], None] | None = None
        logger.info("Restoring %s from %s", plural(len(rows), "variable"), chain_text(self.plan))
        try:
            parts: list[tuple[Iterable[Any], Step | None]]
            counted = Counted(report, [self.array_of(row) for row in rows])
            parts = [(counted(self._read(part)), step) for part, step in self._parts(rows)]
            if atomic or self._reads_from_target(rows):
                # Variables of the target may be a source, too. They are read before any is
                # written, or else a swap would give both the same value.
                parts = [(_given_away(list(pairs)), step) for pairs, step in parts]
            if atomic and not self._steps and hasattr(self._target, "snapshot"):
                put_back = self._target.snapshot([self._variables[row.name] for row in rows])
            for pairs, step in parts:
                for given in self._target.write(done.noting(pairs)):
                    done.wrote(normalise(given))
                if step is not None:
                    done.run(step, self._obj)
            if done.left:
                raise PluginError(
                    f"{self.plan.target}: the target stopped before it had written "
                    f"{plural(len(done.left), 'variable')}"
                )
        except BaseException as error:
            is_users = done.running is not None and not isinstance(error, Exception)
            if is_users or not is_fault(error):
                raise  # by the user's own code
            if put_back is not None:
                self._put_back(put_back, done, error)
            if not done.began:
                if isinstance(error, InitregError) or done.running is not None:
                    raise
                reason = f"{type(error).__name__}: {error}"
                raise TargetError(
                    f"{self.plan.target}: writing failed, and nothing was written: {reason}"
                ) from error
            raise done.error(self.plan.target, error, atomic) from error
        logger.info("Restored %s", plural(len(done.written), "variable"))
        self.plan = self.plan.done()

    def _reads_from_target(self, rows: Sequence[Row]) -> bool:
        """Whether an array may be one of the variables that are going to be written."""
        values = [value for row in rows for value in self.array_of(row).read_from]
        if any(hasattr(value, "assign") for value in values):
            return True
        given = {getattr(value, "identity", None) for value in values} - {None}
        own = getattr(self._target, "identities", None)
        return bool(given) and (own is None or not given.isdisjoint(own()))

    def _put_back(self, put_back: Callable[[], None], done: Done, error: BaseException) -> None:
        """Give the target its old values. Raises TargetError, which says so.

        If only some of them can be put back, it is a PartialRestoreError.
        """
        try:
            put_back()
        except BaseException as other:
            if not is_fault(other):
                raise
            raise done.error(self.plan.target, error, True, other) from error
        reason = (
            said(error) if isinstance(error, InitregError) else f"{type(error).__name__}: {error}"
        )
        kind = PluginError if isinstance(error, PluginError) else TargetError
        raise kind(
            f"{self.plan.target}: writing failed, and everything has its old value again: " + reason
        ) from error

    def _parts(self, rows: Sequence[Row]) -> Iterator[tuple[list[Row], Step | None]]:
        """The rows of the links before each step, with the step, and those after the last one."""
        start = 0
        for step in self._steps:
            yield [row for row in rows if start <= (row.source or 0) < step.after], step
            start = step.after
        yield [row for row in rows if start <= (row.source or 0)], None

    @property
    def _label(self) -> str:
        """What messages call the target. They must not say more than initreg knows of it."""
        others = ", ".join(dict.fromkeys(step.label for step in self._steps))
        label = self._target.label
        return f"{label} (which {others} initialises, too)" if others else label

    def array_of(self, row: Row) -> LazyArray:
        """The array of a row. The row has a source, or this is a bug."""
        if row.source is None or row.array is None:
            raise ValueError(f"{row.name!r} has no source")
        return self._arrays[row.source][row.array]

    def _position(self, row: Row) -> tuple[int, str, int]:
        """Where the array is read: by source, then by file and offset."""
        return (row.source or 0, *position(self.array_of(row)))

    @property
    def _is_in_order(self) -> bool:
        """Whether the target has to get the arrays in the order of its variables."""
        return getattr(self._target, "in_order", False) is True

    def _read(self, rows: Sequence[Row]) -> Iterator[tuple[VariableSpec, np.ndarray[Any, Any]]]:
        """Read what is written. Rows that are written in pieces are read by themselves."""
        for in_pieces, group in itertools.groupby(rows, self._is_in_pieces):
            if in_pieces:
                for row in group:
                    yield from self._read_pieces(row)
            else:
                yield from self._read_ahead(list(group))

    def _is_in_pieces(self, row: Row) -> bool:
        variable = self._variables[row.name]
        return bool(variable.parts or variable.most_bytes)

    def _read_pieces(self, row: Row) -> Iterator[tuple[PieceSpec, np.ndarray[Any, Any]]]:
        """Read one array, piece by piece. An axis of length 1 that one side lacks has one index."""
        variable, array = self._variables[row.name], self.array_of(row)
        shape = shape_in(variable, array.shape)
        boxes = [refitted(box, shape, array.shape) for box in boxes_of(variable, shape)]
        dtype = dtypes.to_numpy(variable.dtype)
        fields = {each.name: getattr(variable, each.name) for each in dataclasses.fields(variable)}
        found = pieces(array, boxes, variable.most_bytes, dtype, is_all=not variable.elsewhere)
        for part, box, is_last, values in found:
            box = refitted(box, array.shape, shape)
            fields["shape"] = box.shape
            piece = PieceSpec(**fields, at=box.starts, of=shape, part=part, is_last=is_last)
            yield piece, values.reshape(box.shape)
            del values

    def _read_ahead(
        self, rows: Sequence[Row]
    ) -> Iterator[tuple[VariableSpec, np.ndarray[Any, Any]]]:
        """Read arrays ahead of the target. None of them is kept here."""
        found = stream(
            [self.array_of(r) for r in rows], ALIGNMENT, self._room(rows), self._is_in_order
        )
        for index, array in found:
            variable = self._variables[rows[index].name]
            if rows[index].kind is Kind.RESHAPED:
                array = array.reshape(shape_in(variable, array.shape))
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
            as_stored = row.kind is Kind.MATCHED and not self.array_of(row).changes
            return room(variable, shape, nbytes) if as_stored else None

        return of_row


def _given_away(pairs: list[Any]) -> Iterable[Any]:
    """Each pair, which is then no longer held here, so that no value is in memory twice."""
    pairs.reverse()
    while pairs:
        yield pairs.pop()
