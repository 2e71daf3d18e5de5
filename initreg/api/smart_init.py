"""SmartInit: restore a target from a chain of sources, with options and rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Unpack

from initreg.api import chain
from initreg.api.chain import Chain, Link, Typed, flatten
from initreg.api.collecting import gc_paused
from initreg.api.opening_options import SourceOptions, spelt_out, split, switch
from initreg.api.progressing import shown
from initreg.api.restoring import Restore
from initreg.arrays.saved import Progress
from initreg.errors import RuleError
from initreg.names import Patterns, plain
from initreg.option_spelling import option as option_text
from initreg.plan.plan import Plan
from initreg.plan.rows import By, Policy
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
        source: a path (``str`` or ``Path``), a URL, an open binary file, a mapping of names to
            arrays, an open ``ArrayMap``, a model, a session or variables, another ``SmartInit``, or
            a list of these, which may be nested. A list is a chain: if several sources have a name,
            the last one supplies it.
            ``None``, ``""``, ``{}`` and ``[]`` restore nothing, and the log says so.

        format: the name of the format, for a source that does not show it.
        verify: check the checksums of the format while reading.
        mmap: let variables be views of the mapped file where that is possible, which takes neither
            time nor memory. It is possible for TensorFlow's variables, if the array begins at a
            multiple of 64 bytes. The model then depends on the file, **which must not change while
            it is in use**.
        allow_pickle: open pickles, **which can run any code**. Only for files that you made.
        native: let a library in C read what initreg does not, such as rare filters of HDF5. It may
            **crash or return wrong values** if the file is damaged. Only for files that you trust.
        max_inflation: a packed array may unpack to this many times its size. Up to 64 MB is always
            allowed.
        storage_options: for a URL: what fsspec's file system is made with, such as credentials.
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
        by: by which of their names arrays find their variables: ``"name"`` for what somebody called
            them, ``"place"`` for where they are in the structure of the model, ``"order"`` for
            their position among the layers, as in a legacy ``.h5`` of Keras, or for their numbers,
            as in ``numpy.savez(path, *weights)``. By default one of them is chosen for each source,
            but never by such numbers, and the plan says which and why.

        rules: the path of a rule file, or a list of them. What is in them is applied before the
            following.
        keep: globs of the arrays to keep. All others are left out. This and the following are
            rules. They are applied in this order, and each sees the names that the one before it
            left.
        drop: globs of the arrays to leave out.
        strip_prefix: text that is removed from the beginning of the names that have it.
        rename: a dict of exact names, ``(regex, replacement)`` pairs, or a function that takes a
            name and returns one.
        prefix: text that is put before every name.
        view: a dtype for all raw bytes, or ``{glob: dtype}``. The bits stay as they are. numpy
            saves bfloat16 as raw bytes.
        scale: ``{name: number}``, ``{name: other}`` or ``{name: (other, block)}``, which multiplies
            arrays, as quantised weights need it. ``other`` is the name of the array of scales.
        fold_batch_norm: ``{kernel: (axis, epsilon, bias, mean, variance, gamma, beta)}``, a batch
            normalization into the kernel and the bias of the layer before it.
        split: ``{name: (axis, parts)}`` or ``{name: (axis, parts, sizes)}``, one array into several
            along an axis. ``parts`` are their names.
        unstack: ``{name: (axis, parts)}``, one array for each index of an axis. ``parts`` may be
            one name with ``{i}`` for the numbers.
        add: ``{glob: number}``, a number that is added.
        sum: ``{name: parts}``, several arrays of one shape into their sum.
        concat: ``{name: (axis, parts)}``, several arrays into one along an axis.
        stack: ``{name: (axis, parts)}``, several arrays into one along a new axis.
        transpose: globs of the arrays whose axes are reversed.
        permute: ``{glob: axes}``, the axes in their new order.
        reshape: ``{glob: shape}``, another shape with as many elements.
        gates: ``{glob: (axis, old, new)}``, another order of the gates of an LSTM or GRU, such as
            ``(0, "onnx-lstm", "keras-lstm")`` or ``(0, "i o f c", "i f c o")``.
        take: ``{glob: (axis, indices)}``, or ``{glob: (axis, old, new, fill)}`` with the files of
            two vocabularies: the elements of the tokens of the new one.
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
        by: str | None = None,
        atomic: bool = False,
        **options: Unpack[SourceOptions],
    ) -> None:
        self.source = source
        expect_missing, expect_unused, ignore = map(plain, (expect_missing, expect_unused, ignore))
        self.ignore_mismatch = switch(ignore_mismatch, "ignore_mismatch")
        self.on_missing = policy(on_missing, "on_missing")
        self.expect_missing = Patterns(expect_missing, "expect_missing")
        self.atomic = switch(atomic, "atomic")
        unused = policy(on_unused, "on_unused")
        way = way_of(by)
        opening, given = split(options, "SmartInit")
        rules = Rules.of(**given)
        kept = {
            "ignore_mismatch": self.ignore_mismatch,
            "on_missing": self.on_missing is not Policy.WARN and self.on_missing.value,
            "on_unused": unused is not Policy.WARN and unused.value,
            "expect_missing": expect_missing,
            "expect_unused": expect_unused,
            "ignore": ignore,
            "by": way and way.value,
            "atomic": self.atomic,
        }
        typed = {**rules.given, **{name: value for name, value in kept.items() if value}}
        like = Link(
            source=None,
            opening=opening,
            rules=(rules,),
            ignore_mismatch=ignore_mismatch,
            on_unused=unused,
            expected=Patterns(expect_unused, "expect_unused"),
            ignored=Patterns(ignore, "ignore"),
            by=way,
            typed=(Typed("SmartInit", typed),),
        )
        self._add(source, like)
        if rules and not self.links and isinstance(source, Mapping):
            raise RuleError(
                f"SmartInit({source!r}): {' and '.join(rules.clauses)} "
                f"{'matches' if len(rules.clauses) == 1 else 'match'} no array, because the source "
                "is empty"
            )

    def _add(self, source: Any, like: Link) -> None:
        """Set the links. ``like`` has the options of all of them."""
        _refuse_inner(source)
        self.links = tuple(flatten(source, like))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r})"

    def check(self) -> None:
        """Look at each source now, to fail before :meth:`init`: early in a long program.

        Each source must exist and have a format, and its rules must match. Only names and shapes
        are read. ``init`` opens the source again, so a file may still be replaced. A pickle is not
        opened before ``init``, because that would unpickle all of it.

        Raises:
            InitregError: what :func:`initreg.open` raises.
            RuleError: a rule matches no array.

        >>> SmartInit("base.npz", drop="head/*").check()  # doctest: +SKIP
        """
        chain.check(self.links)

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
        with gc_paused(), ExitStack() as stack:
            return self._restore(target, stack).plan

    def init(self, target: Any, *, progress: Progress | bool | None = None) -> Plan:
        """Write each variable of ``target`` that a source has an array for.

        There is one warning for each kind of thing to know: names on one side only, and arrays
        that are cast, reshaped or skipped.

        Args:
            target: a TF1 session, ``tf.Variable``s, a ``tf.Module``, a Keras model, or a dict of
                numpy arrays, which are filled in place.
            progress: a function that is called with the bytes that are read, and with all bytes.
                True shows a bar on a terminal or in a notebook.

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
            if not self.steps:
                logger.warning("No source (%r): nothing is restored", self.source)
            plan = self.plan(target)
            for step in self.steps:
                step.run(target)
            return plan
        with gc_paused(), ExitStack() as stack:
            restore = self._restore(target, stack)
            restore.check_copies()
            error = restore.plan.error()
            if error is not None:
                raise error
            restore.check_states()
            restore.warn()
            with shown(progress) as report:
                restore.write(atomic=self.atomic, report=report)
            return restore.plan

    @property
    def _is_nothing(self) -> bool:
        """Whether there is no source, and ``on_missing`` allows that."""
        return not self.links and self.on_missing is not Policy.ERROR

    def _restore(self, target: Any, stack: ExitStack) -> Restore:
        return Restore(
            self.links,
            self.source,
            target,
            stack,
            on_missing=self.on_missing,
            expect_missing=self.expect_missing,
            steps=self.steps,
        )


def policy(given: Any, option: str) -> Policy:
    try:
        return Policy(given)
    except ValueError as error:
        raise RuleError(
            option_text(option, given) + ": give 'warn', 'error' or 'ignore'"
        ) from error


def way_of(given: Any) -> By | None:
    try:
        return None if given is None else By(given)
    except ValueError as error:
        raise RuleError(option_text("by", given) + ": give 'name', 'place' or 'order'") from error


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
