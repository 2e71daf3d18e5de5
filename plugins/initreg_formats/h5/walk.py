"""Every dataset and group that a file links to, without ever leaving the file.

A link is hard, soft (a path inside the file), external (a path in another file) or user-defined.
Only hard and soft links are followed. Soft ones are followed last, when all links of the file are
known, so that they cannot lead through an external link.

Source of the rules: HDF5 File Format Specification 3.0, "Link Message".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from initreg import DamagedFile, RefusedFile
from initreg_formats.h5.container import Container, h5_errors
from initreg_formats.h5.headers import address_of
from initreg_formats.h5.nesting import refuse_deep
from initreg_formats.h5.trees import refuse_repeats

if TYPE_CHECKING:
    import h5py

_LINK = 8  # bytes; a link takes at least as many
_PATHS = 64 << 20  # bytes of paths that any file may have
_DEEPEST = 200  # groups within groups; paths, and so memory, grow with it


def as_text(name: bytes) -> str:
    """A name of HDF5 as text. Bytes that are not UTF-8 are written as escapes."""
    return name.decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class Dataset:
    """A dataset, by the first path that leads to it. ``links`` are the other paths."""

    path: str
    parent: h5py.h5g.GroupID
    name: bytes  # in its parent
    links: list[str] = field(default_factory=list)

    def open(self) -> Any:
        """Its ``h5py.h5d.DatasetID``."""
        import h5py

        return h5py.h5d.open(self.parent, self.name)


@dataclass(slots=True)
class Contents:
    """The ``datasets`` and ``groups`` of a file, by path without a leading ``/``. The path of the
    root group is ``""``."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: dict[str, h5py.h5g.GroupID] = field(default_factory=dict)


class Walk:
    """One pass over the links of a file. Groups are visited in the order of their names."""

    def __init__(self, container: Container) -> None:
        import h5py

        self.contents = Contents()
        self._container = container
        self._label = label = container.label
        self._links = 0
        self._path_bytes = 0
        self._by_address: dict[int, Dataset] = {}
        self._group_paths: dict[int, str] = {}
        self._edges: dict[int, list[tuple[int, str]]] = {}
        self._soft: list[tuple[h5py.h5g.GroupID, int, bytes, str]] = []
        with h5_errors(label):
            root = h5py.h5g.open(container.file.id, b"/")
            address = address_of(root)
        self._group_paths[address] = ""
        self._group(root, address, "", 0)
        for group, owner, name, path in self._soft:
            self._soft_link(group, owner, name, path)
        self._refuse_loops()

    def _group(self, group: h5py.h5g.GroupID, address: int, path: str, depth: int) -> None:
        import h5py

        if depth > _DEEPEST:
            raise DamagedFile(f"{self._label}: groups nest more than {_DEEPEST} levels deep")
        self.contents.groups[path] = group
        self._edges[address] = []
        links: list[tuple[bytes, int, int]] = []

        def note(name: bytes, info: Any) -> bool | None:
            links.append((name, info.type, info.u))
            self._links += 1
            self._path_bytes += len(path) + len(name)
            return True if self._is_too_much() else None  # h5py would lose an exception

        what = f"{self._label}: group {'/' + path!r}"
        with h5_errors(what):
            refuse_repeats(self._container, address, what)
            # Not sorted by HDF5 1.14, which frees memory that is not its own if a damaged group
            # fails while it is sorted.
            group.links.iterate(note, order=h5py.h5.ITER_NATIVE, info=True)
        if self._is_too_much():
            raise DamagedFile(
                f"{self._label}: has more links, or longer names, than its size allows. If the "
                "file is right nevertheless, read it with h5py, and pass the arrays as a dict"
            )
        for name, kind, target in sorted(links):
            below = f"{path}/{as_text(name)}" if path else as_text(name)
            if kind == h5py.h5l.TYPE_HARD:
                self._hard_link(group, address, name, target, below, depth)
            elif kind == h5py.h5l.TYPE_SOFT:
                self._soft.append((group, address, name, below))
            else:
                raise RefusedFile(f"{self._label}: {self._foreign(group, name, kind, below)}")

    def _is_too_much(self) -> bool:
        """Whether there are more links, or longer paths, than the file has room for.

        Its B-trees may lead to one link again and again, and its links to one long name.
        """
        size = self._container.length
        return self._links > size // _LINK or self._path_bytes > _PATHS + 4 * size

    def _foreign(self, group: h5py.h5g.GroupID, name: bytes, kind: int, path: str) -> str:
        import h5py

        if kind != h5py.h5l.TYPE_EXTERNAL:
            return (
                f"{path!r} is a user-defined link (class {kind}), which initreg does not follow. "
                "Copy what it means into the file"
            )
        with h5_errors(f"{self._label}: link {path!r}"):
            file, target = group.links.get_val(name)
        return (
            f"{path!r} is an external link, to {as_text(target)!r} in the file {as_text(file)!r}. "
            "initreg opens no other file. Give that file by its own path"
        )

    def _hard_link(
        self,
        group: h5py.h5g.GroupID,
        owner: int,
        name: bytes,
        address: int,
        path: str,
        depth: int,
    ) -> None:
        import h5py

        if address in self._by_address:
            self._by_address[address].links.append(path)
            return
        if address in self._group_paths:
            self._edges[owner].append((address, path))
            return
        with h5_errors(f"{self._label}: object {path!r}"):
            found = h5py.h5o.open(group, name)
            if isinstance(found, h5py.h5d.DatasetID):
                refuse_deep(found.get_type(), f"{self._label}: dataset {path!r}")
            elif isinstance(found, h5py.h5t.TypeID):
                refuse_deep(found, f"{self._label}: type {path!r}")
        if isinstance(found, h5py.h5d.DatasetID):
            if path in self.contents.datasets:
                raise DamagedFile(f"{self._label}: two datasets are called {path!r}")
            self._by_address[address] = self.contents.datasets[path] = Dataset(path, group, name)
        elif isinstance(found, h5py.h5g.GroupID):
            if path in self.contents.groups:
                raise DamagedFile(f"{self._label}: two groups are called {path!r}")
            self._group_paths[address] = path
            self._edges[owner].append((address, path))
            self._group(found, address, path, depth + 1)

    def _soft_link(self, group: h5py.h5g.GroupID, owner: int, name: bytes, path: str) -> None:
        import h5py

        with h5_errors(f"{self._label}: link {path!r}"):
            target = as_text(group.links.get_val(name))
        try:
            found = h5py.h5o.open(group, name)
        except KeyError as error:
            raise DamagedFile(
                f"{self._label}: {path!r} is a soft link to {target!r}, which does not exist"
            ) from error
        except (RuntimeError, OSError, ValueError) as error:
            raise RefusedFile(
                f"{self._label}: {path!r} is a soft link to {target!r} that does not end: {error}"
            ) from error
        with h5_errors(f"{self._label}: link {path!r}"):
            address = address_of(found)
        if address in self._by_address:
            self._by_address[address].links.append(path)
        elif address in self._group_paths:
            self._edges[owner].append((address, path))

    def _refuse_loops(self) -> None:
        """Raise RefusedFile if links from group to group form a loop."""
        done: set[int] = set()
        for start in self._edges:
            trail: list[tuple[int, int]] = [(start, 0)]
            on_trail = {start}
            while trail:
                address, next_edge = trail.pop()
                edges = self._edges[address]
                if address in done or next_edge == len(edges):
                    done.add(address)
                    on_trail.discard(address)
                    continue
                trail.append((address, next_edge + 1))
                target, path = edges[next_edge]
                if target in on_trail:
                    raise RefusedFile(
                        f"{self._label}: the links loop: {path!r} leads back to "
                        f"{'/' + self._group_paths[target]!r}"
                    )
                if target not in done:
                    on_trail.add(target)
                    trail.append((target, 0))
