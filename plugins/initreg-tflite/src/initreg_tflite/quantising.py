"""What lies beside a quantised tensor: its scale, its zero point, and the numbers that it was.

Source: tensorflow.org/lite/performance/quantization_spec. A number is ``scale * (value - zero
point)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from initreg.format_tools.values import Computed, OpaqueDtype, Unreadable

from initreg_tflite.model import Quantisation

Array = np.ndarray[Any, Any]

_OTHER = {1: "in a way of its operator's own", 2: "in blocks, whose scales are another tensor"}


def beside(
    name: str,
    shape: tuple[int, ...],
    bits: int,
    quantisation: Quantisation,
    read: Callable[[], Array] | None,
    what: str,
) -> Iterator[tuple[str, Any]]:
    """The arrays beside a quantised tensor, with their names.

    Args:
        name: the name of the tensor.
        shape: its shape.
        bits: how many bits its integers have.
        quantisation: how it was quantised.
        read: reads its integers. None if that cannot be done.
        what: what messages call the tensor.

    Yields:
        ``NAME/scale``, which has as many axes as the tensor, or none, so that initreg's rule
        ``scale`` multiplies by it. It is float64 for integers of 32 bits, which float32 does not
        hold. If a zero point is not 0, the rule would give wrong numbers. Then the scale cannot be
        read, and there are ``NAME/zero_point`` and ``NAME/dequantized``, too.
    """
    if quantisation.kind:
        how = _OTHER.get(quantisation.kind, f"in a way with the number {quantisation.kind}")
        yield (
            f"{name}/scale",
            Unreadable(
                (), OpaqueDtype("scale"), f"{what} is quantised {how}. Its integers are read alone"
            ),
        )
        return
    scale = _along(quantisation.scales, quantisation.axis, shape)
    zero = _along(quantisation.zero_points, quantisation.axis, shape)
    if not zero.any() and bits < 64:
        yield f"{name}/scale", scale if bits < 32 else scale.astype(np.float64)
        return
    shown = np.unique(zero)
    text = f"the zero point {shown[0]}" + (f" to {shown[-1]}" if shown.size > 1 else "")
    if not zero.any():
        text = f"integers of {bits} bits, which no float holds"
    yield (
        f"{name}/scale",
        Unreadable(
            scale.shape,
            OpaqueDtype("scale"),
            f"{what} has {text}, so that multiplying by its scale alone would give wrong numbers. "
            f"The right ones are the array {name + '/dequantized'!r}. Drop this one",
        ),
    )
    yield f"{name}/zero_point", zero
    if read is not None:
        integers = read

        def numbers() -> Array:
            # In float64 no step rounds, so that the result is rounded once.
            values = (integers().astype(np.float64) - zero) * scale.astype(np.float64)
            with np.errstate(over="ignore"):
                return np.asarray(values, np.float32)

        yield f"{name}/dequantized", Computed(shape, "float32", numbers)


def _along(values: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """One value as an array without axes, and several along an axis."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape([-1 if each == axis else 1 for each in range(len(shape))])
