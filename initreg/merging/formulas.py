"""The formulas of merging, on numpy arrays of one shape and of one dtype of floats.

None of them changes the arrays that it is given. Sources:

- average and weighted average: Wortsman et al., "Model soups" (2022), arXiv:2203.05482.
- exponential moving average: Polyak and Juditsky (1992), in the form of ``torch.optim.swa_utils``.
- task arithmetic: Ilharco et al., "Editing Models with Task Arithmetic" (2022), arXiv:2212.04089.
- spherical interpolation: Shoemake, "Animating Rotation with Quaternion Curves" (1985).
- TIES: Yadav et al., "TIES-Merging" (2023), arXiv:2306.01708.
- DARE: Yu et al., "Language Models are Super Mario" (2023), arXiv:2311.03099.

Where a paper leaves something open, it is done as in mergekit 0.1.5, so that results agree: a sign
election that ends in 0 elects plus, at least one value of an array is kept, and arrays that are
almost parallel are interpolated on the line.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PARALLEL = 0.9995  # a cosine beyond which two arrays are interpolated on the line
_TINY = 1e-8  # what a sum of weights is not divided by, if it is nearer to 0


def weighted_sum(arrays: Sequence[Array], weights: Sequence[float], *, normalize: bool) -> Array:
    """The sum of arrays times their weights, divided by the sum of the weights if they are to be
    normalised.

    >>> weighted_sum([np.float32([1.0]), np.float32([4.0])], [2, 1], normalize=True)
    array([2.], dtype=float32)
    """
    kind = arrays[0].dtype.type
    total: Array = arrays[0] * kind(weights[0])
    for array, weight in zip(arrays[1:], weights[1:], strict=True):
        total += array if weight == 1 else array * kind(weight)
    if normalize:
        total /= kind(sum(weights))
    return total


def is_finite(values: Array) -> bool:
    """Whether all values are finite, and most often the product of them all that tells it.

    >>> is_finite(np.float32([1, 3e38])), is_finite(np.float32([1, np.inf]))
    (True, False)
    """
    import numpy as np

    flat = values.reshape(-1)
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.vdot(flat, flat)) or np.isfinite(flat).all())


def mean_weights(method: str, settings: Any, count: int) -> list[float] | None:
    """What arrays are multiplied by in a method that is a mean of them. None for others.

    Args:
        method: the name of the method.
        settings: its ``weights``, ``normalize`` and ``decay``.
        count: how many arrays there are.
    """
    if method == "average" and settings.normalize:
        total = sum(settings.weights)
        return [weight / total for weight in settings.weights]
    if method == "ema":
        decay = settings.decay
        later = [(1 - decay) * decay ** (count - 1 - i) for i in range(1, count)]
        return [decay ** (count - 1), *later]
    return None


def change(base: Array, array: Array) -> Array:
    """What an array has in addition to the base. Where both have the same infinity, nothing.

    >>> change(np.float32([1, -np.inf]), np.float32([3, -np.inf]))
    array([2., 0.], dtype=float32)
    """
    import numpy as np

    found: Array = array - base
    if not is_finite(found):
        found = np.where(array == base, found.dtype.type(0), found)
    return found


def moving_average(arrays: Sequence[Array], decay: float) -> Array:
    """The exponential moving average of arrays in their order, from the first one on.

    >>> moving_average([np.float32([0.0]), np.float32([1.0]), np.float32([1.0])], 0.5)
    array([0.75], dtype=float32)
    """
    share = arrays[0].dtype.type(1 - decay)
    found = arrays[0].copy()
    for array in arrays[1:]:
        found += share * (array - found)
    return found


def between(a: Array, b: Array, t: float) -> Array:
    """The point between two arrays: the first one for ``t=0``, the second one for ``t=1``.

    >>> between(np.float32([0.0]), np.float32([4.0]), 0.25)
    array([1.], dtype=float32)
    """
    kind = a.dtype.type
    found: Array = a * kind(1 - t)
    found += b * kind(t)
    return found


def spherical_weights(
    cosine: float, t: float, length_a: float, length_b: float
) -> tuple[float, float]:
    """What two arrays are multiplied by to get the point between them on the sphere.

    Args:
        cosine: the cosine of the angle between both, as vectors.
        t: 0 for the first one, 1 for the second one.
        length_a: the length of the first one. One of length 0 has no direction.
        length_b: the length of the second one.

    >>> spherical_weights(1.0, 0.25, 1.0, 1.0)
    (0.75, 0.25)
    """
    if abs(cosine) > PARALLEL or not math.isfinite(cosine):
        return 1 - t, t
    angle = math.acos(cosine if length_a > 0 and length_b > 0 else 0.0)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def task_sum(base: Array, deltas: Sequence[Array], weights: Sequence[float], **how: Any) -> Array:
    """The base and the weighted sum of the changes: task arithmetic, and DARE without signs.

    Args:
        base: the base.
        deltas: the changes: each source without the base, after trimming or dropping.
        weights: their weights.
        how: ``normalize``: divide by the sum of the weights. ``factor``: multiply the sum by it.
    """
    kind = base.dtype.type
    mixed = weighted_sum(deltas, weights, normalize=False)
    if how.get("normalize"):
        total = sum(weights)
        mixed /= kind(total if abs(total) >= _TINY else 1)
    return _onto(base, mixed, how.get("factor", 1.0))


def disjoint_sum(
    base: Array, deltas: Sequence[Array], weights: Sequence[float], **how: Any
) -> Array:
    """The base and the changes whose sign is that of the majority: TIES, and DARE with signs.

    The sign of each element is that of the weighted sum of its changes. Changes of the other sign,
    and those that are 0, take no part. The arguments are those of :func:`task_sum`; with
    ``normalize``, the sum is divided by the weights of those that take part.
    """
    import numpy as np

    kind = base.dtype.type
    scaled = [
        delta if weight == 1 else delta * kind(weight)
        for delta, weight in zip(deltas, weights, strict=True)
    ]
    elected = weighted_sum(scaled, [1] * len(scaled), normalize=False) >= 0
    mixed = np.zeros_like(base)
    divisor = np.zeros_like(base)
    for delta, weight in zip(scaled, weights, strict=True):
        agrees = (delta > 0) == elected  # a change of 0 adds nothing in any case
        mixed += delta * agrees  # NaN stays NaN
        if how.get("normalize"):
            agrees &= delta != 0
            divisor += agrees if weight == 1 else agrees * kind(weight)
    if how.get("normalize"):
        divisor[divisor == 0] = 1
        mixed /= divisor
    return _onto(base, mixed, how.get("factor", 1.0))


def _onto(base: Array, mixed: Array, factor: float) -> Array:
    if factor != 1:
        mixed *= base.dtype.type(factor)
    mixed += base
    return mixed


def count_kept(size: int, density: float) -> int:
    """How many values of an array are kept by trimming: at least one.

    >>> count_kept(10, 0.25), count_kept(10, 0.01)
    (2, 1)
    """
    return size if density >= 1 else max(1, int(density * size)) if size else 0


def kept_at_random(
    seed: int, source: int, name: str, start: int, count: int, density: float
) -> Array:
    """Which elements of an array DARE keeps, each with the probability ``density``.

    It depends on nothing but the arguments: neither on the pieces that an array is read in, nor on
    the version of numpy, which guarantees the bits of its Philox generator.

    Args:
        seed: the seed of the merge.
        source: the number of the source, so that each drops others.
        name: the name of the array.
        start: the index of the first element, in C order.
        count: how many elements.
        density: the part that is kept, on average.

    >>> kept_at_random(0, 0, "w", 0, 6, 0.5)[2:].tolist() == (
    ...     kept_at_random(0, 0, "w", 2, 4, 0.5).tolist()
    ... )
    True
    """
    import numpy as np

    text = f"{seed}/{source}/{name}".encode(errors="surrogatepass")
    digest = hashlib.blake2b(text, digest_size=16).digest()
    # A step of the counter gives eight numbers of 32 bits.
    steps, skipped = divmod(start, 8)
    bits = np.random.Philox(key=np.frombuffer(digest, "<u8"), counter=[steps, 0, 0, 0])
    raw = bits.random_raw((skipped + count + 1) // 2).astype("<u8", copy=False).view("<u4")
    kept: Array = raw[skipped : skipped + count] < np.uint64(round(density * 2**32))
    return kept
