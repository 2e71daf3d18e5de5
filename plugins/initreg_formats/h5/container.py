"""One open HDF5 file, on its own or inside an archive, and how much memory its size justifies."""

from __future__ import annotations

import contextlib
import fcntl
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO, Self

from initreg import DamagedFile, OpenOptions, RefusedFile, Source, UnreadableFile, stand_in
from initreg.format_tools.files import FilePath, pread_of, read_at
from initreg.option_spelling import option
from initreg_formats.h5.claiming import signature_at
from initreg_formats.h5.hdf5.attributes import Attribute
from initreg_formats.h5.hdf5.content import Bad, Content, Unknown
from initreg_formats.h5.hdf5.datatypes import TooDeep
from initreg_formats.h5.hdf5.superblock import find, superblock

AGAIN = "Download or copy the file again"
_HEAD = 4096  # bytes that show whether it is something else
_SLACK = 1 << 20  # bytes that any file may ask for, such as those of datasets never written to
_NAMES = 64 << 20  # bytes that the list of arrays may always take in memory


@contextlib.contextmanager
def structures(what: str) -> Iterator[None]:
    """Turn what is wrong with the structures of a file into an error that names ``what``."""
    try:
        yield
    except TooDeep as error:
        raise DamagedFile(f"{what} {error}, which initreg does not read") from error
    except Bad as error:
        raise DamagedFile(f"{what}: {error}. {AGAIN}") from error
    except Unknown as error:
        raise RefusedFile(
            f"{what}: it has {error}. Read it with h5py, and pass the arrays as a dict"
        ) from error


class Container:
    """An open HDF5 file, read-only.

    Attributes:
        label: what messages call it.
        path: a path that its bytes can be read by.
        length: the bytes of the HDF5 file.
        content: those bytes.
        root: the address of the root group.
        attributes: those of objects that were asked for, by the objects' addresses.
        has_checksum: whether an archive had a checksum for all of it, which was compared.
        config: the model's ``config.json`` in the archive, if there is one.
        vocabularies: the texts of the vocabularies in the archive, by the paths of their layers.
        optimizers: what the file says about optimizers, after its arrays were named.
        model: what somebody called the model that was saved, after its arrays were named.
        native: whether h5py may read what is not read here.
        max_inflation: how many times their size packed arrays may unpack to.
        verify: whether to compare checksums.
        is_temporary: whether ``path`` is valid only while the container is open.
    """

    has_checksum = False
    config = b""
    vocabularies: Mapping[str, bytes] = MappingProxyType({})
    optimizers: Any = None
    model = ""

    def __init__(
        self,
        label: str,
        path: FilePath,
        start: int,
        size: int,
        file: BinaryIO,
        length: int,
        options: OpenOptions,
        is_temporary: bool = False,
        source: Source | None = None,
    ) -> None:
        self.label = label
        self.path = path
        self.length = length
        self.native = options.native
        self.is_temporary = is_temporary
        self._size = size  # bytes of the file on disk, which justify how much may be allocated
        self._start = start
        self._raw = file
        weakref.finalize(self, file.close)  # if nobody closes the map
        self._claimed = self._listed = 0
        self.attributes: dict[int, dict[str, Attribute]] = {}
        self.max_inflation = options.max_inflation
        self.verify = options.verify
        try:
            with structures(label):
                found = superblock(pread_of(file), start, length)
            if found is None:
                if what := stand_in(read_at(file, _HEAD, start), length):
                    raise DamagedFile(f"{label} is {what}")
                raise DamagedFile(f"{label}: what should be HDF5 has no HDF5 signature. {AGAIN}")
            place = (pread_of(file), start, length, found.base)
            self.root = found.root
            if source is None or source.is_local or is_temporary:
                self.content = Content(*place)
            else:
                self.content = self._scouted(source, place)
        except BaseException:
            file.close()
            raise

    @classmethod
    def of_file(cls, source: Source, options: OpenOptions) -> Self:
        """The file itself. Raises DamagedFile, UnreadableFile."""
        assert source.path is not None
        what = source.label
        file = source.open()
        try:
            if signature_at(source.head) is None and find(pread_of(file), 0, source.size) is None:
                hint = source.looks_like()
                raise DamagedFile(f"{what}: not an HDF5 file{': ' + hint if hint else ''}")
            _check_unlocked(file, what)
        except BaseException:
            file.close()
            raise
        size = source.size
        return cls(what, source.path, 0, size, file, size, options, source=source)

    def _scouted(
        self, source: Source, place: tuple[Callable[[int, int], bytes], int, int, int]
    ) -> Content:
        """The bytes of a file in a store, whose structures are read before they are asked for one
        by one."""
        from initreg_formats.h5.scouting import scout

        first = place[1] + place[3]

        def prefetch(places: list[tuple[int, int]]) -> None:
            source.prefetch((first + address, size) for address, size in places)

        scout(Content(*place, prefetch), self.root)  # bounded by itself
        return Content(*place, prefetch)

    def offset(self, address: int) -> int:
        """Where an address is in the file at ``path``."""
        return self.content.start + address

    def claim_memory(self, nbytes: int, what: str) -> None:
        """Add ``nbytes`` for an array that is unpacked or filled, and check the sum.

        Raises DamagedFile if the file cannot hold as much, RefusedFile if it is packed better than
        the user allows.
        """
        self._claimed += nbytes
        self.check_memory(self._claimed, f"{what}, with all before it,")

    def check_memory(self, nbytes: int, what: str) -> None:
        """Raise DamagedFile if the file cannot hold ``nbytes``, however well packed they are;
        RefusedFile if it is packed better than the user allows."""
        # No filter that is read packs better than deflate.
        DamagedFile.check_deflate(
            what,
            self._size,
            nbytes,
            spare=_SLACK,
            remedy="If the file is right nevertheless, read it with h5py, and pass the arrays as a "
            "dict",
        )
        RefusedFile.check_inflation(what, self._size, nbytes, self.max_inflation)

    def claim_list(self, nbytes: int, what: str) -> None:
        """Add ``nbytes`` for what the file makes us list: its links, or its chunks.

        A structure may lead to one long name again and again, so that a small file could fill the
        memory. Raises DamagedFile.
        """
        self._listed += nbytes
        if self._listed > _NAMES + 4 * self.length:
            raise DamagedFile(
                f"{self.label}: has more {what} than its size allows. If the file is right "
                "nevertheless, read it with h5py, and pass the arrays as a dict"
            )

    @property
    def window(self) -> tuple[BinaryIO, int, int]:
        """The open file, where HDF5 begins in it, and how many bytes it has."""
        return self._raw, self._start, self.length

    def close(self) -> None:
        self._raw.close()


def native_remedy() -> str:
    """What to do about what only h5py reads."""
    return (
        "Save it without that. Or "
        + option("native", True)
        + " lets h5py read it, whose library in C is not safe with files of strangers"
    )


def _check_unlocked(file: BinaryIO, what: str) -> None:
    """Raise UnreadableFile if a program has the file open for writing.

    HDF5 holds an exclusive lock then, and the file on disk is incomplete. The lock that finds this
    out is released at once.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError as error:
        raise UnreadableFile(
            f"{what}: another program has it open for writing. Try again when it is done"
        ) from error
    except OSError:  # a file system without locks
        return
