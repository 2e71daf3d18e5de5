"""The rules as options, and the order in which they are applied.

Rules are always applied in the same order, however they were typed: those of rule files, keep,
drop, strip_prefix, rename, prefix, view, scale, fold_batch_norm, split, unstack, add, sum, concat,
stack, transpose, permute, reshape, gates, take, slice, pad, cast. Each one sees the names that the
one before it left. Each pattern must match an array, because one that matches nothing is usually
misspelt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from initreg.errors import RuleError
from initreg.option_spelling import join, said
from initreg.rules.rename_rules import Renaming, is_pair
from initreg.rules.rule import Entry, Outcome, Rule
from initreg.rules.steps import Step
from initreg.text.near import near
from initreg.text.wording import plural, printable

if TYPE_CHECKING:
    from initreg.specs import ArraySpec

Globs = str | Iterable[str]
Slices = Sequence[int | None] | Sequence[slice] | slice | str
RuleFiles = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class RuleOptions(TypedDict, total=False):
    """The rules, as keywords.

    Args:
        rules: the path of a rule file, or a list of them. What they say is applied first, one file
            after the other.
        keep: globs of the arrays to keep. All others are left out.
        drop: globs of the arrays to leave out.
        strip_prefix: text that is removed from the beginning of the names that have it.
        rename: a dict of exact names, a function that takes a name and returns one, or
            ``(regex, replacement)`` pairs as ``re.sub`` takes them, which are applied one after
            the other.
        prefix: text that is put before every name.
        view: a dtype for all raw bytes, or ``{"emb": "bfloat16"}``. The bits stay as they are, and
            an element must have as many bytes in both dtypes.
        scale: ``{"w": 0.5}``, ``{"*.w": "*.scale"}`` for the array to multiply with, or ``{"*.w":
            ("*.scale", 128)}`` if blocks of so many elements share one number of it.
        fold_batch_norm: ``{"conv/kernel": (axis, epsilon, bias, mean, variance, gamma, beta)}``, a
            batch normalization that becomes part of the kernel and the bias before it. ``axis`` is
            that of the kernel's output channels.
        split: ``{"qkv": (axis, ["q", "k", "v"])}``, one array into several along an axis. Parts
            that are not equal have their sizes after that. In all names, ``*`` stands for the same
            text.
        unstack: ``{"layers/w": (axis, "layers/{i}/w")}``, one array for each index of an axis,
            which they lack.
        add: ``{"forget_bias": 1.0}``, a number that is added.
        sum: ``{"bias": ["bias_ih", "bias_hh"]}``, several arrays of one shape into their sum.
        concat: ``{"qkv": (axis, ["q", "k", "v"])}``, several arrays into one along an axis.
        stack: ``{"layers/w": (axis, "layers/{i}/w")}``, several arrays into one along a new axis.
        transpose: globs of the arrays whose axes are reversed.
        permute: ``{"conv*/kernel": (2, 3, 1, 0)}``, the axes as numpy's ``transpose`` takes them.
        reshape: ``{"query/kernel": (768, 12, -1)}``, as numpy's ``reshape`` takes it.
        gates: ``{"lstm/*": (axis, "i o f c", "i f c o")}``, the blocks along an axis in another
            order. Names of orders, such as ``"onnx-lstm"``, are those of
            :data:`initreg.rules.gates.ORDERS`.
        take: ``{"emb": (axis, indices)}``, or ``{"emb": (axis, "old.txt", "new.txt", fill)}`` for
            the elements of the tokens in a new vocabulary. ``fill`` is for tokens that the old one
            lacks: a number or ``"mean"``. Without it, there must be none.
        slice: ``{"emb": (axis, start, stop)}``. A stop of None is the end of the axis. Or a slice
            for each axis: ``{"emb": (slice(0, 2), slice(4, 8))}``, ``{"emb": "0:2, 4:8"}``.
        pad: ``{"emb": (axis, length)}`` or ``{"emb": (axis, length, fill)}``, where ``fill`` is a
            number or ``"mean"``. The default is 0.
        cast: a dtype for all floats, or ``{"step": "int32"}``.

    If two globs of one rule match an array, the later one is used.
    """

    rules: RuleFiles | None
    rename: Renaming | None
    drop: Globs
    keep: Globs | None
    prefix: str | None
    strip_prefix: str | None
    view: Any
    scale: Mapping[str, Any] | None
    fold_batch_norm: Mapping[str, Any] | None
    split: Mapping[str, Any] | None
    unstack: Mapping[str, Any] | None
    add: Mapping[str, float] | None
    sum: Mapping[str, Any] | None
    concat: Mapping[str, Any] | None
    stack: Mapping[str, Any] | None
    transpose: Globs
    permute: Mapping[str, Sequence[int]] | None
    reshape: Mapping[str, Sequence[int]] | None
    gates: Mapping[str, Sequence[Any]] | None
    take: Mapping[str, Sequence[Any]] | None
    slice: Mapping[str, Slices] | None
    pad: Mapping[str, Sequence[Any]] | None
    cast: Any


class Rules:
    """The rules of one source, or of one chain, in the order in which they are applied.

    Args:
        rules: the rules.
        given: the options that the rules were made from, of Python's own types, so that the code
            of a hint can repeat them.
        steps: the steps that the rules were made from.

    >>> Rules.of(drop="head/*", prefix="net/").clauses
    ["drop='head/*'", "prefix='net/'"]
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        given: Mapping[str, Any] | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        self._rules = tuple(rules)
        self.given = given or {}
        self.steps = tuple(steps)

    @classmethod
    def of(
        cls,
        *,
        rules: RuleFiles | None = None,
        rename: Renaming | None = None,
        drop: Globs = (),
        keep: Globs | None = None,
        prefix: str | None = None,
        strip_prefix: str | None = None,
        view: Any = None,
        scale: Mapping[str, Any] | None = None,
        fold_batch_norm: Mapping[str, Any] | None = None,
        split: Mapping[str, Any] | None = None,
        unstack: Mapping[str, Any] | None = None,
        add: Mapping[str, float] | None = None,
        sum: Mapping[str, Any] | None = None,
        concat: Mapping[str, Any] | None = None,
        stack: Mapping[str, Any] | None = None,
        transpose: Globs = (),
        permute: Mapping[str, Sequence[int]] | None = None,
        reshape: Mapping[str, Sequence[int]] | None = None,
        gates: Mapping[str, Sequence[Any]] | None = None,
        take: Mapping[str, Sequence[Any]] | None = None,
        slice: Mapping[str, Slices] | None = None,
        pad: Mapping[str, Sequence[Any]] | None = None,
        cast: Any = None,
    ) -> Rules:
        """The rules that :class:`RuleOptions` describes.

        The keywords are spelt out, so that a misspelt one is a TypeError.

        Raises:
            RuleError: an option has a value that it cannot have, or a rule file is wrong.
            SourceNotFound: there is no such rule file.
            InitregError: a rule file cannot be read.
        """
        paths: list[str] = []
        steps: list[Step] = []
        if rules is not None:
            from initreg.rules.files import paths_of, read  # others do not pay for reading TOML

            paths = paths_of(rules)
            steps = [step for path in paths for step in read(path)]
        given = {
            "keep": keep,
            "drop": drop,
            "strip_prefix": strip_prefix,
            "rename": rename,
            "prefix": prefix,
            "view": view,
            "scale": scale,
            "fold_batch_norm": fold_batch_norm,
            "split": split,
            "unstack": unstack,
            "add": add,
            "sum": sum,
            "concat": concat,
            "stack": stack,
            "transpose": transpose,
            "permute": permute,
            "reshape": reshape,
            "gates": gates,
            "take": take,
            "slice": slice,
            "pad": pad,
            "cast": cast,
        }
        if keep is None and all(map(_is_left_out, given.values())):
            given = {}
        else:
            from initreg.rules.options import checked  # not for whoever only lists arrays

            given = checked(given)
        files = {"rules": paths[0] if len(paths) == 1 else paths} if paths else {}
        return cls.made_of([*steps, Step(given)] if given else steps, {**files, **given})

    @classmethod
    def made_of(cls, steps: Sequence[Step], given: Mapping[str, Any] | None = None) -> Rules:
        """The rules of steps, which are applied one after the other.

        Args:
            steps: the steps.
            given: as for :class:`Rules`.

        Raises:
            RuleError: an option has a value that it cannot have.
        """
        return cls([rule for step in steps for rule in step.rules()], given, steps)

    def reversed(self) -> Rules:
        """The rules that take arrays back to the names and axes that they came from.

        Raises:
            RuleError: some of these rules cannot be undone.
        """
        from initreg.rules.reversing import reversed_steps  # few need it

        return Rules.made_of(reversed_steps(self.steps))

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def clauses(self) -> list[str]:
        """The parts of the rules that must each match an array, as the user typed them."""
        return [clause for rule in self._rules for clause in rule.clauses]

    def restricted_to(self, touched: Collection[str]) -> dict[str, Any]:
        """The options, without the patterns and renames that matched nothing.

        Args:
            touched: the clauses that matched an array.
        """
        left = {
            name: _restricted(name, value, touched)
            for name, value in self.given.items()
            if name != "rules"
        }
        in_files = (rule for step in self.steps if step.file for rule in step.rules())
        if any(clause in touched for rule in in_files for clause in rule.clauses):
            left = {"rules": self.given["rules"], **left}
        return {name: value for name, value in left.items() if value is not None}

    def apply(self, specs: Sequence[ArraySpec], label: str) -> Outcome:
        """Apply the rules to the arrays of a map.

        Whether every clause matched an array is checked by :meth:`refuse_untouched`, because a
        rule of a chain need not match an array of each source.

        Args:
            specs: the arrays of the map.
            label: what to call the source in an error.

        Raises:
            RuleError: two arrays get the same name, or a change cannot be applied to its array.
        """
        outcome = Outcome([Entry(i, spec) for i, spec in enumerate(specs)], [], set())
        for rule in self._rules:
            try:
                rule.apply(outcome)
            except RuleError as error:
                raise RuleError(f"{label}: " + said(error)) from error.__cause__
        return outcome

    def refuse_untouched(self, touched: Collection[str], names: Sequence[str], label: str) -> None:
        """Check that each clause matched an array.

        Args:
            touched: the clauses that matched an array.
            names: the names of all arrays, for the error.
            label: what to call the source in the error.

        Raises:
            RuleError: a clause matched nothing. The error shows names that look like it.
        """
        idle = [clause for clause in self.clauses if clause not in touched]
        if not idle:
            return
        similar = _near(idle[0], names)
        hint = f"Similar names: {similar}" if similar else f"Arrays: {_some(names)}"
        raise RuleError(
            f"{label}: " + join(" and ", idle) + f" {'matches' if len(idle) == 1 else 'match'} no "
            f"array (a rule must match at least one). {hint}"
        )


def _is_left_out(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and not value)


def _restricted(option: str, value: Any, touched: Collection[str]) -> Any:
    """The parts of an option's value whose clauses matched an array, None if there are none."""
    if isinstance(value, Mapping):
        left = {k: v for k, v in value.items() if _touched(option, {k: v}, touched)}
        return left or None
    if isinstance(value, list) and not (option == "rename" and is_pair(value)):
        parts = [_restricted(option, each, touched) for each in value]
        return [part for part in parts if part is not None] or None
    return value if _touched(option, value, touched) else None


def _touched(option: str, value: Any, touched: Collection[str]) -> bool:
    from initreg.rules.options import clauses_of

    return any(clause in touched for clause in clauses_of(option, value))


def _near(clause: str, names: Sequence[str]) -> str:
    """Names that look like the first quoted text of the clause, or globs of such names."""
    typed = re.search(r"['\"](.+?)['\"]", clause)
    found = near(typed[1], names) if typed else []
    return ", ".join(repr(printable(name)) for name in found)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(printable(name)) for name in names[:3])
    return (
        f"{shown} and {plural(len(names) - 3, 'more name')}" if len(names) > 3 else shown or "none"
    )
