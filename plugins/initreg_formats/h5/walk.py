"""Every dataset and group that a file links to, without ever leaving the file.

A link is hard, soft (a path inside the file), external (a path in another file) or user-defined.
Only hard and soft links are followed. Soft ones are followed last, when all links of the file are
known, so that they cannot lead through an external link. A link that is not followed, or that leads
nowhere, does not keep the rest of the file from being read: it is noted with the reason.

No object is visited twice. So links that lead back to a group around them need no limit.

Source of the rules: HDF5 File Format Specification 3.0, "Link Message".
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from initreg import DamagedFile, InitregError, RefusedFile
from initreg_formats.h5.container import Container, structures
from initreg_formats.h5.hdf5 import groups, headers
from initreg_formats.h5.hdf5.content import Unknown
from initreg_formats.h5.hdf5.datatypes import datatype
from initreg_formats.h5.hdf5.groups import HARD, SOFT, Link
from initreg_formats.h5.hdf5.headers import Header

_LINK = 8  # bytes; a link takes at least as many
_DEEPEST = 200  # groups within groups; paths, and so memory, grow with it
_HERE = (b"", b".")
_MOST_SOFT = 16  # soft links that one path may lead through, as in HDF5
_NOTED = 500  # bytes that a link takes in the list of arrays, about, beside its reason


def as_text(name: bytes) -> str:
    """A name of HDF5 as text. Bytes that are not UTF-8 are written as escapes."""
    return name.decode("utf-8", "backslashreplace")


class Dataset:
    """A dataset, by the first path that leads to it.

    Attributes:
        path: that path.
        raw_path: the same as it is in the file.
        header: its header.
        links: the other paths.
    """

    __slots__ = ("header", "links", "path", "raw_path")

    def __init__(self, path: str, raw_path: bytes, header: Header) -> None:
        self.path = path
        self.raw_path = raw_path
        self.header = header
        self.links: list[str] = []


class Lost(NamedTuple):
    """A link that leads to nothing that is read: why, and the class of the error that says so."""

    message: str
    kind: type[InitregError]


class Contents:
    """The ``datasets`` and ``groups`` of a file, by path without a leading ``/``. The path of the
    root group is ``""``. ``lost`` are the links that lead to neither."""

    def __init__(self, datasets: dict[str, Dataset] | None = None) -> None:
        self.datasets: dict[str, Dataset] = datasets or {}
        self.groups: dict[str, Header] = {}
        self.lost: dict[str, Lost] = {}


class Walk:
    """One pass over the links of a file. Groups are visited in the order of their names."""

    def __init__(self, container: Container) -> None:
        self.contents = Contents()
        self._container = container
        self._content = container.content
        self._label = label = container.label
        self._links = 0
        self._by_address: dict[int, Dataset] = {}
        self._groups: set[int] = set()
        self._types: set[int] = set()
        self._tables: dict[int, dict[bytes, Link]] = {}
        self._soft: list[tuple[int, Link, str]] = []
        with structures(label):
            root = Header(self._content, container.root)
            if not groups.is_group(root):
                raise DamagedFile(f"{label}: its root is not a group. Download or copy it again")
        self._groups.add(container.root)
        self._group(root, "", b"", 0)
        for owner, link, path in self._soft:
            self._soft_link(owner, link, path)
        if both := self.contents.datasets.keys() & self.contents.lost.keys():
            raise DamagedFile(f"{label}: a dataset and a link are called {min(both)!r}")

    def _group(self, group: Header, path: str, raw_path: bytes, depth: int) -> None:
        if depth > _DEEPEST:
            raise DamagedFile(f"{self._label}: groups nest more than {_DEEPEST} levels deep")
        self.contents.groups[path] = group
        table = self._tables[group.address] = {}
        with structures(f"{self._label}: group {'/' + path!r}"):
            found = []
            for link in groups.links(self._content, group):
                found.append(link)
                self._links += 1
                size = 1 << 40 if self._links > self._container.length // _LINK else 0
                self._container.claim_list(
                    size + len(path) + len(link.name) + len(link.value),
                    "links, or longer names,",
                )
            for link in found:
                if link.name in table:
                    raise DamagedFile(
                        f"{self._label}: two links of group {'/' + path!r} are called "
                        f"{as_text(link.name)!r}. Download or copy the file again"
                    )
                table[link.name] = link
        for name, link in sorted(table.items()):
            below = f"{path}/{as_text(name)}" if path else as_text(name)
            raw_below = raw_path + b"/" + name
            if link.kind == HARD:
                self._hard_link(link, below, raw_below, depth)
            elif link.kind == SOFT:
                self._soft.append((group.address, link, below))
            else:
                self._lost(below, _foreign(link, below), RefusedFile)

    def _hard_link(self, link: Link, path: str, raw_path: bytes, depth: int) -> None:
        address = link.address
        if address in self._by_address:
            self._by_address[address].links.append(path)
            return
        if address in self._groups or address in self._types:
            return
        with structures(f"{self._label}: object {path!r}"):
            header = Header(self._content, address)
        if groups.is_group(header):
            if path in self.contents.groups:
                raise DamagedFile(f"{self._label}: two groups are called {path!r}")
            self._groups.add(address)
            self._group(header, path, raw_path, depth + 1)
        elif header.has(headers.TYPE) and header.has(headers.SPACE):
            if path in self.contents.datasets:
                raise DamagedFile(f"{self._label}: two datasets are called {path!r}")
            found = Dataset(path, raw_path, header)
            self._by_address[address] = self.contents.datasets[path] = found
        elif header.has(headers.TYPE):
            self._types.add(address)
            # It is no array. So it does not matter if numpy or initreg does not have the type.
            with structures(f"{self._label}: type {path!r}"), contextlib.suppress(Unknown):
                datatype(header.body(headers.TYPE))
        else:
            raise DamagedFile(
                f"{self._label}: {path!r} is neither a dataset nor a group. Download or copy the "
                "file again"
            )

    def _soft_link(self, owner: int, link: Link, path: str) -> None:
        found = self._resolved(owner, link)
        if isinstance(found, str):
            what = f"{path!r} is a soft link to {as_text(link.value)!r}"
            self._lost(path, f"{what}, {found}", DamagedFile)
        elif found in self._by_address:
            self._by_address[found].links.append(path)

    def _resolved(self, at: int, link: Link) -> int | str:
        """The address of what a soft link in the group ``at`` leads to, or why there is none."""
        todo: list[bytes] = []
        count = 0
        while True:
            if link.kind == HARD:
                at = link.address
            elif link.kind == SOFT:
                count += 1
                if count > _MOST_SOFT:
                    return f"which leads through more than {_MOST_SOFT} others, or back to itself"
                at = self._container.root if link.value.startswith(b"/") else at
                todo += reversed([part for part in link.value.split(b"/") if part not in _HERE])
            else:
                return "which leads through a link that initreg does not follow"
            if not todo:
                return at
            table, name = self._tables.get(at), todo.pop()
            if table is None or name not in table:
                return "which does not exist"
            link = table[name]

    def _lost(self, path: str, why: str, kind: type[InitregError]) -> None:
        if path in self.contents.lost:
            raise DamagedFile(f"{self._label}: two links are called {path!r}")
        message = f"{self._label}: {why}"
        self._container.claim_list(_NOTED + len(message), "links that lead nowhere")
        self.contents.lost[path] = Lost(message, kind)


def _foreign(link: Link, path: str) -> str:
    if link.kind != groups.EXTERNAL:
        return (
            f"{path!r} is a user-defined link (class {link.kind}), which initreg does not follow. "
            "Copy what it means into the file"
        )
    file, target = groups.external(link.value)
    return (
        f"{path!r} is an external link, to {as_text(target)!r} in the file {as_text(file)!r}. "
        "initreg opens no other file. Give that file by its own path"
    )
