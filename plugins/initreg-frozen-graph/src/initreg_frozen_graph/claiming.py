"""Whether a source is a ``GraphDef``. There is no magic number, so its first nodes are looked at.

A ``GraphDef`` begins with a node, and a node begins with its name and its op, each a text of few
characters. A ``SavedModel`` and an ONNX model begin with a number, a ``MetaGraphDef`` with a
message of other fields.
"""

from __future__ import annotations

import re

from initreg import Claim, Confidence, Source
from initreg.format_tools.protobuf import BYTES, VARINT, Fault, head, varint

SUFFIX = ".pb"
_TEXT = (b"node {", b"node{", b"node:")
_SAVED_MODEL = b"\x08\x01\x12"  # its version, then a MetaGraphDef
NODE = 1
FIELDS = {NODE: BYTES, 2: BYTES, 3: VARINT, 4: BYTES, 5: BYTES}
_HEAD = 24  # bytes, more than the longest tag and length
# Source: IsValidNodeName and IsValidOpName in core/framework/node_def_util.cc and op_def_util.cc.
# Functions are ops, too, and have longer names.
_NODE_NAME = re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP = re.compile(rb"[A-Za-z_][A-Za-z0-9_.\\/>:-]*")


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if not source.is_file or source.path is None:
        return None
    is_named = source.suffix == SUFFIX and source.path.name != "saved_model.pb"
    try:
        op, is_whole = _walk(source)
    except Fault:
        if is_text(source) and source.suffix in (SUFFIX, ".pbtxt"):
            return Claim(Confidence.NAME, "is a graph in text form")
        return Claim(Confidence.NAME, f"is named {SUFFIX}") if is_named else None
    if is_whole:
        return Claim(Confidence.EXACT, f"begins with a node of a TensorFlow graph, {op}")
    if is_named:
        return Claim(
            Confidence.CONTENT, "begins like a TensorFlow graph, and its fields do not fit"
        )
    return None


def is_text(source: Source) -> bool:
    """Whether a source is a graph in the text form of protocol buffers."""
    return source.head.lstrip().startswith(_TEXT)


def is_saved_model(source: Source) -> bool:
    """Whether a source begins like a ``SavedModel``."""
    return source.head.startswith(_SAVED_MODEL)


def _walk(source: Source) -> tuple[str, bool]:
    """The op of the first node, and whether all fields that begin in the first bytes fit.

    Raises:
        Fault: the first field is not a node.
    """
    data, at, op = source.head, 0, ""
    while at < min(len(data), source.size):
        try:
            # The last field that begins in these bytes may go beyond them.
            here = data[at:] if at + _HEAD <= len(data) else source.read(at, _HEAD)
            number, kind, value, offset = head(here, 0)
            end = at + (varint(here, offset)[1] if kind == VARINT else offset + value)
        except Fault:
            if not op:
                raise
            return op, False
        if not op:
            if number != NODE or kind != BYTES:
                raise Fault("does not begin with a node")
            op = _op(here[offset : offset + value])
        if FIELDS.get(number) != kind or end > source.size:
            return op, False
        at = end
    if not op:
        raise Fault("is empty")
    return op, True


def _op(node: bytes) -> str:
    """The op of a node, which comes after its name. Raises Fault."""
    texts, at = [], 0
    for tag, pattern in ((0x0A, _NODE_NAME), (0x12, _OP)):
        if node[at : at + 1] != bytes([tag]):
            raise Fault("does not begin with a node that has a name and an op")
        size, at = varint(node, at + 1)
        text = node[at : at + size]
        if len(text) < size or pattern.fullmatch(text) is None:
            raise Fault("does not begin with a node that has a name and an op")
        texts.append(text)
        at += size
    return texts[1].decode()
