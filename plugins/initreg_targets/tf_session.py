"""A TF1 session: the global variables of its graph. A graph without a session can be planned for.

A variable is written by running its own initializer, with the initial value fed. So no op is added
to the graph, which may be finalized. Source: ``tf.compat.v1.Variable.load`` works the same way.

Before its first run a session optimises its graph, with all ops that compute the initial values,
though these values are fed. That takes 10 of the 12 s of a first run that writes 4,000 variables.
:func:`_run_plainly` avoids it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg import Target, TargetError, VariableSpec, hookimpl
from initreg_targets.frameworks import is_a
from initreg_targets.sessions import session_in
from initreg_targets.variables import dtype_of, shape_of

# Bytes that one run writes at most. Each run has a cost that grows with the graph, and holds all
# arrays that it feeds in memory.
_MOST_BYTES = 1 << 28
# Variables that a run with an optimised graph writes at most. Its cost grows faster than their
# number.
_MOST_OPTIMISED = 500


initreg_takes = ("a TF1 session",)


@hookimpl
def initreg_target(obj: object) -> Target | None:
    session = session_in(obj)
    if session is not None:
        return Session(session)
    return Graph(obj) if is_a(obj, "tensorflow", "Graph") else None


@dataclass(frozen=True, slots=True)
class _Part:
    """A variable, or one part of a partitioned variable.

    ``write`` is the op that writes it, and ``feed`` the tensor that the op reads. ``box`` says
    which region of the array goes there; None means all of it.
    """

    write: Any
    feed: Any
    box: tuple[slice, ...] | None


class Session:
    """The global variables of the session's graph. A partitioned variable counts as one."""

    label = "TF1 session"

    def __init__(self, session: Any) -> None:
        self._session = session
        self._parts: dict[str, list[_Part]] = {}

    def variables(self) -> Sequence[VariableSpec]:
        if getattr(self._session, "_closed", False):
            raise TargetError("TF1 session: it is closed. Open a new one")
        return self._of_graph(self._session.graph)

    def _of_graph(self, graph: Any) -> Sequence[VariableSpec]:
        specs: list[VariableSpec] = []
        unwritable: list[str] = []
        self._parts = {}
        for variable in _unique(graph.get_collection("variables")):
            writer = _writer(variable, graph)
            if writer is None:
                unwritable.append(variable.name)
                continue
            spec, part = _described(variable, *writer)
            if part.box is None or spec.name not in self._parts:
                specs.append(spec)
                self._parts.setdefault(spec.name, [])
            self._parts[spec.name].append(part)
        if unwritable:
            raise TargetError(
                f"{self.label}: {len(unwritable)} variables cannot be written without adding ops "
                f"to the graph, because their initial values cannot be fed: "
                f"{', '.join(unwritable[:20])}. Remove them from the collection of global "
                "variables to restore the others"
            )
        return specs

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        batch = _Batch(self._session)
        for variable, array in arrays:
            parts = self._parts[variable.name]
            if batch.is_full or any(batch.feeds(part) for part in parts):
                yield from batch.run()
            yield from batch.add(variable.name, parts, array)
            del array  # only the batch holds it now
        yield from batch.run()


class Graph(Session):
    """The global variables of a graph, which only a session can write."""

    label = "TF1 graph"

    def variables(self) -> Sequence[VariableSpec]:
        return self._of_graph(self._session)

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        raise TargetError(
            "TF1 graph: its variables have values only in a session. Give init() the session"
        )


class _Batch:
    """The variables that one run writes."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._writes: list[str] = []  # the names of ops
        self._ends: dict[int, str] = {}  # the variable that is complete with the nth of these
        self._feeds: dict[str, Any] = {}  # by the tensor's name, which is unique in a graph
        self._nbytes = 0

    @property
    def is_full(self) -> bool:
        return self._nbytes >= _MOST_BYTES

    def feeds(self, part: _Part) -> bool:
        """Whether the part's tensor is fed already. Variables may share an initial value."""
        return part.feed.name in self._feeds

    def add(self, name: str, parts: Sequence[_Part], array: Any) -> Iterator[str]:
        """Take a variable in, and yield the names of those that had to be written before it."""
        for part in parts:
            if self.feeds(part):  # parts of one variable may share an initial value, too
                yield from self.run()
            # Each part gets a copy, so that no part keeps the memory of the others.
            value = array if part.box is None else array[part.box].copy()
            if part.feed.dtype.is_quantized:  # numpy has plain integers
                value = value.view(part.feed.dtype.as_numpy_dtype)
            self._writes.append(part.write.name)
            self._feeds[part.feed.name] = value
            self._nbytes += value.nbytes
        self._ends[len(self._writes) - 1] = name

    def run(self) -> Iterator[str]:
        """Write all that was added, release the arrays, and yield the names.

        If that takes several runs, the names of one are yielded before the next, which may fail.
        """
        writes, feeds, ends = self._writes, self._feeds, self._ends
        self._writes, self._feeds, self._ends, self._nbytes = [], {}, {}, 0
        if not writes:
            return
        with _as_target_error(len(writes)):
            is_done = _run_plainly(self._session, writes, feeds)
        if is_done:
            feeds.clear()
        graph = self._session.graph
        step = len(writes) if is_done else _MOST_OPTIMISED
        for start in range(0, len(writes), step):
            few = writes[start : start + step]
            if not is_done:
                fed = {name: feeds.pop(name) for name in [*feeds][: len(few)]}
                with _as_target_error(len(few)):
                    self._session.run([graph.get_operation_by_name(name) for name in few], fed)
                del fed
            for number in range(start, start + len(few)):
                if number in ends:
                    yield ends[number]


@contextlib.contextmanager
def _as_target_error(count: int) -> Iterator[None]:
    """Raise what a session raises as a TargetError."""
    import tensorflow as tf

    try:
        yield
    except (RuntimeError, TypeError, ValueError, tf.errors.OpError) as error:
        text = " ".join(str(error).split())
        raise TargetError(f"TF1 session: writing {count} variables failed: {text[:500]}") from error


def _run_plainly(session: Any, writes: Sequence[str], feeds: Mapping[str, Any]) -> bool:
    """Run the ops without the graph optimiser. Returns False, with nothing run, if it cannot.

    The optimiser refuses a graph that lacks one of the ops to run. The session then only prunes the
    graph. By that time every fed tensor has an op that feeds it. So the name of such an op is added
    to the ops to run: the optimiser does not know it, and running it does nothing. If TensorFlow
    ever names it differently, there is no such op, and the caller runs the usual way. Unlike
    ``session.run``, this keeps nothing for later runs.

    Source: ``GraphExecutionState::OptimizeGraph`` and ``BuildGraph`` in graph_execution_state.cc;
    ``ArgFeedRewrite::AddNode`` in graph/subgraph.cc.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    node, _, output = next(iter(feeds)).rpartition(":")
    options = config_pb2.CallableOptions(
        feed=list(feeds), target=[*writes, f"_arg_{node}_{output}_0"]
    )
    try:
        call = session._make_callable_from_options(options)
    except (AttributeError, RuntimeError, tf.errors.OpError):
        return False
    # session.run converts strings in the same way.
    call(*(array.astype(object) if array.dtype.kind in "SU" else array for array in feeds.values()))
    return True


def _unique(variables: Iterable[Any]) -> list[Any]:
    """Each variable once. A collection may hold one twice, as two objects after an import."""
    found: dict[Any, Any] = {}
    for variable in variables:
        found.setdefault(variable.name, variable)
    return list(found.values())


def _writer(variable: Any, graph: Any) -> tuple[Any, Any] | None:
    """The op that assigns to the variable, and the tensor that it reads, which can be fed. None if
    the graph has no such op."""
    ops = []
    with contextlib.suppress(AttributeError, ValueError):
        ops.append(variable.initializer)
    # Besides its initializer, a Saver or an earlier assignment may have left a suitable op.
    for holder in ("handle", "_variable"):  # of a resource variable, of a reference variable
        tensor: Any = getattr(variable, holder, None)
        ops += tensor.consumers() if hasattr(tensor, "consumers") else []
    for op in ops:
        if getattr(op, "type", None) not in ("Assign", "AssignVariableOp"):
            continue
        if len(op.inputs) > 1 and graph.is_feedable(op.inputs[1]):
            return op, op.inputs[1]
    return None


def _described(variable: Any, write: Any, feed: Any) -> tuple[VariableSpec, _Part]:
    name = variable.name.removesuffix(":0")
    dtype = dtype_of(variable.dtype)
    info = getattr(variable, "_save_slice_info", None)
    if info is not None:
        # As in tf.compat.v1.train.Saver, the parts are one variable under their common name.
        box = tuple(
            slice(start, start + length)
            for start, length in zip(info.var_offset, info.var_shape, strict=True)
        )
        shape = tuple(int(axis) for axis in info.full_shape)
        return VariableSpec(info.full_name, shape, dtype), _Part(write, feed, box)
    # A variable of unknown shape takes only shapes that its initial value's tensor can be fed.
    shape_ = variable.shape
    shape_ = shape_.merge_with(feed.shape) if shape_.is_compatible_with(feed.shape) else feed.shape
    return VariableSpec(name, shape_of(shape_), dtype), _Part(write, feed, None)
