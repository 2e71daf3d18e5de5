"""Whether a source is a metagraph, from its name and its first bytes.

Source: TensorFlow's core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from initreg import Claim, Confidence, Source

SUFFIX = ".meta"
# Fields of a MetaGraphDef. Each is a message.
INFO, GRAPH, COLLECTION = 1, 2, 4
FIELDS = range(1, 8)
# Of the fields 1 to 8 of its MetaInfoDef, the one that is a number. The others are bytes.
_INFO_NUMBER = 7


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if not source.is_file or source.suffix != SUFFIX or not begins_like_one(source):
        return None
    # Not EXACT: beside a checkpoint of its name, the file belongs to that checkpoint.
    return Claim(Confidence.CONTENT, "begins like a serialised MetaGraphDef")


def begins_like_one(source: Source) -> bool:
    """Whether the file's first bytes are fields of a MetaGraphDef.

    The first field is nearly always the MetaInfoDef, with the ops or the version of TensorFlow. Its
    own fields are checked too, because two bytes alone prove little.
    """
    from initreg_formats.shared.protobuf import BYTES, VARINT, Malformed, varint

    head = source.head
    try:
        tag, at = varint(head, 0, len(head))
        size, at = varint(head, at, len(head))
    except (Malformed, IndexError):
        return False
    if tag & 7 != BYTES or tag >> 3 not in (INFO, GRAPH) or size == 0:
        return False
    end = at + size
    expected = {1: BYTES}
    if tag >> 3 == INFO:
        expected = {**dict.fromkeys(range(1, 9), BYTES), _INFO_NUMBER: VARINT}
    seen = 0
    while at < min(end, len(head)):
        try:
            inner, after = varint(head, at, len(head))
            if expected.get(inner >> 3) != inner & 7:
                return False
            value, after = varint(head, after, len(head))
        except (Malformed, IndexError):
            return seen > 0
        at = after + value if inner & 7 == BYTES else after
        seen += 1
        if at > end:
            return False
        if tag >> 3 == GRAPH:
            break  # a node; there may be thousands
    if at < len(head) and at == end:
        return head[at] & 7 == BYTES and head[at] >> 3 in FIELDS
    return seen > 0
