"""The metadata of sources: text by key, beside the arrays, such as the licence of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from initreg.errors import InitregError, MetadataWarning, PluginError, warn
from initreg.option_spelling import option

_SHOWN = 60  # characters of a value in a message
_MOST = 10  # keys in a message


def metadata_of(arrays: Any, label: str, format: str) -> Mapping[str, str]:
    """The metadata of a mapping that a format returned, read-only.

    Args:
        arrays: the mapping. Its ``.metadata``, if it has any, is a mapping of str to str, or a
            tuple of such mappings, one for each file of the source.
        label: what to call the source in a message.
        format: the name of the format.

    Raises:
        PluginError: it is anything else.
    """
    given = getattr(arrays, "metadata", None)
    parts = given if isinstance(given, tuple) else () if given is None else (given,)
    for part in parts:
        if not isinstance(part, Mapping) or not all(
            isinstance(text, str) for item in part.items() for text in item
        ):
            raise PluginError(
                f"{label}: format {format!r} gave it metadata that is not a mapping of str to str"
            )
    return MappingProxyType(joined((label, part) for part in parts))


def joined(given: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """The metadata of several sources, or of several files of one source. The last one wins.

    One MetadataWarning says which values were replaced by it.

    Args:
        given: what to call each source in a message, and its metadata.
    """
    found: dict[str, str] = {}
    lost: dict[str, str] = {}  # for each key that was overridden, the first value
    labels: dict[str, None] = {}
    for label, metadata in given:
        labels[label] = None
        for key, value in metadata.items():
            if found.get(key, value) != value:
                lost.setdefault(key, found[key])
            found[key] = value
    if lost:
        shown = [f"{k!r} is {_cut(found[k])}, not {_cut(lost[k])}" for k in [*lost][:_MOST]]
        shown += [f"and {len(lost) - _MOST:,} more"] if len(lost) > _MOST else []
        key = next(iter(lost))
        is_short = len(key) + len(lost[key]) <= _SHOWN
        warn(
            f"{' + '.join(labels)}: they have different metadata, and the last one wins: "
            f"{'; '.join(shown)}. To choose another value, pass "
            + (option("metadata", {key: lost[key]}) if is_short else option("metadata")),
            MetadataWarning,
        )
    return found


def checked(given: Any) -> dict[str, str]:
    """The value of ``metadata=``. Raises InitregError unless it is a mapping of texts."""
    if not isinstance(given, Mapping):
        raise InitregError(
            option("metadata", given) + ": give a dict of texts, such as {'license': 'mit'}"
        )
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InitregError(
                option("metadata", {key: value}) + ": a key and its value must be texts. Give "
                "json.dumps(value) for a value of another type"
            )
        try:
            (key + value).encode()
        except UnicodeEncodeError as error:
            raise InitregError(
                option("metadata", {key: value}) + f" is not valid Unicode: {error}"
            ) from error
    return dict(given)


def _cut(value: str) -> str:
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
