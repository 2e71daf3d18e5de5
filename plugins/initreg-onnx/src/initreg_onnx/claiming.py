"""Whether a source is an ONNX model. There is no magic number, so the outermost fields are walked.

``ModelProto`` has twelve fields of known types, which fill the file exactly. Two of them, the
version and the graph, are in every model.
"""

from __future__ import annotations

from initreg import Claim, Confidence, Source
from initreg.format_tools.protobuf import BYTES, VARINT, Fault, head, varint

_IR_VERSION, _GRAPH = 1, 7
_MODEL_FIELDS = {1: VARINT, 5: VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), BYTES)
_GRAPH_FIELDS = (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)  # all of them are bytes
_HIGHEST_VERSION = 1000  # of the format. It was 13 in 2026
_MOST = 1000  # fields. A model has ten or so, and one for each function and each note
_HEAD = 24  # bytes, more than the longest tag and length


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if not source.is_file:
        return None
    is_named = source.suffix == ".onnx"
    try:
        version, is_whole = _walk(source)
    except Fault:
        return Claim(Confidence.NAME, "is named .onnx") if is_named else None
    if is_whole:
        return Claim(Confidence.EXACT, f"has the fields of an ONNX model, version {version}")
    if is_named:
        return Claim(Confidence.CONTENT, "begins like an ONNX model, and its fields do not fit")
    return None


def _walk(source: Source) -> tuple[int, bool]:
    """The version of the model, and whether its fields fill the file. Raises Fault if the first
    field is not a version, which all writers put there."""
    data = source.head
    number, kind, version, _ = head(data, 0)
    if (number, kind) != (_IR_VERSION, VARINT) or not 0 < version < _HIGHEST_VERSION:
        raise Fault("does not begin with a version")
    at, has_graph = 0, False
    try:
        for _ in range(_MOST):
            if at == source.size:
                return version, has_graph
            here = data[at : at + _HEAD] if at + _HEAD <= len(data) else source.read(at, _HEAD)
            number, kind, value, offset = head(here, 0)
            if _MODEL_FIELDS.get(number) != kind:
                return version, False
            if number == _GRAPH and value:
                inner = here[offset:] or source.read(at + offset, _HEAD)
                tag, _ = varint(inner, 0)
                if tag & 7 != BYTES or tag >> 3 not in _GRAPH_FIELDS:
                    return version, False
                has_graph = True
            at += varint(here, offset)[1] if kind == VARINT else offset + value
            if at > source.size:
                return version, False
    except Fault:
        pass
    return version, False
