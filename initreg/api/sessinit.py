"""The initialisers that users of tensorpack know, for any target and without tensorpack.

Source: tensorpack 0.11, ``tfutils/sessinit.py``. As there, a file that does not exist is an error
when the initialiser is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from initreg.api.chain import Chain, Link, Step, Typed, flatten
from initreg.api.smart_init import SmartInit, policy
from initreg.errors import SourceNotFound
from initreg.names import Patterns, plain
from initreg.plan.rows import Policy
from initreg.records import replace
from initreg.rules.keywords import Globs
from initreg.rules.scope_rules import Scope
from initreg.storage.locating import is_remote

_STRICTEST = (Policy.ERROR, Policy.WARN, Policy.IGNORE)


def get_model_loader(obj: Any, *, ignore_mismatch: bool = False, **options: Any) -> SmartInit:
    """A :class:`initreg.SmartInit` that has looked at its source: see ``check()``.

    Args:
        obj: whatever ``SmartInit`` takes.
        ignore_mismatch: whether to skip arrays that do not fit.
        options: those of ``SmartInit``.

    Raises:
        InitregError: the source does not exist, no format claims it, or a rule matches nothing.

    >>> get_model_loader("base.npz").init(session)  # doctest: +SKIP
    """
    made = SmartInit(obj, ignore_mismatch=ignore_mismatch, **options)
    made.check()
    return made


class SaverRestore(SmartInit):
    """Restore a checkpoint, or any other file, as tensorpack's ``SaverRestore`` does.

    Args:
        model_path: of any format of initreg. It must exist by now.
        prefix: the scope that the variables are in. As in tensorpack, ``PREFIX/`` is put before
            each name in the file, but a variable outside of the scope is restored from the array
            of its own name. ``SmartInit(path, prefix="PREFIX/")`` restores the scope alone.
        ignore: names in the file, without the prefix, that are not restored.
        options: those of :class:`initreg.SmartInit`.

    Raises:
        InitregError: the file does not exist, no format claims it, or a rule matches nothing.
            In ``init``: a variable in the scope and one outside of it would take the same array.

    >>> SaverRestore("model-100", prefix="net", ignore=["fc/W"]).init(session)  # doctest: +SKIP
    """

    def __init__(
        self,
        model_path: Any,
        prefix: str | None = None,
        ignore: Globs = (),
        **options: Any,
    ) -> None:
        self.path = model_path
        if is_remote(model_path):  # whose fs and options the text does not have
            self.path = str(model_path)
        elif isinstance(model_path, os.PathLike):
            self.path = model_path = os.fspath(model_path)
        scope = prefix.rstrip("/") if isinstance(prefix, str) else prefix
        super().__init__(model_path, ignore=() if scope else ignore, **options)
        if not self.links:
            raise SourceNotFound(f"{model_path!r}: the path is empty")
        if scope:
            given = {"prefix": scope} | ({"ignore": plain(ignore)} if ignore else {})
            rule = Scope(scope, Patterns(ignore, "ignore"))
            typed = Typed("SaverRestore", given)
            self.links = tuple(
                replace(link, rules=(*link.rules, rule), typed=(*link.typed, typed))
                for link in self.links
            )
        self.check()


class SaverRestoreRelaxed(SaverRestore):
    """As :class:`SaverRestore`, but arrays that do not fit are skipped.

    >>> SaverRestoreRelaxed("model-100").init(session)  # doctest: +SKIP
    """

    def __init__(
        self,
        model_path: Any,
        prefix: str | None = None,
        ignore: Globs = (),
        **options: Any,
    ) -> None:
        super().__init__(model_path, prefix, ignore, **{"ignore_mismatch": True, **options})


class DictRestore(SmartInit):
    """Restore a dict of arrays.

    Args:
        variable_dict: arrays by name, with or without ``:0``.
        ignore_mismatch: whether to skip arrays that do not fit.
        options: those of :class:`initreg.SmartInit`.

    >>> DictRestore({"fc/W": w}).init(session)  # doctest: +SKIP
    """

    def __init__(
        self, variable_dict: Mapping[str, Any], ignore_mismatch: bool = False, **options: Any
    ) -> None:
        super().__init__(variable_dict, ignore_mismatch=ignore_mismatch, **options)
        self.check()


class JustCurrentSession(SmartInit):
    """Restore nothing.

    >>> JustCurrentSession().init(session)  # doctest: +SKIP
    """

    def __init__(self) -> None:
        super().__init__(None)

    def init(self, target: Any, *, progress: Any = None) -> Any:
        return self.plan(target)  # without the warning in the log


class ChainInit(SmartInit):
    """Several initialisers in order, planned as one chain: the last that has a name supplies it.

    Chains inside are part of the same plan. Each part keeps its own options about its source, such
    as its rules. The options of the chain then apply to all parts. Those about the target, which a
    part may have been given for itself, count as follows:

    - ``on_missing``: if ``ChainInit`` has none, the strictest of all parts: ``"error"``, then
      ``"warn"``, which is the default of a part, then ``"ignore"``;
    - ``expect_missing``: those of the chain and of all parts together;
    - ``atomic``: if the chain or a part has it.

    An object with a method ``init(target)`` that is not of initreg is run in its place, once the
    plan for all other parts has no error. The plan does not know what it does. If it raises after
    other parts were written, that is a ``PartialRestoreError`` that lists what was written.

    Args:
        sess_inits: initialisers, or sources as :class:`initreg.SmartInit` takes them.
        on_missing: as for ``SmartInit``. By default that of the parts.
        expect_missing: as for ``SmartInit``.
        atomic: as for ``SmartInit``.
        options: all others of ``SmartInit``, which apply to all parts.

    Raises:
        InitregError: a source does not exist, no format claims it, or a rule matches nothing.

    >>> ChainInit([SaverRestore("model-100"), DictRestore({"fc/W": w})]).init(s)  # doctest: +SKIP
    """

    def __init__(
        self,
        sess_inits: Iterable[Any],
        *,
        on_missing: str | None = None,
        expect_missing: Globs = (),
        atomic: bool = False,
        **options: Any,
    ) -> None:
        parts = list(sess_inits)
        inside = list(_smart_inits(parts))
        own = None if on_missing is None else policy(on_missing, "on_missing")
        theirs = {each.on_missing for each in inside if not _is_silent(each)}
        if any(not isinstance(part, Chain) and not _is_foreign(part) for part in _flat(parts)):
            theirs.add(Policy.WARN)  # a plain source
        found = own or next((each for each in _STRICTEST if each in theirs), Policy.WARN)
        expected = [*Patterns(expect_missing, "expect_missing")]
        expected += [glob for each in inside for glob in each.expect_missing]
        super().__init__(
            parts, on_missing=found.value, expect_missing=expected, atomic=atomic, **options
        )
        self.atomic = self.atomic or any(each.atomic for each in inside)
        self.check()

    def _add(self, source: Any, like: Link) -> None:
        links: list[Link] = []
        steps: list[Step] = []
        for part in _flat(source):
            if isinstance(part, Chain):
                steps += [replace(step, after=step.after + len(links)) for step in part.steps]
                links += [link.inside(like) for link in part.links]
            elif _is_foreign(part):
                steps.append(Step(_label(part), part.init, len(links)))
            else:
                links += flatten(part, like)
        self.links, self.steps = tuple(links), tuple(steps)


def _flat(parts: Iterable[Any]) -> Iterable[Any]:
    for part in parts:
        if isinstance(part, (list, tuple)):
            yield from _flat(part)
        else:
            yield part


def _smart_inits(parts: Iterable[Any]) -> Iterable[SmartInit]:
    return (part for part in _flat(parts) if isinstance(part, SmartInit))


def _is_silent(init: SmartInit) -> bool:
    """Whether it restores nothing, and was not told to say something about that."""
    return not init.links and not init.steps and init.on_missing is Policy.WARN


def _is_foreign(part: Any) -> bool:
    return not isinstance(part, Mapping) and callable(getattr(type(part), "init", None))


def _label(part: Any) -> str:
    label = getattr(part, "label", None)
    return label if isinstance(label, str) else type(part).__name__
