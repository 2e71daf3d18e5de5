"""SmartInit: a chain of sources, what to make of it, and a target to write into."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Unpack

from initreg.api.chain import Chain, Link, flatten
from initreg.api.opening import SourceOptions, spelt_out, split
from initreg.api.restore import Restore
from initreg.errors import RuleError
from initreg.names import Patterns
from initreg.plan.plan import Plan
from initreg.plan.rows import Policy
from initreg.rules.rules import Globs, Rules

logger = logging.getLogger("initreg")


class SmartInit(Chain):
    """Initialise variables from weights that somebody else saved, each from the array of its name.

    ``source``: a path (``str`` or ``Path``), a mapping of names to arrays, an open ``ArrayMap``,
    another ``SmartInit``, or a list of these, nested as you like: a chain, in which the last
    source that has a name supplies it. ``None``, ``""``, ``{}`` and ``[]`` restore nothing, and
    the log says so.

    ``format``: the format's name, where the source does not show it. ``ignore_mismatch``: pass
    over an array that does not fit its variable, with a warning, instead of raising. ``atomic``:
    read and check all arrays before the first variable is written, which takes the whole model's
    size in memory once more. ``mmap``: let variables be views of the mapped file where that is
    possible (TensorFlow's, of arrays that lie at a multiple of 64 bytes), which takes neither time
    nor memory; the model then depends on the file, **which must not change while it is in use**.
    ``verify``: check the checksums that the format carries.
    ``allow_pickle``: open pickles, **which can run any code**; only for files that you made.
    ``max_inflation``: how many times their size packed arrays, of 64 MB and more, may unpack to.

    ``on_missing``, ``on_unused``: what to do about variables that no source supplies, and about
    arrays that no variable takes: ``"warn"``, ``"error"`` or ``"ignore"``. ``expect_missing``,
    ``expect_unused``: names or globs (``"head/*"``) of which that is expected, so that they are
    not complained of. ``ignore``: names or globs that are not restored though they match.

    Rules, in the order in which they are applied, each to the names that the one before left:
    ``keep`` and ``drop``: globs. ``strip_prefix``: taken from the names that have it. ``rename``: a
    dict of exact names, ``(regex, replacement)`` pairs, or a function of the name. ``prefix``: put
    before every name. ``transpose``: globs of arrays whose axes are reversed. ``permute``:
    ``{glob: axes}``. ``slice``: ``{glob: (axis, start, stop)}``. ``pad``:
    ``{glob: (axis, length)}`` or ``(axis, length, fill)``, ``fill`` a number or ``"mean"``.
    ``cast``: a dtype for all floats, or ``{glob: dtype}``. A rule that touches nothing is a
    RuleError.

    As a link of a chain it keeps its options; rules of the chain follow those of the link, and
    what the link leaves at its default is as in the chain.

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
        self.ignore_mismatch = ignore_mismatch
        self.on_missing = _policy(on_missing, "on_missing")
        self.expect_missing = Patterns(expect_missing, "expect_missing")
        self.atomic = atomic
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
                f"SmartInit({source!r}): no array is touched by {' or '.join(rules.clauses)}, "
                "because there is none"
            )

    def __repr__(self) -> str:
        return f"SmartInit({self.source!r})"

    def plan(self, target: Any) -> Plan:
        """What :meth:`init` would do, having read names, shapes and dtypes and written nothing.

        ``target``: as for :meth:`init`, or an open map, which stands for a model of its names,
        shapes and dtypes. Raises what opening the sources raises, and RuleError; a plan that
        cannot be carried out is returned, with what is wrong in ``plan.error()``.
        """
        if self._is_nothing:
            return Plan((), (), type(target).__name__)
        with _gc_paused(), ExitStack() as stack:
            return self._restore(target, stack).plan

    def init(self, target: Any) -> Plan:
        """Write each variable of ``target`` that a source has an array for; return the plan.

        ``target``: a TF1 session, ``tf.Variable``s, a ``tf.Module``, a Keras model, or a dict of
        numpy arrays, filled in place. Warns, once for each kind, of names on one side only and of
        arrays that are cast, reshaped or passed over. Raises MismatchError, NothingMatched,
        MissingError, UnusedError and RuleError with nothing written; PartialRestoreError if a file
        turns out to be damaged midway, which ``atomic`` finds before.
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
        """Whether there is nothing to restore, and nobody demanded that there be something."""
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
    """Raise RuleError if a link has options that only a whole chain can have."""
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
                    f"{source!r} is a link of a chain, and {name}= speaks of the target, which "
                    f"the whole chain fills: give {name}= to the outer SmartInit"
                )


@contextmanager
def _gc_paused() -> Iterator[None]:
    """No automatic collection inside, unless other code switches it on.

    The specs and rows of a plan are no garbage and in no cycles, and arrays that are let go of are
    freed all the same; but making 10,000 of each sets off full collections, each of which walks all
    that TensorFlow has made, a million objects: half of the time that a restore of 10,000 small
    variables took. For all threads, since Python knows no other way.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
