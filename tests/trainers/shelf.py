"""A store for trainings that are killed: its files are in a folder that the tests can look at."""

from __future__ import annotations

import os
import time
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_PIECE = 1 << 10
_PAUSE = 0.0005  # seconds, so that a kill finds an upload half done


class Shelf(LocalFileSystem):  # type: ignore[misc]
    """The URL of a folder is ``shelf://`` and its path. A file that is uploaded grows slowly."""

    protocol = "shelf"

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(os.fspath(path).removeprefix("shelf://"))

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        rpath = self._strip_protocol(rpath)
        os.makedirs(os.path.dirname(rpath), exist_ok=True)
        with open(lpath, "rb") as source, open(rpath, "wb", buffering=0) as copy:
            while piece := source.read(_PIECE):
                copy.write(piece)
                time.sleep(_PAUSE)


def url_of(folder: str, store: str = "") -> str:
    """What a saver is given: the folder itself, or its URL in a store."""
    if store:
        fsspec.register_implementation(store, Shelf, clobber=True)
    return f"{store}://{os.path.abspath(folder)}" if store else folder
