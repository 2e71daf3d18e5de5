"""What the arrays of a model become when adapters are merged into it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from initreg import dtypes
from initreg.arrays.lazy_array import LazyArray
from initreg.errors import RuleError
from initreg.merging.adapters import CONFIG, Adapter, Config, Module, bases_of
from initreg.merging.inputs import Input, Seen, size_of
from initreg.merging.lora_arrays import Update, Updated
from initreg.merging.parameters import Parameters
from initreg.merging.plan import FAULT, KEPT, LEFT_OUT, MERGED, REPLACED, MergePart, MergeRow
from initreg.option_spelling import either, option
from initreg.text.wording import printable, shape_text

Value = LazyArray | Updated


@dataclass(frozen=True, slots=True)
class OpenAdapter:
    """An adapter whose arrays can be read.

    Args:
        label: what messages call it.
        arrays: its arrays, by name.
        names: what they are.
        config: what its configuration says. None if it has none.
    """

    label: str
    arrays: Mapping[str, LazyArray]
    names: Adapter
    config: Config | None


class Adding:
    """Finds the array of the model for each module of the adapters.

    Args:
        base: the arrays of the model, by name.
        labels: what messages call the model and the adapters.
        parameters: those of the merge.
        dtype: the dtype of the floats of the result, None for their own.
        drops_missing: whether updates for arrays that the model lacks are left out.
        seen: notes the values that are not finite.
    """

    def __init__(
        self,
        base: Mapping[str, LazyArray],
        labels: Sequence[str],
        parameters: Parameters,
        dtype: str | None,
        drops_missing: bool,
        seen: Seen,
    ) -> None:
        self._base = base
        self._labels = labels
        self._parameters = parameters
        self._dtype = dtype
        self._drops_missing = drops_missing
        self._seen = seen
        self._faults: list[MergeRow] = []
        self._updates: dict[str, list[tuple[int, Update, str]]] = {}
        self._replaced: dict[str, tuple[int, LazyArray]] = {}

    def decide(self, adapters: Sequence[OpenAdapter]) -> Iterator[tuple[MergeRow, Value | None]]:
        """The rows, each with the array of the result. None if there is no such array."""
        for number, adapter in enumerate(adapters, 1):
            self._add(number, adapter)
        for name, array in self._base.items():
            yield self._row(name, array)
        for row in self._faults:
            yield row, None

    def _add(self, number: int, adapter: OpenAdapter) -> None:
        turned = self._turned(adapter)
        for module in adapter.names.modules:
            if "up" in module.arrays:
                self._add_module(number, adapter, module, turned)
            elif "bias" in module.arrays:
                self._fault(module.name, "there is a bias of LoRA and no factors")
        for name, own in adapter.names.replaced.items():
            array = adapter.arrays[own]
            there = self._base.get(name)
            if there is None:
                self._missing(name, f"{printable(adapter.label)} replaces it")
            elif there.shape != array.shape:
                self._fault(name, _shapes(there, array, adapter.label))
            elif name in self._replaced:
                self._fault(name, "several adapters replace it")
            else:
                self._replaced[name] = (number, array)

    def _fault(self, name: str, note: str, remedy: str = "") -> None:
        self._faults.append(MergeRow(FAULT, name, (), "", (), note, remedy))

    def _missing(self, name: str, what: str) -> None:
        """Note what an adapter has for a part of the model that the model lacks."""
        note = f"{what}, and the model lacks it"
        if self._drops_missing:
            self._faults.append(MergeRow(LEFT_OUT, name, (), "", (), note))
            return
        remedy = (
            "If names begin differently, add or strip a prefix with rules for one source. If that "
            "part of the model is in another file, leave its updates out: pass "
        ) + option("on_missing", "drop")
        self._fault(name, note, remedy)

    def _turned(self, adapter: OpenAdapter) -> bool | None:
        """Whether square kernels have their inputs first. None if that cannot be said, because the
        shapes of other kernels contradict the configuration."""
        given: bool | None = self._parameters.fan_in_fan_out
        if given is not None:
            return given
        says = adapter.config is not None and adapter.config.fan_in_fan_out
        ways = set()
        for module in adapter.names.modules:
            found = bases_of(module, self._base) if "up" in module.arrays else []
            if len(found) == 1 and not module.is_embedding:
                ways |= _ways(self._base[found[0]], module, adapter) or {says}
        return None if (not says) in ways else says

    def _add_module(
        self, number: int, adapter: OpenAdapter, module: Module, turned: bool | None
    ) -> None:
        found = bases_of(module, self._base)
        if len(found) != 1:
            if not found:
                self._missing(module.name, f"{printable(adapter.label)} has an update for it")
                return
            note = f"fits several arrays of the model: {', '.join(map(printable, found))}"
            remedy = "Rename the arrays of the adapter with rules, so that one of them fits"
            self._fault(module.name, note, remedy)
            return
        [name] = found
        base = self._base[name]
        up, down = (adapter.arrays[module.arrays[each]] for each in ("up", "down"))
        for what in ("up", "down", "magnitude", "bias"):
            own = module.arrays.get(what)
            if own is not None and not _can_be_added(adapter.arrays[own]):
                dtype = adapter.arrays[own].spec.dtype
                self._fault(name, f"{printable(own)} is {dtype}, not floats that can be read")
                return
        rank = down.shape[0] if down.ndim else 0
        scale = self._scale(adapter, module, rank)
        if isinstance(scale, str):
            self._fault(name, scale)
            return
        fits = _ways(base, module, adapter)
        if fits is None:
            is_transposed = turned
        elif not fits:
            self._fault(
                name,
                f"{shape_text(base.shape)} in the model, and the factors {shape_text(up.shape)} "
                f"and {shape_text(down.shape)} give another shape",
            )
            return
        else:
            [is_transposed] = fits
        if is_transposed is None:
            remedy = (
                "Shapes of other kernels say that the model has its inputs first, as Keras has, "
                "and the adapter says otherwise. Pass "
                + either("fan_in_fan_out=True", "--fan-in-fan-out yes")
                + " or "
                + either("fan_in_fan_out=False", "--fan-in-fan-out no")
            )
            note = "a square kernel, of which the inputs may be either axis"
            self._fault(name, note, remedy)
            return
        magnitude = module.arrays.get("magnitude")
        update = Update(
            adapter.label,
            up,
            down,
            scale,
            is_transposed,
            None if magnitude is None else adapter.arrays[magnitude],
        )
        outputs = base.shape[1 if is_transposed else 0]
        if update.magnitude is not None and size_of(update.magnitude.shape) != outputs:
            self._fault(
                name, f"the magnitude of DoRA has not {outputs} values, one for each output"
            )
            return
        self._updates.setdefault(name, []).append((number, update, module.arrays["up"]))
        if "bias" in module.arrays:
            self._add_bias(number, adapter, module, name, scale)

    def _add_bias(
        self, number: int, adapter: OpenAdapter, module: Module, weight: str, scale: float
    ) -> None:
        own = module.arrays["bias"]
        bias = adapter.arrays[own]
        at = max(weight.rfind("."), weight.rfind("/"))
        name = f"{weight[: at + 1]}bias"
        there = self._base.get(name)
        if there is None or there.shape != bias.shape:
            what = "the model lacks it" if there is None else _shapes(there, bias, adapter.label)
            self._fault(name, f"{printable(adapter.label)} has an update for it: {what}")
            return
        self._updates.setdefault(name, []).append(
            (number, Update(adapter.label, bias, None, scale), own)
        )

    def _scale(self, adapter: OpenAdapter, module: Module, rank: int) -> float | str:
        """What the product of the factors is multiplied by, or why that is not known."""
        if not rank:
            return "its factors have no rank"
        own = module.arrays.get("alpha")
        if own is not None:
            array = adapter.arrays[own]
            if size_of(array.shape) != 1 or not _is_real(array):
                return f"its alpha is {shape_text(array.shape)} {array.spec.dtype}, not one number"
            alpha = float(array.read().reshape(-1)[0])
            if not math.isfinite(alpha):
                return f"its alpha is {alpha}"
            alpha = alpha if alpha else rank
            return self._other_alpha(alpha, "the adapter") or alpha / rank
        config = adapter.config
        if config is not None:
            wanted = config.rank_of(module.name)
            if wanted != rank:
                return f"its factors have the rank {rank}, and {CONFIG} says {wanted}"
            return self._other_alpha(config.alpha_of(module.name), CONFIG) or config.scale_of(
                module.name
            )
        if self._parameters.alpha is not None:
            return float(self._parameters.alpha) / rank
        if module.is_flat:
            return 1.0  # kohya's scripts take the rank for an alpha that is not saved
        raise RuleError(
            f"{adapter.label}: nothing says by what the updates are multiplied. There is no "
            f"{CONFIG} beside the file, and no alpha in it. Pass "
            + option("alpha", 16, "alpha=")
            + ", which is divided by the rank"
        )

    def _other_alpha(self, said: float, who: str) -> str:
        """What is wrong if an alpha was given, and the adapter says another one."""
        given = self._parameters.alpha
        if given is None or float(given) == said:
            return ""
        return (
            option("alpha", given)
            + f" is given, and {who} says {said:g}. Leave it out, or change what {who} says"
        )

    def _row(self, name: str, array: LazyArray) -> tuple[MergeRow, Value | None]:
        own = array.spec.dtype
        dtype = self._dtype or own if dtypes.is_float(own) else own
        base = MergePart(0, array.name, None, own)
        row = MergeRow(KEPT, name, array.shape, dtype, (base,))
        replaced = self._replaced.get(name)
        updates = self._updates.get(name, ())
        if replaced is not None:
            number, whole = replaced
            if updates:
                return replace(
                    row, kind=FAULT, note="an adapter replaces it, and one adds to it"
                ), None
            part = MergePart(number, whole.name, None, whole.spec.dtype)
            note = f"from {printable(self._labels[number])}"
            own = whole.spec.dtype
            dtype = self._dtype or own if dtypes.is_float(own) else own
            return replace(row, kind=REPLACED, parts=(part,), note=note, dtype=dtype), whole
        if not updates:
            return row, array
        if not dtypes.is_float(own):
            note = f"{own}, not floats, to which no update can be added"
            return replace(row, kind=FAULT, note=note), None
        weights = self._parameters.weight.of(name)
        scaled = [
            replace(update, scale=update.scale * weights[number - 1])
            for number, update, _ in updates
        ]
        is_dora = any(each.magnitude is not None for each in scaled)
        if is_dora and (len(scaled) > 1 or weights[updates[0][0] - 1] != 1):
            note = "DoRA, which cannot be added to other updates, nor have a weight"
            return replace(row, kind=FAULT, note=note), None
        if len({each.is_transposed for each in scaled}) > 1:
            note = "adapters take different axes for the inputs"
            return replace(row, kind=FAULT, note=note), None
        parts = tuple(
            MergePart(number, own_name, weights[number - 1], update.up.spec.dtype)
            for number, update, own_name in updates
        )
        note = " + ".join(_text(each) for each in scaled)
        value = Updated(
            name, Input(array, self._labels[0]), tuple(scaled), array.shape, dtype, self._seen
        )
        return replace(row, kind=MERGED, parts=(base, *parts), note=note), value


def _can_be_added(array: LazyArray) -> bool:
    spec = array.spec
    return dtypes.is_float(spec.dtype) and not spec.unreadable and spec.opaque is None


def _is_real(array: LazyArray) -> bool:
    dtype = array.spec.dtype
    return dtypes.is_number(dtype) and not dtypes.is_complex(dtype)


def _text(update: Update) -> str:
    """An update in words."""
    if update.down is None:
        return f"{update.scale:g} x bias"
    kind = "DoRA" if update.magnitude is not None else "LoRA"
    turned = ", inputs first" if update.is_transposed else ""
    return f"{update.scale:g} x {kind} of rank {update.down.shape[0]}{turned}"


def _shapes(there: LazyArray, array: LazyArray, label: str) -> str:
    return (
        f"{shape_text(there.shape)} in the model, {shape_text(array.shape)} in {printable(label)}"
    )


def _ways(base: LazyArray, module: Module, adapter: OpenAdapter) -> set[bool] | None:
    """Whether the product of the factors fits transposed, or as it is: ``{True}`` or ``{False}``.
    None if it fits both ways, and an empty set if it fits neither."""
    up, down = (adapter.arrays[module.arrays[each]] for each in ("up", "down"))
    if up.ndim < 2 or down.ndim < 2 or base.ndim < 2:
        return set()
    outputs, inputs, rank = up.shape[0], size_of(down.shape[1:]), down.shape[0]
    # peft's factors of a convolution in groups have another shape: their product is not in groups.
    if size_of(up.shape[1:]) != rank:
        return set()
    as_it_is = base.shape[0] == outputs and size_of(base.shape[1:]) == inputs
    as_it_is = as_it_is and (base.ndim == 2 or _is_like(down.shape[1:], base.shape[1:]))
    turned = base.ndim == 2 and base.shape == (inputs, outputs)
    if module.is_embedding:
        return {True} if turned else set()
    if as_it_is and turned:
        return None
    return {False} if as_it_is else {True} if turned else set()


def _is_like(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two shapes differ only by axes of length 1 at their ends."""
    length = max(len(one), len(other))
    padded = [(*each, *(1,) * (length - len(each))) for each in (one, other)]
    return padded[0] == padded[1]
