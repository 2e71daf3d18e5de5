"""Writing a variable of a TF1 session in slices, where one message cannot hold its value.

A session of another process gets what is fed as one message, which has at most 2 GB. The graph of
the session may be finalized, so no op that assigns to a slice can be added to it. But the variables
of a server belong to it, and not to a session. So a second session of the same server, with a graph
of its own, writes the slices.

Sources: ``ResourceMgr`` and ``ContainerInfo`` in core/framework/resource_mgr.h;
``isolate_session_state`` and ``share_session_state_in_clusterspec_propagation`` in
core/protobuf/config.proto.
"""

from __future__ import annotations

from typing import Any

from initreg import TargetError


class Slices:
    """A second session of the server that a session uses. It is a context manager.

    Args:
        session: the session.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._graph: Any = None
        self._second: Any = None
        self._ops: dict[tuple[str, int], Any] = {}

    def __enter__(self) -> Slices:
        import tensorflow as tf

        config = getattr(self._session, "_config", None)
        self._graph = tf.Graph()
        self._second = tf.compat.v1.Session(
            self._session.sess_str, graph=self._graph, config=config
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._second.close()

    def write(self, variable: Any, initializer: Any, index: tuple[slice, ...], value: Any) -> None:
        """Write a region of a variable.

        Args:
            variable: of the graph of the session.
            initializer: the op that gives it a first value, if it has none.
            index: the region.
            value: its values.

        Raises:
            TargetError: the second session does not see the variable.
        """
        write, begin, end, fed, is_initialized = self._of(variable, len(index), value.dtype)
        if not self._second.run(is_initialized):
            self._session.run(initializer)
            if not self._second.run(is_initialized):
                raise TargetError(
                    f"TF1 session: variable {variable.name!r} has more bytes than can be fed to "
                    f"{self._session.sess_str} at once, and another session of that server does "
                    "not see it, so that it cannot be written in slices. Do not isolate the state "
                    "of the session, or divide the variable with a partitioner"
                )
        starts = [each.start for each in index]
        ends = [each.stop for each in index]
        self._second.run(write, {begin: starts, end: ends, fed: value})

    def _of(self, variable: Any, rank: int, dtype: Any) -> Any:
        """The ops and tensors that write a slice of a variable, in the second graph."""
        import tensorflow as tf

        found = self._ops.get((variable.name, rank))
        if found is not None:
            return found
        raw = tf.raw_ops
        dtype = variable.dtype.base_dtype
        tensor = getattr(variable, "handle", None)
        op = variable.op if tensor is None else tensor.op
        place = {
            "container": op.get_attr("container").decode(),
            "shared_name": op.get_attr("shared_name").decode() or op.name,
        }
        with self._graph.as_default(), tf.device(op.device):
            begin = tf.compat.v1.placeholder(tf.int32, [rank])
            end = tf.compat.v1.placeholder(tf.int32, [rank])
            fed = tf.compat.v1.placeholder(dtype)
            strides = [1] * rank
            if tensor is not None:
                handle = raw.VarHandleOp(dtype=dtype, shape=variable.shape, **place)
                is_initialized = raw.VarIsInitializedOp(resource=handle)
                write = raw.ResourceStridedSliceAssign(
                    ref=handle, begin=begin, end=end, strides=strides, value=fed
                )
            else:
                ref = raw.VariableV2(shape=variable.shape, dtype=dtype, **place)
                is_initialized = raw.IsVariableInitialized(ref=ref)
                write = raw.StridedSliceAssign(
                    ref=ref, begin=begin, end=end, strides=strides, value=fed
                ).op
        found = write, begin, end, fed, is_initialized
        self._ops[variable.name, rank] = found
        return found
