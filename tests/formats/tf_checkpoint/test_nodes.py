"""initreg_formats.tf_checkpoint.nodes: object graphs, beside TensorFlow's own parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from initreg_formats.shared.protobuf import Malformed
from initreg_formats.tf_checkpoint.nodes import Nodes

pytestmark = pytest.mark.framework
# Lengths about those that take another byte, and node numbers about those that do.
TEXTS = st.integers(0, 130).map(lambda n: "v" * n) | st.sampled_from(["", "VARIABLE_VALUE", "é/é"])
NUMBERS = st.integers(0, 5) | st.sampled_from([127, 128, 16383, 16384, 2**21, 2**28, 2**31 - 1])


def a_graph() -> Any:
    """A ``TrackableObjectGraph`` of TensorFlow."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    return TrackableObjectGraph()


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """Graphs of few nodes, with every field that TensorFlow or initreg knows, or without."""
    graph = a_graph()
    for _ in range(draw(st.integers(0, 4))):
        node = graph.nodes.add()
        for _ in range(draw(st.integers(0, 3))):
            node.children.add(node_id=draw(NUMBERS), local_name=draw(TEXTS))
        if draw(st.booleans()):
            name = draw(st.sampled_from(["VARIABLE_VALUE", "VARIABLE_VALUE", "OBJECT_CONFIG", ""]))
            node.attributes.add(name=name, full_name=draw(TEXTS), checkpoint_key=draw(TEXTS))
        for _ in range(draw(st.integers(0, 2))):
            node.slot_variables.add(
                original_variable_node_id=draw(NUMBERS),
                slot_name=draw(TEXTS),
                slot_variable_node_id=draw(NUMBERS),
            )
        if draw(st.booleans()):
            node.has_checkpoint_values.value = draw(st.booleans())
        if draw(st.booleans()):
            node.registered_saver.name = draw(TEXTS)
    return graph


def agree(data: bytes) -> None:
    """Assert that both parsers find the same nodes in a serialised graph."""
    graph, nodes = a_graph(), Nodes(data)
    graph.MergeFromString(data)
    assert len(nodes) == len(graph.nodes)
    for number, node in enumerate(graph.nodes):
        children = [(each.local_name.encode(), each.node_id) for each in node.children]
        assert list(nodes.children(number)) == children
        slots = [
            (s.original_variable_node_id, s.slot_name.encode(), s.slot_variable_node_id)
            for s in node.slot_variables
        ]
        assert list(nodes.slots(number)) == slots
        values = [a for a in node.attributes if a.name == "VARIABLE_VALUE"]
        assert nodes.is_variable(number) == bool(values)
        for each in values:
            found = each.full_name.encode(), each.checkpoint_key.encode()
            assert nodes.variable(number) == found


@given(graphs())
def test_nodes_are_those_of_tensorflow(graph: Any) -> None:
    """Children, slots and variables are read as TensorFlow's parser reads them."""
    agree(graph.SerializeToString())


@pytest.mark.parametrize(
    "attribute",
    [
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x01k",
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x01k\x1a\x01l",  # the last one counts
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x01k\x12\x02mn",
        b"\n\x0eVARIABLE_VALUE\x1a\x01k\x12\x01n",
        b"\x12\x01n\x1a\x01k\n\x0eVARIABLE_VALUE",
        b"\n\x0eVARIABLE_VALUE\x12\x01n",
        b"\n\x0eVARIABLE_VALUE\x12\x81\x00n\x1a\x01k",  # a length with a byte too many
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x81\x00k",
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x01k\x28\x07",  # a field that is not known
        b"\n\x0eVARIABLE_VALUE\x12\x00\x1a\x00",
        b"\n\x0eVARIABLE_VALUE\x12\x01n\x1a\x01k\n\x03xyz",  # its name is another one in the end
    ],
)
@pytest.mark.parametrize("rest", [b"", b"*\x02\x08\x01", b"*\x02\x08\x00", b"*\x00", b"\n\x00"])
def test_any_spelling_of_a_variable_is_read(attribute: bytes, rest: bytes) -> None:
    """Fields may come in any order, repeatedly, and with unknown ones beside them."""
    node = b"\x12" + bytes([len(attribute)]) + attribute + rest
    agree(b"\n" + bytes([len(node)]) + node)


@pytest.mark.parametrize("size", range(1, 29))
def test_a_node_that_is_cut_off_is_damage(size: int) -> None:
    """No length within a node leads out of it."""
    attribute = b"\n\x0eVARIABLE_VALUE\x12\x04name\x1a\x03key"
    node = (b"\x12" + bytes([len(attribute)]) + attribute)[:size]
    with pytest.raises(Malformed):
        Nodes(b"\n" + bytes([len(node)]) + node)


@pytest.mark.parametrize("at", [1, 3, 19, 25])
@pytest.mark.parametrize("length", [0, 1, 2, 60, 127, 128])
def test_a_length_that_is_another_one(at: int, length: int) -> None:
    """A wrong length is damage, or is read as TensorFlow reads it."""
    from google.protobuf.message import DecodeError

    attribute = b"\n\x0eVARIABLE_VALUE\x12\x04name\x1a\x03key"
    node = bytearray(b"\x12" + bytes([len(attribute)]) + attribute + b"*\x02\x08\x01")
    node[at] = length
    data = b"\n" + bytes([len(node)]) + node
    try:
        a_graph().MergeFromString(data)
    except DecodeError:
        with pytest.raises(Malformed):
            Nodes(data)
    else:
        agree(data)
