"""SmartInit: restore a target from a chain of sources, with options and rules."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Unpack

from initreg.api.chain import Chain, Link, flatten
from initreg.api.opening_options import SourceOptions, spelt_out, split, switch
from initreg.api.restoring import Restore
from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.plan.plan import Plan
from initreg.plan.rows import Policy
from initreg.rules.keywords import Globs, Rules

logger = logging.getLogger("initreg")


class SmartInit(Chain):
    """Initialise variables from weights that somebody else saved, each from the array of its name.

    A rule that matches no array is a RuleError.

    A SmartInit can be a source of another one. It keeps its options then. The rules of the outer
    one are applied after its own, and the options that it leaves at their defaults become those of
    the outer one. ``on_missing``, ``expect_missing`` and ``atomic`` are about the target, so only
    the outermost one can have them.

    Args:
        source: a path (``str`` or ``Path``), a mapping of names to arrays, an open ``ArrayMap``,
            another ``SmartInit``, or a list of these, which may be nested. A list is a chain: if
            several sources have a name, the last one supplies it. ``None``, ``""``, ``{}`` and
            ``[]`` restore nothing, and the log says so.

        format: the name of the format, for a source that does not show it.
        verify: check the checksums of the format while reading.
        mmap: let variables be views of the mapped file where that is possible, which takes neither
            time nor memory. It is possible for TensorFlow's variables, if the array begins at a
            multiple of 64 bytes. The model then depends on the file, **which must not change while
            it is in use**.
        allow_pickle: open pickles, **which can run any code**. Only for files that you made.
        max_inflation: a packed array may unpack to this many times its size. Up to 64 MB is always
            allowed.
        atomic: read and check all arrays before the first variable is written. That needs memory
            for the whole model once more.

        ignore_mismatch: skip an array that does not fit its variable, with a warning. Otherwise it
            is an error.
        on_missing: what to do about variables that no source supplies: ``"warn"``, ``"error"`` or
            ``"ignore"``.
        on_unused: the same for arrays that no variable takes.
        expect_missing: names or globs, such as ``"head/*"``, of variables that no source needs to
            supply. They are not reported.
        expect_unused: the same for arrays that no variable needs to take.
        ignore: names or globs of variables and arrays that are not restored even though they match.

        keep: globs of the arrays to keep. All others are left out. This and the following are
            rules. They are applied in this order, and each sees the names that the one before it
            left.
        drop: globs of the arrays to leave out.
        strip_prefix: text that is removed from the beginning of the names that have it.
        rename: a dict of exact names, ``(regex, replacement)`` pairs, or a function that takes a
            name and returns one.
        prefix: text that is put before every name.
        transpose: globs of the arrays whose axes are reversed.
        permute: ``{glob: axes}``, the axes in their new order.
        slice: ``{glob: (axis, start, stop)}``, a slice of one axis.
        pad: ``{glob: (axis, length)}`` or ``{glob: (axis, length, fill)}``, which makes one axis
            longer. ``fill`` is a number or ``"mean"``.
        cast: a dtype for all floats, or ``{glob: dtype}``.

    Raises:
        RuleError: an option has a value that it cannot have.

    >>> SmartInit(["base.npz", {"head/b": zeros}]).init(session)  # doctest: +SKIP
    >>> SmartInit("base.npz", strip_prefix="model/", drop="head/*").init(session)  # doctest: +SKIP
    """

    @spelt_out(SourceOptions)
    def __init__(
        self,
        source: Any,
        *,
        ignore_mismatch: bool = False,
        on_missing: str = "warn",
        on_unused: str = "warn",
        expect_missing: Globs = (),
        expect_unused: Globs = (),
        ignore: Globs = (),
        atomic: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        self.source = source
        self.ignore_mismatch = switch(ignore_mismatch, "ignore_mismatch")
        self.on_missing = _policy(on_missing, "on_missing")
        self.expect_missing = Patterns(expect_missing, "expect_missing")
        self.atomic = switch(atomic, "atomic")
        opening, given = split(options, "SmartInit")
        rules = Rules.of(**given)
        like = Link(
            source=None,
            opening=opening,
            rules=(rules,),
            ignore_mismatch=ignore_mismatch,
            on_unused=_policy(on_unused, "on_unused"),
            expected=Patterns(expect_unused, "expect_unused"),
            ignored=Patterns(ignore, "ignore"),
            typed=(rules.given,),
        )
        _refuse_inner(source)
        self.links = tuple(flatten(source, like))
        if rules and not self.links and isinstance(source, Mapping):
            raise RuleError(
                f"SmartInit({source!r}): {' and '.join(rules.clauses)} "
                f"{'matches' if len(rules.clauses) == 1 else 'match'} no array, because the source "
                "is empty"
            )

    def __repr__(self) -> str:
        return f"SmartInit({self.source!r})"

    def plan(self, target: Any) -> Plan:
        """Plan what :meth:`init` would do. Nothing is written, and no values are read.

        Args:
            target: as for :meth:`init`. It may also be an open map, for a model with its names,
                shapes and dtypes.

        Returns:
            The plan. If it cannot be carried out, ``plan.error()`` says why.

        Raises:
            InitregError: what :func:`initreg.open` raises for a source.
            UnknownTarget: no target takes the object.
            RuleError: a rule matches nothing, or does not apply.

        >>> print(SmartInit("base.npz").plan(model))  # doctest: +SKIP
        """
        if self._is_nothing:
            return Plan((), (), type(target).__name__)
        with _gc_paused(), ExitStack() as stack:
            return self._restore(target, stack).plan

    def init(self, target: Any) -> Plan:
        """Write each variable of ``target`` that a source has an array for.

        There is one warning for each kind of thing to know: names on one side only, and arrays
        that are cast, reshaped or skipped.

        Args:
            target: a TF1 session, ``tf.Variable``s, a ``tf.Module``, a Keras model, or a dict of
                numpy arrays, which are filled in place.

        Returns:
            The plan that was carried out.

        Raises:
            MismatchError, NothingMatched, MissingError, UnusedError, RuleError: nothing was
                written.
            PartialRestoreError: a file turned out to be damaged midway. ``atomic`` finds that
                before anything is written.
            InitregError: what :meth:`plan` raises.

        >>> plan = SmartInit("base.npz").init(model)  # doctest: +SKIP
        """
        if self._is_nothing:
            logger.warning("No source (%r): nothing is restored", self.source)
            return self.plan(target)
        with _gc_paused(), ExitStack() as stack:
            restore = self._restore(target, stack)
            error = restore.plan.error()
            if error is not None:
                raise error
            restore.warn()
            restore.write(atomic=self.atomic)
            return restore.plan

    @property
    def _is_nothing(self) -> bool:
        """Whether there is no source, and ``on_missing`` allows that."""
        return not self.links and self.on_missing is not Policy.ERROR

    def _restore(self, target: Any, stack: ExitStack) -> Restore:
        return Restore(
            self.links,
            target,
            stack,
            on_missing=self.on_missing,
            expect_missing=self.expect_missing,
        )


def _policy(given: Any, option: str) -> Policy:
    try:
        return Policy(given)
    except ValueError as error:
        raise RuleError(f"{option}={given!r}: give 'warn', 'error' or 'ignore'") from error


def _refuse_inner(source: Any) -> None:
    """Raise RuleError if a link has options that only the outermost SmartInit can have."""
    if isinstance(source, (list, tuple)):
        for each in source:
            _refuse_inner(each)
    elif isinstance(source, SmartInit):
        for name, is_given in (
            ("on_missing", source.on_missing is not Policy.WARN),
            ("expect_missing", bool(source.expect_missing)),
            ("atomic", source.atomic),
        ):
            if is_given:
                raise RuleError(
                    f"{source!r} is a part of a chain, and {name}= is about the target of the "
                    f"whole chain. Pass {name}= to the outer SmartInit"
                )


@contextmanager
def _gc_paused() -> Iterator[None]:
    """No automatic garbage collection inside, unless other code switches it on.

    A plan creates 10,000 specs and rows at once, which are not garbage. That starts full
    collections, and each of them walks through the million objects of TensorFlow. It took half of
    the time of a restore of 10,000 small variables. Arrays are freed without it, because they are
    in no cycles. It is off for all threads, because Python offers nothing else.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
