"""compare_outputs: whether two models compute the same, and which layer differs first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from initreg.errors import InitregError, TargetError
from initreg.text.wording import plural, printable, shape_text


@dataclass(frozen=True, slots=True)
class ComparedOutput:
    """One output of two models.

    Args:
        name: the name of the layer, ``""`` for the output of the whole model.
        shape: its shape in the first model.
        other_shape: its shape in the second one.
        largest: the largest absolute difference of two values. None if the shapes differ.
        mean: the mean of these differences, None if the shapes differ.
        scale: the largest finite absolute value in the second model.
        ok: whether all values are as near as was asked.
    """

    name: str
    shape: tuple[int, ...]
    other_shape: tuple[int, ...]
    largest: float | None
    mean: float | None
    scale: float
    ok: bool


@dataclass(frozen=True, slots=True)
class ComparedOutputs:
    """The result of :func:`initreg.compare_outputs`.

    Args:
        outputs: each output that both models have, in the order of the first one.
        only_in_one: the names of outputs that one of them lacks. They were not compared.
    """

    outputs: tuple[ComparedOutput, ...]
    only_in_one: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all of them are the same, as nearly as was asked."""
        return all(each.ok for each in self.outputs)

    @property
    def first_difference(self) -> ComparedOutput | None:
        """The first output that differs, None if none does."""
        return next((each for each in self.outputs if not each.ok), None)

    def to_text(self) -> str:
        """The verdict, and a line for each output."""
        different = self.first_difference
        count = plural(len(self.outputs), "output")
        if different is None:
            verdict = f"{count} compared: the same"
        else:
            verdict = f"{count} compared: the first that differs is {_called(different.name)}"
        return "\n".join([verdict, *map(_line, self.outputs)])

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "ok": self.ok,
            "outputs": [
                {
                    "name": each.name,
                    "shape": list(each.shape),
                    "other_shape": list(each.other_shape),
                    "largest": each.largest,
                    "mean": each.mean,
                    "scale": each.scale,
                    "ok": each.ok,
                }
                for each in self.outputs
            ],
            "only_in_one": list(self.only_in_one),
        }

    def __str__(self) -> str:
        return self.to_text()


def _called(name: str) -> str:
    return f"{printable(name)!r}" if name else "the output of the model"


def _line(each: ComparedOutput) -> str:
    mark = "same" if each.ok else "DIFFERENT"
    if each.largest is None:
        shapes = f"shape {shape_text(each.shape)} and {shape_text(each.other_shape)}"
        return f"  {mark}  {_called(each.name)}: {shapes}"
    return (
        f"  {mark}  {_called(each.name)} {shape_text(each.shape)}: largest difference "
        f"{each.largest:.3g} of {each.scale:.3g}, mean {each.mean:.3g}"
    )


Outputs = Any  # an array, or a mapping of names to arrays


def compare_outputs(
    ours: Callable[..., Outputs] | Mapping[str, Any],
    theirs: Callable[..., Outputs] | Mapping[str, Any],
    *inputs: Any,
    rtol: float = 1e-3,
    atol: float = 1e-4,
) -> ComparedOutputs:
    """Run two models on the same input, and compare what they compute.

    Args:
        ours: a function of the inputs that returns an array, or arrays by name in the order in
            which they are computed: the output of each layer, for instance. Or such a mapping
            itself.
        theirs: the same of the other model, whose outputs are taken to be right.
        inputs: what both get.
        rtol: how much each value may differ, as a part of the largest value of its output.
        atol: how much it may differ in addition.

    Returns:
        A :class:`ComparedOutputs`. Axes of outputs are compared as they are: move them in the
        functions where the frameworks differ.

    Raises:
        InitregError: the two have no output in common.

    >>> initreg.compare_outputs(model, lambda x: torch_model(x).numpy(), x).ok  # doctest: +SKIP
    True
    """
    mine, others = _named(_outputs(ours, inputs)), _named(_outputs(theirs, inputs))
    both = [name for name in mine if name in others]
    if not both:
        raise InitregError(
            f"the two models have no output in common. One has {_names(mine)}, the other one "
            f"{_names(others)}"
        )
    alone = tuple(name for name in (*mine, *others) if (name in mine) is not (name in others))
    found = tuple(_compared(name, mine[name], others[name], rtol, atol) for name in both)
    return ComparedOutputs(found, alone)


def _names(found: Mapping[str, Any]) -> str:
    return ", ".join(printable(repr(name)) for name in list(found)[:10]) or "none"


def _outputs(source: Any, inputs: tuple[Any, ...]) -> Any:
    return source if isinstance(source, Mapping) or not callable(source) else source(*inputs)


def _named(found: Any) -> dict[str, Any]:
    return dict(found) if isinstance(found, Mapping) else {"": found}


def _compared(name: str, one: Any, other: Any, rtol: float, atol: float) -> ComparedOutput:
    import numpy as np

    ours, theirs = _array(np, one, name), _array(np, other, name)
    # Infinity and NaN are only like themselves, and say nothing about how near others must be.
    scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0))
    if ours.shape != theirs.shape:
        return ComparedOutput(name, ours.shape, theirs.shape, None, None, scale, False)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    differences = np.zeros(ours.shape)
    np.subtract(ours, theirs, out=differences, where=~same)
    differences = np.abs(differences)
    largest = float(differences.max(initial=0.0))  # NaN where only one of them is
    mean = float(differences.mean()) if differences.size else 0.0
    ok = largest <= atol + rtol * scale
    return ComparedOutput(name, ours.shape, theirs.shape, largest, mean, scale, ok)


def _array(np: Any, value: Any, name: str) -> Any:
    try:
        return np.asarray(value).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TargetError(
            f"{_called(name)} is a {type(value).__name__}, which is no array of numbers: {error}"
        ) from error
