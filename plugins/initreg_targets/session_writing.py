"""Writing the global variables of a TF1 session. A graph without a session can be planned for.

A variable is written by running its own initializer, with the initial value fed. So no op is added
to the graph, which may be finalized. Source: ``tf.compat.v1.Variable.load`` works the same way.

Before its first run a session optimises its graph, with all ops that compute the initial values,
though these values are fed. That takes 10 of the 12 s of a first run that writes 4,000 variables.
:func:`_run_plainly` avoids it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from initreg import PartSpec, PieceSpec, TargetError, VariableSpec, dtypes
from initreg_targets import session_reading, tf_slices
from initreg_targets.distributed import copies, share_of
from initreg_targets.variables import shape_of

if TYPE_CHECKING:
    from initreg.format_tools.living import LivingArrays

# Bytes that one run writes at most. Each run has a cost that grows with the graph, and holds all
# arrays that it feeds in memory.
_MOST_BYTES = 1 << 28
# Bytes that one run feeds at most to a session of another process. A message of more than 2 GB ends
# this process.
_MOST_SENT = (1 << 31) - (64 << 20)
# Variables that a run with an optimised graph writes at most. Its cost grows faster than their
# number.
_MOST_OPTIMISED = 500


@dataclass(frozen=True, slots=True)
class _Copy:
    """A variable that holds a box of an array, on one device.

    ``write`` is the op that writes it, and ``feed`` the tensor that the op reads. The value is
    divided by ``share``, if reading the variable gives the sum of so many copies.
    """

    variable: Any
    write: Any
    feed: Any
    share: int


@dataclass(slots=True)
class _Variable:
    """A variable of the target: for each box of its array, the copies of it."""

    spec: VariableSpec
    parts: list[PartSpec | None] = field(default_factory=list)
    copies: list[list[_Copy]] = field(default_factory=list)

    def described(self, most_sent: int) -> VariableSpec:
        parts = tuple(part for part in self.parts if part is not None)
        nbytes = math.prod(axis or 0 for axis in self.spec.shape or ())
        nbytes *= dtypes.itemsize(self.spec.dtype) or 0
        largest = (
            nbytes
            if not parts
            else max(
                math.prod(part.shape) * (dtypes.itemsize(self.spec.dtype) or 0) for part in parts
            )
        )
        most_bytes = _MOST_BYTES if most_sent and largest > most_sent else 0
        return replace(self.spec, parts=parts, most_bytes=most_bytes)


class Session:
    """The global variables of the session's graph. A partitioned variable counts as one, and so do
    the copies that a ``tf.distribute`` strategy makes of one."""

    label = "TF1 session"

    def __init__(self, session: Any) -> None:
        self._session = session
        self._found: dict[str, _Variable] = {}

    def variables(self) -> Sequence[VariableSpec]:
        if getattr(self._session, "_closed", False):
            raise TargetError("TF1 session: it is closed. Open a new one")
        return self._of_graph(self._session.graph)

    def _of_graph(self, graph: Any) -> Sequence[VariableSpec]:
        unwritable: list[str] = []
        self._found = {}
        entries: list[_Variable] = []
        for variable in session_reading.unique(graph.get_collection("variables")):
            found = []
            for each in copies(variable):
                writer = _writer(each, graph)
                if writer is None:
                    unwritable.append(each.name)
                else:
                    found.append(_Copy(each, *writer, share_of(variable)))
            if not found:
                continue
            spec, part = _described(variable, found[0].feed)
            entry = self._found.get(spec.name)
            if entry is None or part is None or None in entry.parts:
                # Two variables of one name are listed, and the kernel refuses them.
                entry = self._found[spec.name] = _Variable(spec)
                entries.append(entry)
            entry.parts.append(part)
            entry.copies.append(found)
        if unwritable:
            raise TargetError(
                f"{self.label}: {len(unwritable)} variables cannot be written without adding ops "
                f"to the graph, because their initial values cannot be fed: "
                f"{', '.join(unwritable[:20])}. Remove them from the collection of global "
                "variables to restore the others"
            )
        for entry in entries:
            alone = session_reading.lone(entry.spec, entry.parts)
            if alone is not None:
                entry.spec, entry.parts = alone, [None]
        most_sent = _MOST_SENT if getattr(self._session, "sess_str", "") else 0
        return [entry.described(most_sent) for entry in entries]

    def living(self) -> LivingArrays:
        """The same variables as a source, and those that cannot be written."""
        return session_reading.living(self._session, self.label)

    def identities(self) -> set[Hashable]:
        """See ``initreg.Target``."""
        return {session_reading.identity(self._session, name) for name in self._found}

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        most_sent = _MOST_SENT if getattr(self._session, "sess_str", "") else 0
        batch = _Batch(self._session, most_sent)
        with contextlib.ExitStack() as stack:
            sliced: tf_slices.Slices | None = None
            for variable, array in arrays:
                entry = self._found[variable.name]
                for part, index, values, is_last in _pieces(variable, array, entry, most_sent):
                    name = variable.name if is_last else None
                    if index is None:
                        yield from batch.add(name, entry.copies[part], values)
                    else:
                        yield from batch.run()
                        if sliced is None:
                            sliced = stack.enter_context(tf_slices.Slices(self._session))
                        for each in entry.copies[part]:
                            with _as_target_error(1):
                                sliced.write(
                                    each.variable, each.write, index, _shared(values, each)
                                )
                        if name is not None:
                            yield name
                    del values
                del array  # only the batch holds it now
            yield from batch.run()


def _pieces(
    variable: VariableSpec, array: Any, entry: _Variable, most_sent: int
) -> Iterator[tuple[int, tuple[slice, ...] | None, Any, bool]]:
    """What is written of an array: which part, the region of the part or None for all of it, the
    values, and whether they are the last.

    A target that wraps this one may give entire arrays.
    """
    if isinstance(variable, PieceSpec):
        part = entry.parts[variable.part]
        shape = variable.of if part is None else part.shape
        index = None if array.shape == tuple(shape) else variable.index_in_part
        yield variable.part, index, array, variable.is_last
        return
    for number, part in enumerate(entry.parts):
        is_end = number + 1 == len(entry.parts)
        values = array
        if part is not None:
            # A copy, so that no part keeps the memory of the others.
            box = zip(part.at, part.shape, strict=True)
            values = array[tuple(slice(a, a + n) for a, n in box)].copy()
        if not most_sent or values.nbytes <= most_sent:
            yield number, None, values, is_end
            continue
        rows = max(_MOST_BYTES // (values.nbytes // len(values)), 1)
        for start in range(0, len(values), rows):
            few = values[start : start + rows]
            rest = tuple(slice(0, length) for length in values.shape[1:])
            region = (slice(start, start + len(few)), *rest)
            yield number, region, few, is_end and start + rows >= len(values)


def _shared(array: Any, copy: _Copy) -> Any:
    """What one copy gets of a value, as ``tf.train.Checkpoint.read`` and a Saver divide it."""
    if copy.share > 1:
        array = (array / copy.share).astype(array.dtype)
    if copy.feed.dtype.is_quantized:  # numpy has plain integers
        array = array.view(copy.feed.dtype.as_numpy_dtype)
    return array


class Graph(Session):
    """The global variables of a graph, which only a session can write."""

    label = "TF1 graph"

    def variables(self) -> Sequence[VariableSpec]:
        return self._of_graph(self._session)

    def living(self) -> LivingArrays:
        raise TargetError(
            "TF1 graph: its variables have values only in a session. Give the session"
        )

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        raise TargetError(
            "TF1 graph: its variables have values only in a session. Give init() the session"
        )


class _Batch:
    """The variables that one run writes.

    Args:
        session: what runs.
        most_sent: the most bytes that it may feed, 0 for any number.
    """

    def __init__(self, session: Any, most_sent: int) -> None:
        self._session = session
        self._most_sent = most_sent
        self._writes: list[str] = []  # the names of ops
        self._ends: dict[int, str] = {}  # the variable that is complete with the nth of these
        self._feeds: dict[str, Any] = {}  # by the tensor's name, which is unique in a graph
        self._nbytes = 0

    def add(self, name: str | None, copies: Sequence[_Copy], array: Any) -> Iterator[str]:
        """Take a box in, and yield the names of the variables that had to be written before it.

        Args:
            name: the variable, if it is complete with this box.
            copies: the copies of the box.
            array: its values.
        """
        is_full = self._nbytes >= _MOST_BYTES
        if self._most_sent and self._nbytes + array.nbytes * len(copies) > self._most_sent:
            is_full = True
        # Variables may share an initial value, which is fed only once in a run.
        if is_full or any(copy.feed.name in self._feeds for copy in copies):
            yield from self.run()
        for copy in copies:
            if self._most_sent and self._nbytes + array.nbytes > self._most_sent and self._writes:
                yield from self.run()
            self._writes.append(copy.write.name)
            if copy.feed.name not in self._feeds:  # copies have the same value
                self._feeds[copy.feed.name] = _shared(array, copy)
                self._nbytes += array.nbytes
        if name is not None:
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


def _described(variable: Any, feed: Any) -> tuple[VariableSpec, PartSpec | None]:
    """The spec of a variable, and its box if it is one part of a partitioned variable."""
    spec, part = session_reading.described(variable)
    if part is not None:
        return spec, part
    # A variable of unknown shape takes only shapes that its initial value's tensor can be fed.
    shape = variable.shape
    shape = shape.merge_with(feed.shape) if shape.is_compatible_with(feed.shape) else feed.shape
    return replace(spec, shape=shape_of(shape)), None
