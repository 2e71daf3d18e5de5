"""What a format checks first when the user has named it: whether the source is a path at all."""

from __future__ import annotations

from initreg import InitregError, Source
from initreg.format_tools.files import FilePath


def path_of(source: Source, format: str) -> FilePath:
    """The path of the source. Raises InitregError if it is another object."""
    if source.path is None:
        raise InitregError(f"{source.label}: the {format} format opens paths. Give a path")
    return source.path


def file_of(source: Source, format: str) -> FilePath:
    """The path of the source, which must be a file. Raises InitregError, SourceNotFound."""
    path = path_of(source, format)
    if source.is_dir:
        raise InitregError(
            f"{source.label}: this is a folder, and the {format} format opens files. Give the file "
            "in it"
        )
    if not source.exists:
        raise source.not_found()
    return path
