"""The JSON of a model: its manifest of weights, checked field by field.

Source: ``WeightsManifestEntry`` in tfjs-core's ``io/types.ts``.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from initreg import DamagedFile, Source

from initreg_tfjs.claiming import LONGEST

# With their sizes in bytes. Texts have their lengths before them.
DTYPES = {"float32": 4, "int32": 4, "complex64": 8, "bool": 1, "float16": 2}
DTYPES |= {"uint8": 1, "uint16": 2, "string": 0}
# By what is stored: what the weight may have been.
_QUANTISED: dict[str, tuple[str, ...]] = dict.fromkeys(("uint8", "uint16"), ("float32", "int32"))
_QUANTISED["float16"] = ("float32",)
_MOST_AXES = 64  # numpy's own limit


class Quantisation(NamedTuple):
    """How a weight was quantised: ``value * scale + minimum`` is what it was."""

    dtype: str
    scale: float = 1.0
    minimum: float = 0.0


class Weight(NamedTuple):
    """An entry of the manifest.

    Args:
        name: the name of the array.
        shape: its axes.
        dtype: what the array is.
        quantisation: what is stored instead, if it was quantised.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantisation: Quantisation | None

    @property
    def stored(self) -> str:
        """The dtype of what is stored."""
        return self.quantisation.dtype if self.quantisation is not None else self.dtype


class Group(NamedTuple):
    """Weights in a row, and the shards that hold them."""

    paths: tuple[str, ...]
    weights: tuple[Weight, ...]


class Manifest(NamedTuple):
    """All groups, and the topology of the model, if it is in the file."""

    groups: tuple[Group, ...]
    topology: Any
    metadata: dict[str, str]


def read(source: Source) -> Manifest:
    """The manifest of a file. Raises DamagedFile."""
    label = source.label
    if source.size > LONGEST:
        raise DamagedFile(f"{label}: JSON of {source.size:,} bytes; at most {LONGEST:,} are read")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    try:
        found = json.loads(source.read(0, source.size), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{label}: is not JSON that can be read: {error}. Download or copy it again"
        ) from error
    whole = found if isinstance(found, dict) else {}
    groups = whole.get("weightsManifest") if whole else found
    if not isinstance(groups, list):
        raise DamagedFile(
            f"{label}: has no weightsManifest, so it is not a model of TensorFlow.js. If it is "
            "what Keras's to_json() gives, the weights are in another file: pass that one"
        )
    metadata = {
        key: whole[key]
        for key in ("format", "generatedBy", "convertedBy")
        if isinstance(whole.get(key), str)
    }
    made = tuple(_group(each, f"{label}: group {n}") for n, each in enumerate(groups, 1))
    return Manifest(made, whole.get("modelTopology"), metadata)


def _group(found: Any, what: str) -> Group:
    paths = found.get("paths") if isinstance(found, dict) else None
    weights = found.get("weights") if isinstance(found, dict) else None
    if not isinstance(paths, list) or not all(isinstance(each, str) for each in paths):
        raise DamagedFile(f"{what} of its weightsManifest has no list of paths. Download it again")
    if not isinstance(weights, list):
        raise DamagedFile(
            f"{what} of its weightsManifest has no list of weights. Download it again"
        )
    # A browser that saves a model writes "./model.weights.bin".
    paths = [path.removeprefix("./") for path in paths]
    return Group(tuple(paths), tuple(_weight(each, what) for each in weights))


def _weight(found: Any, what: str) -> Weight:
    name = found.get("name") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name:
        raise DamagedFile(f"{what} has a weight without a name. Download it again")
    what = f"{what}, array {name!r}"
    shape, dtype = found.get("shape"), found.get("dtype")
    if (
        not isinstance(shape, list)
        or len(shape) > _MOST_AXES
        or not all(type(axis) is int and axis >= 0 for axis in shape)
    ):
        raise DamagedFile(f"{what} has the shape {str(shape)[:80]}. Download it again")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise DamagedFile(
            f"{what} has the dtype {str(dtype)[:80]}. TensorFlow.js has {', '.join(DTYPES)}"
        )
    quantisation = found.get("quantization")
    if quantisation is not None:
        quantisation = _quantisation(quantisation, dtype, what)
    return Weight(name, tuple(shape), dtype, quantisation)


def _is_number(value: Any) -> bool:
    """Whether it is a number as float64 has them. JSON has others, such as one of 400 digits."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _quantisation(found: Any, dtype: str, what: str) -> Quantisation:
    stored = found.get("dtype") if isinstance(found, dict) else None
    if not isinstance(stored, str) or dtype not in _QUANTISED.get(stored, ()):
        raise DamagedFile(f"{what} is {dtype}, quantised as {str(stored)[:80]}, which is unknown")
    if stored == "float16":
        return Quantisation(stored)
    numbers = [found.get("scale"), found.get("min")]
    if not all(map(_is_number, numbers)):
        raise DamagedFile(
            f"{what} is quantised with the scale {str(numbers[0])[:80]} and the min "
            f"{str(numbers[1])[:80]}, which are not both numbers. Download it again"
        )
    return Quantisation(stored, float(numbers[0]), float(numbers[1]))
