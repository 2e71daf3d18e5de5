"""The variables of a TF1 session as a source.

No op is added to the graph, which may be finalized: what is fetched are the tensors by which the
graph itself reads its variables. Several variables are fetched in one run, in as many bytes as the
kernel asks for.

Before its first run a session optimises its graph, which takes 0.1 s for one variable of 500 and
0.4 s for one of 2,000. :func:`_run_plainly` avoids it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from initreg import PartSpec, TargetError, VariableSpec, dtypes
from initreg.format_tools.living import LivingArray, LivingArrays
from initreg.option_spelling import option
from initreg_targets import variables as eager
from initreg_targets.distributed import copies, share_of
from initreg_targets.frameworks import is_a

_MOST_FETCHED = 500  # tensors of one run
_SHOWN = 20  # names in a message
# The most bytes that one run fetches of another process. A message of more than 2 GB ends this one.
_MOST_SENT = (1 << 31) - (64 << 20)


def identity(session: Any, name: str) -> Hashable:
    """What only this variable has. Sessions of one server have the same variables."""
    return "session", getattr(session, "sess_str", "") or id(session), name


def living(session: Any, label: str) -> LivingArrays:
    """The global variables of a session as arrays.

    A partitioned variable is one array, and so are the copies that a strategy makes of a variable.

    Raises:
        TargetError: the session is closed, or two variables have one name.
    """
    if getattr(session, "_closed", False):
        raise TargetError(f"{label}: it is closed. Open a new one")
    found: dict[str, list[_Piece]] = {}
    specs: dict[str, VariableSpec] = {}
    checks: dict[str, str] = {}
    for variable in unique(session.graph.get_collection("variables")):
        spec, part = described(variable)
        pieces = found.setdefault(spec.name, [])
        if pieces and (part is None or pieces[0].part is None):
            raise TargetError(f"{label}: two variables are called {spec.name!r}")
        specs.setdefault(spec.name, spec)
        check: Any = getattr(variable, "_is_initialized_op", None)
        if is_a(check, "tensorflow", "Tensor"):
            checks[spec.name] = check.name
        tensors = [_tensor(session.graph, each) for each in copies(variable)]
        is_sum = share_of(variable) > 1
        pieces.append(_Piece(part, tensors if is_sum else tensors[:1]))
    for name, pieces in found.items():
        alone = lone(specs[name], [piece.part for piece in pieces])
        if alone is not None:
            specs[name], pieces[0].part = alone, None
    fetcher = _Fetcher(session, label, checks)
    arrays = []
    for name, spec in specs.items():
        value = _Value(spec, found[name], fetcher)
        arrays.append((name, value.array(session)))
    return LivingArrays(label, arrays, _training(session.graph, specs))


def unique(variables: Iterable[Any]) -> list[Any]:
    """Each variable once. A collection may hold one twice, as two objects after an import."""
    found: dict[Any, Any] = {}
    for variable in variables:
        found.setdefault(variable.name, variable)
    return list(found.values())


def described(variable: Any) -> tuple[VariableSpec, PartSpec | None]:
    """The spec of a variable, and its box if it is one part of a partitioned variable."""
    name = variable.name.removesuffix(":0")
    dtype = eager.dtype_of(variable.dtype)
    info = getattr(variable, "_save_slice_info", None)
    if info is None:
        return VariableSpec(name, eager.shape_of(variable.shape), dtype), None
    # As in tf.compat.v1.train.Saver, the parts are one variable under their common name.
    shape = tuple(int(axis) for axis in info.full_shape)
    box = tuple(map(int, info.var_offset)), tuple(map(int, info.var_shape))
    return VariableSpec(info.full_name, shape, dtype), PartSpec(*box, str(variable.device or ""))


def lone(spec: VariableSpec, parts: Sequence[PartSpec | None]) -> VariableSpec | None:
    """The spec of the only part of a variable, if it is not all of it. Then it is a variable of its
    own, as in a checkpoint: the slots of a partitioned variable may have a name each."""
    part = parts[0] if len(parts) == 1 else None
    return None if part is None or part.shape == spec.shape else replace(spec, shape=part.shape)


def _tensor(graph: Any, variable: Any) -> str:
    """The name of the tensor by which the graph reads a variable."""
    return str(graph.as_graph_element(variable, allow_operation=False).name)


def _training(graph: Any, specs: Iterable[str]) -> list[str] | None:
    """The names of the variables that are neither trained nor statistics of the model, if the graph
    says which are."""
    models = {
        described(each)[0].name
        for key in ("trainable_variables", "model_variables", "moving_average_variables")
        for each in graph.get_collection(key)
        if is_a(each, "tensorflow", "Variable")
    }
    return [name for name in specs if name not in models] if models else None


class _Piece:
    """A box of a variable, or all of it, and the tensors whose sum it is."""

    __slots__ = ("part", "tensors")

    def __init__(self, part: PartSpec | None, tensors: Sequence[str]) -> None:
        self.part, self.tensors = part, tensors


class _Value:
    """One variable: what is fetched of it, and how its value is put together."""

    def __init__(self, spec: VariableSpec, pieces: Sequence[_Piece], fetcher: _Fetcher) -> None:
        self.spec, self.pieces, self.fetcher = spec, pieces, fetcher
        self.tensors = [tensor for piece in pieces for tensor in piece.tensors]

    def array(self, session: Any) -> LivingArray:
        shape = self.spec.shape
        known = shape is not None and None not in shape
        sizes = tuple(n for n in shape or () if n is not None) if known else self.read().shape
        own = identity(session, self.spec.name)
        return LivingArray(self.spec, sizes, self._box, own, self.fetcher, self)

    def read(self) -> Any:
        return self.fetcher.values([self])[0]

    def _box(self, box: tuple[slice, ...] | None) -> Any:
        found = self.read()
        return found if box is None else found[box].copy()

    def put_together(self, fetched: Sequence[Any]) -> Any:
        """The value, from what was fetched for its tensors."""
        import numpy as np

        values = list(fetched)
        boxes = []
        for piece in self.pieces:
            count = len(piece.tensors)
            box, values = values[:count], values[count:]
            boxes.append(_plain(box[0] if count == 1 else sum(box), self.spec.dtype))
        if self.pieces[0].part is None:
            return boxes[0]
        whole = np.empty([n or 0 for n in self.spec.shape or ()], boxes[0].dtype)
        for piece, values_ in zip(self.pieces, boxes, strict=True):
            assert piece.part is not None
            at, shape, _ = piece.part
            whole[tuple(slice(a, a + n) for a, n in zip(at, shape, strict=True))] = values_
        return whole


def _plain(value: Any, dtype: str) -> Any:
    """A fetched value as an array of the plain dtype."""
    import numpy as np

    if dtype == dtypes.STRING:
        found = np.empty(np.shape(value), object)
        found[...] = value
        return found
    found = np.asarray(value)
    plain = dtypes.QUANTISED.get(dtype)
    return found if plain is None else found.view(dtypes.to_numpy(plain))


class _Fetcher:
    """Fetches the values of variables, several in one run.

    Args:
        session: the session.
        label: what messages call it.
        checks: the tensors that say whether a variable has a value, by its name. The graph has none
            for reference variables.
    """

    def __init__(self, session: Any, label: str, checks: dict[str, str]) -> None:
        self._session, self._label, self._checks = session, label, checks
        self.is_remote = bool(getattr(session, "sess_str", ""))

    def read(self, values: Sequence[LivingArray]) -> list[Any]:
        """See ``initreg.format_tools.living.Together``."""
        return self.values([each.of for each in values])

    def values(self, wanted: Sequence[_Value]) -> list[Any]:
        """The values of variables.

        Raises:
            TargetError: the session is closed, or a variable has no value. The message names all
                such variables among these.
        """
        for value in wanted if self.is_remote else ():
            nbytes = math.prod(n or 0 for n in value.spec.shape or ())
            nbytes *= dtypes.itemsize(value.spec.dtype) or 0
            if nbytes > _MOST_SENT:
                raise TargetError(
                    f"{self._label}: variable {value.spec.name} has {nbytes:,} bytes, and a "
                    "session of another process sends at most 2 GB in one message. Save a "
                    "checkpoint with tf.compat.v1.train.Saver there, and open that"
                )
        names = [tensor for value in wanted for tensor in value.tensors]
        fetched: list[Any] = []
        for start in range(0, len(names), _MOST_FETCHED):
            fetched += self._fetch(names[start : start + _MOST_FETCHED], wanted)
        found = []
        for value in wanted:
            count = len(value.tensors)
            few, fetched = fetched[:count], fetched[count:]
            found.append(value.put_together(few))
        return found

    def _fetch(self, names: Sequence[str], wanted: Sequence[_Value]) -> list[Any]:
        import tensorflow as tf

        try:
            return fetch(self._session, names)
        except tf.errors.FailedPreconditionError as error:
            raise self._without_value(wanted, error) from error
        except (RuntimeError, TypeError, ValueError, tf.errors.OpError) as error:
            text = " ".join(str(error).split())[:500]
            raise TargetError(
                f"{self._label}: reading {len(names)} variables failed: {text}"
            ) from error

    def _without_value(self, wanted: Sequence[_Value], error: Exception) -> Exception:
        """The error that says which variables have no value: all of the session, as far as the
        graph can say it without a new op, and those among the wanted ones."""
        import tensorflow as tf

        empty = []
        if self._checks:
            known = fetch(self._session, list(self._checks.values()))
            empty = [name for name, has in zip(self._checks, known, strict=True) if not has]
        for value in wanted:
            if value.spec.name not in self._checks:
                try:
                    fetch(self._session, value.tensors)
                except tf.errors.FailedPreconditionError:
                    empty.append(value.spec.name)
        if not empty:  # they have one by now
            return TargetError(
                f"{self._label}: reading variables failed: {' '.join(str(error).split())[:500]}"
            )
        names = ", ".join(empty[:_SHOWN])
        more = f" and {len(empty) - _SHOWN:,} more" if len(empty) > _SHOWN else ""
        which = "variable" if len(empty) == 1 else f"{len(empty):,} variables"
        given = empty[0] if len(empty) == 1 else empty[:_SHOWN]
        return TargetError(
            f"{self._label}: {which} {names}{more} without a value. Run the initializer in the "
            "session first, or leave out what has no value: " + option("drop", given)
        )


def fetch(session: Any, names: Sequence[str]) -> list[Any]:
    """The values of tensors, without optimising the graph if that can be avoided.

    The optimiser refuses a graph that lacks one of the ops to run, and the session then only prunes
    it. By that time every fetched tensor has an op that returns it. So the name of such an op is
    added to the ops to run: the optimiser does not know it. If TensorFlow ever names it
    differently, there is no such op, and the tensors are fetched the usual way.

    Source: ``RetvalFetchRewrite::AddNode`` in graph/subgraph.cc; see
    :func:`initreg_targets.session_writing._run_plainly`.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    node, _, output = names[0].rpartition(":")
    options = config_pb2.CallableOptions(fetch=names, target=[f"_retval_{node}_{output}_0"])
    try:
        call = session._make_callable_from_options(options)
    except (AttributeError, RuntimeError, tf.errors.OpError):
        return list(session.run(list(names)))
    return list(call())
