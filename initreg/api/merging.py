"""merge: several models become one, or an adapter becomes a part of its model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from initreg import dtypes
from initreg.api.chain import Link
from initreg.api.merge_sources import (
    arrays_of,
    common_metadata,
    open_adapter,
    open_sources,
    refuse_adapters,
    refuse_other_order,
    states_of,
)
from initreg.api.opening_options import SourceOptions, spelt_out, split, switch
from initreg.api.saving import convert
from initreg.api.smart_init import way_of
from initreg.arrays.metadata import checked
from initreg.arrays.saved import Progress
from initreg.errors import MergeWarning, RuleError, warn
from initreg.merging.adding import Adding
from initreg.merging.combined import METHODS, Method
from initreg.merging.deciding import Choices, Deciding
from initreg.merging.inputs import NonFinite, Seen
from initreg.merging.merged_map import MergedMap
from initreg.merging.parameters import Parameters
from initreg.merging.plan import MergePlan
from initreg.option_spelling import join, option
from initreg.rules.keywords import Rules
from initreg.text.wording import names_text, plural, printable

if TYPE_CHECKING:
    from initreg.arrays.array_map import ArrayMap
    from initreg.plan.choices import By

_CHOICES = {"on_missing": ("error", "keep", "drop"), "on_conflict": ("error", "first", "last")}


class MergeParameters(TypedDict, total=False):
    """The parameters of a method, as keywords.

    Args:
        weight: a number for each source, or one for all.
        density: the part of the changes that is kept.
        t: where between two sources.
        decay: of the moving average.
        normalize: whether the sum is divided by the weights.
        factor: what the sum of the changes is multiplied by.
        rescale: how DARE makes up for what it drops.
        seed: of what DARE drops.
        alpha: of an adapter that has no configuration.
        fan_in_fan_out: whether square kernels of the model have their inputs first.
        as_given: take the sources of a moving average in the order in which they are given.
    """

    weight: Any
    density: Any
    t: Any
    decay: Any
    normalize: bool | None
    factor: Any
    rescale: str | None
    seed: int | None
    alpha: float | None
    fan_in_fan_out: bool | None
    as_given: bool | None


class MergeOptions(SourceOptions, MergeParameters, total=False):
    """The parameters of a method, and how sources are opened, as keywords."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of :func:`merge`.

    Args:
        plan: what was done.
        path: the path to open the result with. None if nothing was written.
        nonfinite: values of the sources that are NaN or infinite, in arrays that were computed.
    """

    plan: MergePlan
    path: Path | str | None = None
    nonfinite: tuple[NonFinite, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings."""
        return {
            "path": None if self.path is None else str(self.path),
            "plan": self.plan.to_dict(),
            "nonfinite": [each.to_dict() for each in self.nonfinite],
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, limit: int | None = 20) -> str:
        """The plan in words, and what was found while it was carried out."""
        lines = [self.plan.to_text(limit), *_nonfinite_text(self.nonfinite, limit)]
        lines.append("nothing was written" if self.path is None else str(self.path))
        return join("\n", lines)


@spelt_out(MergeOptions)
def merge(
    sources: Sequence[Any],
    path: str | os.PathLike[str] | None = None,
    *,
    method: str = "average",
    base: Any = None,
    by: str | None = None,
    on_missing: str = "error",
    on_conflict: str = "error",
    dtype: Any = None,
    dry_run: bool = False,
    to: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    output_storage_options: Mapping[str, Any] | None = None,
    **options: Unpack[MergeOptions],
) -> Merged:
    """Merge models into one, or adapters into their model, and write the result.

    Sources may be of any formats. Their names are matched with those of the base, or of the first
    source, as if they were restored into it. Nothing is written unless all arrays can be merged.
    Values are computed in float32, or in float64 if a source or the result has it, and rounded
    once. In memory are a few pieces of each source and the array that is written.

    Args:
        sources: the sources, each as :func:`initreg.open` takes it, or a SmartInit with rules of
            its own. For ``method="lora"`` these are the adapters.
        path: the file to write, as for :func:`initreg.convert`. Not needed for ``dry_run``.
        method: ``"average"``, ``"ema"`` (of a run, in the order of its checkpoints), ``"lerp"``,
            ``"slerp"``, ``"task"`` (task arithmetic), ``"ties"``, ``"dare-linear"``,
            ``"dare-ties"`` or ``"lora"``.
        base: the model whose changes are merged, for ``task``, ``ties`` and ``dare``, or into which
            adapters are merged.
        by: by which names arrays are matched, as for :class:`initreg.SmartInit`.
        on_missing: what becomes of an array that some sources lack: ``"error"``, ``"keep"``: it is
            merged from those that have it, or ``"drop"``. With ``"drop"``, what an adapter has for
            arrays that its model lacks is left out.
        on_conflict: what becomes of arrays that cannot be combined, such as counters, strings and
            the state of optimizers, if they differ: ``"error"``, or that of the ``"first"`` or the
            ``"last"`` source. Equal ones are kept.
        dtype: the dtype of the floats of the result. By default, that of the base or of the first
            source.
        dry_run: only plan. Arrays that are not merged are compared, and nothing is written. What
            cannot be written to ``path`` is an error, as without it.
        to: as for :func:`initreg.convert`, and so are ``compress``, ``shard_size``, ``manifest``,
            ``progress`` and ``output_storage_options``.
        metadata: texts to save beside the arrays, in addition to those of the sources on which
            they agree.
        options: the parameters of the method, and how sources are opened. ``weight``, ``density``,
            ``t``, ``decay`` and ``factor`` may be dicts by globs of names. Rules apply to all
            sources.

    Returns:
        A :class:`Merged`, with the plan.

    Raises:
        MergeError: arrays cannot be merged. Nothing was written.
        RuleError: a parameter is wrong, or a rule.
        InitregError: what :func:`initreg.open` and :func:`initreg.convert` raise.

    >>> initreg.merge(["a.npz", "b.npz"], "soup.npz")  # doctest: +SKIP
    >>> initreg.merge(["adapter"], "new.npz", method="lora", base="old.npz")  # doctest: +SKIP
    """
    if not isinstance(sources, (list, tuple)):
        raise RuleError(f"sources={sources!r:.60}: give a list of sources")
    chosen = _method(method)
    parameters = {name: options.pop(name, None) for name in MergeParameters.__annotations__}  # type: ignore[misc]
    opening, rules = split(options, "merge")
    _check_count(chosen, sources, base)
    as_given = switch(parameters.pop("as_given") or False, "as_given")
    settings = Parameters(chosen, len(sources), parameters)
    choices = Choices(
        _choice("on_missing", on_missing), _choice("on_conflict", on_conflict), _dtype(dtype)
    )
    if chosen.name == "lora":
        _refuse_of_models(by, choices)
    if path is None and not switch(dry_run, "dry_run"):
        raise RuleError(
            "there is no path: name the file to write, or pass " + option("dry_run", True)
        )
    given = {} if metadata is None else checked(metadata)
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        every = [*sources] if base is None else [base, *sources]
        maps = open_sources(every, like, stack)
        if chosen.name == "ema" and not as_given:
            refuse_other_order(maps)
        seen = Seen()
        plan, merged = _planned(chosen, settings, maps, choices, way_of(by), given, stack, seen)
        error = plan.error()
        if path is None or (dry_run and error is not None):
            return Merged(plan)
        if error is not None:
            raise error
        if not merged:
            raise RuleError("no array is left to write: the sources have none in common")
        # What is merged has this dtype already, and must not be rounded twice.
        has_floats = any(dtypes.is_float(array.spec.dtype) for array in merged.values())
        cast: dict[str, Any] = {"cast": choices.dtype} if choices.dtype and has_floats else {}
        written = convert(
            merged,
            path,
            to=to,
            compress=compress,
            shard_size=shard_size,
            manifest=manifest,
            metadata=metadata,
            dry_run=dry_run,
            progress=None if dry_run else progress,
            output_storage_options=output_storage_options,
            **cast,
        )
        if dry_run:
            return Merged(plan)
    nonfinite = seen.found()
    if nonfinite:
        text = join("\n  ", _nonfinite_text(nonfinite, 20))
        warn(f"{path}: " + text, MergeWarning)
    return Merged(plan, written, nonfinite)


def _planned(
    method: Method,
    settings: Parameters,
    maps: Sequence[ArrayMap],
    choices: Choices,
    by: By | None,
    metadata: Mapping[str, str],
    stack: ExitStack,
    seen: Seen,
) -> tuple[MergePlan, MergedMap]:
    """The plan, and the map that computes what it says."""
    labels = [each.label for each in maps]
    notes: list[str] = []
    if method.name == "lora":
        adapters = [open_adapter(each) for each in maps[1:]]
        drops = choices.on_missing == "drop"
        adding = Adding(maps[0], labels, settings, choices.dtype, drops, seen)
        decided: list[Any] = list(adding.decide(adapters))
        texts = {k: v for k, v in maps[0].metadata.items() if k not in metadata}
    else:
        refuse_adapters(maps, method.name)
        arrays, notes = arrays_of(maps, by, stack)
        deciding = Deciding(method, settings, labels, choices, states_of(maps[0]), seen)
        decided = list(deciding.decide(arrays))
        texts = common_metadata(maps, metadata)
    rows = tuple(row for row, _ in decided)
    settings.refuse_unused()
    plan = MergePlan(
        method.name,
        settings.text(),
        tuple(labels),
        method.needs_base,
        rows,
        settings.to_dict(),
        texts | dict(metadata),
        tuple(notes),
    )
    found = {row.name: value for row, value in decided if value is not None}
    return plan, MergedMap(found, maps, f"merge of {' + '.join(labels)}", texts)


def _method(name: Any) -> Method:
    found = METHODS.get(name) if isinstance(name, str) else None
    if found is None:
        raise RuleError(option("method", name) + f": give one of {', '.join(METHODS)}")
    return found


def _check_count(method: Method, sources: Sequence[Any], base: Any) -> None:
    """Raise RuleError if there are too few or too many sources for a method, or no base."""
    if method.needs_base and base is None:
        what = "the model" if method.name == "lora" else "the model that all sources come from"
        raise RuleError(
            f"the method {method.name!r} needs {what}: pass " + option("base", python="base=")
        )
    if not method.needs_base and base is not None:
        others = ", ".join(each.name for each in METHODS.values() if each.needs_base)
        raise RuleError(
            f"the method {method.name!r} has no base. Give all sources alike, or choose another "
            f"method: {others}"
        )
    least = 1 if method.needs_base else 2
    if len(sources) < least or (method.count is not None and len(sources) != method.count):
        wanted = f"exactly {method.count}" if method.count else f"at least {least}"
        raise RuleError(
            f"the method {method.name!r} takes {wanted} {'source' if least == 1 else 'sources'}, "
            f"and there {'is' if len(sources) == 1 else 'are'} {len(sources)}"
        )


def _refuse_of_models(by: str | None, choices: Choices) -> None:
    """Raise RuleError for options that say how arrays of models are matched with each other."""
    given = [option("by", by)] if by is not None else []
    given += [option("on_conflict", choices.on_conflict)] if choices.on_conflict != "error" else []
    given += [option("on_missing", "keep")] if choices.on_missing == "keep" else []
    for each in given:
        raise RuleError(each + ": this is about arrays of several models, not about adapters")


def _choice(name: str, given: Any) -> str:
    if not isinstance(given, str) or given not in _CHOICES[name]:
        raise RuleError(option(name, given) + f": give {' or '.join(map(repr, _CHOICES[name]))}")
    return given


def _dtype(given: Any) -> str | None:
    if given is None:
        return None
    try:
        name = given if isinstance(given, str) else dtypes.name_of(given)
        name = dtypes.name_of(dtypes.to_numpy(name))
    except (TypeError, ValueError) as error:
        raise RuleError(option("dtype", given) + f": {error}") from error
    if not dtypes.is_float(name):
        raise RuleError(option("dtype", given) + ": give a dtype of floats, such as 'bfloat16'")
    return name


def _nonfinite_text(found: Sequence[NonFinite], limit: int | None) -> list[str]:
    if not found:
        return []
    entries = [
        (printable(each.name), f"{each.nan:,} NaN, {each.inf:,} infinite in {each.source}")
        for each in found
    ]
    count = plural(len({each.name for each in found}), "merged array")
    return [f"{count} of values that are not finite", *names_text(entries, limit)]
