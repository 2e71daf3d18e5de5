"""A file of ``torch.save`` from before 1.6: pickles one after another, then the storages.

The pickles are a magic number, a version, facts about the machine, the value itself, and the keys
of the storages. For each key follow the number of its elements, in eight bytes, and the elements.

Source: ``_legacy_save`` and ``_legacy_load`` in ``torch/serialization.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from initreg import DamagedFile

from initreg_torch.allowed import call, storage_of
from initreg_torch.pickles import Machine, PickleFault
from initreg_torch.values import Items, Storage

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


class Older:
    """What the file holds.

    Attributes:
        value: the value of its pickle.
        steps: how many opcodes its pickles have.
        order: its byte order, ``"<"`` or ``">"``.
        begins: where the bytes of each storage begin in the file.
        sizes: how many bytes each storage has.

    Raises:
        DamagedFile: it is not such a file, or it is truncated.
        PickleFault: one of its pickles is damaged.
    """

    def __init__(self, label: str, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._label = file, size, label
        self.steps = 0
        self._storages: dict[str, Storage] = {}
        self._counts: dict[str, int] = {}
        if self._pickle() != _MAGIC or self._pickle() != _VERSION:
            raise DamagedFile(
                f"{label}: does not begin like a file of torch.save. Download or copy it again"
            )
        facts = self._pickle()
        is_big = isinstance(facts, Items) and ("little_endian", False) in facts
        self.order = ">" if is_big else "<"
        self.value = self._pickle(self._load)
        keys = self._pickle()
        self.begins = self._find(keys)
        self.sizes = {key: self._storages[key].nbytes for key in self.begins}

    def _pickle(self, load: Callable[[Any], Any] | None = None) -> Any:
        def refuse(found: Any) -> Any:
            raise PickleFault("has a storage where none can be")

        machine = Machine(self._file, self._size, call, load or refuse)
        value = machine.run()
        self.steps += machine.steps
        return value

    def _load(self, found: Any) -> Any:
        if isinstance(found, tuple) and len(found) == 4 and found[0] == "module":
            return found[1]  # a class, with the text of its source
        storage, rest = storage_of(found)
        known = self._storages.setdefault(storage.key, storage)
        if known != storage:
            raise PickleFault(f"gives storage {storage.key[:80]!r} two sizes")
        self._counts[storage.key] = found[4]
        view = rest[0] if rest else None
        if view is None:
            return storage
        _, offset, count = view
        one = storage.nbytes // max(1, found[4])  # the size of an element
        if type(offset) is not int or type(count) is not int or min(offset, count) < 0:
            raise PickleFault("has a view of a storage without a valid position")
        return Storage(storage.key, storage.dtype, count * one, offset * one)

    def _find(self, keys: Any) -> dict[str, int]:
        """The position of the first byte of each storage in the file."""
        begins: dict[str, int] = {}
        position = self._file.tell()
        if not isinstance(keys, list):
            raise DamagedFile(f"{self._label}: does not list its storages. Download it again")
        for key in keys:
            storage = self._storages.get(key) if isinstance(key, str) else None
            if storage is None or key in begins:
                raise DamagedFile(
                    f"{self._label}: lists a storage {str(key)[:80]!r} that no tensor uses, or "
                    "twice. Download or copy it again"
                )
            self._file.seek(position)
            head = self._file.read(8)
            if int.from_bytes(head, "big" if self.order == ">" else "little") != self._counts[key]:
                raise DamagedFile(
                    f"{self._label}: storage {key[:80]!r} is not at byte {position:,}, where it "
                    "should be. The file is truncated or damaged. Download or copy it again"
                )
            begins[key] = position + 8
            position += 8 + storage.nbytes
        if position > self._size:
            raise DamagedFile(
                f"{self._label}: its storages end at byte {position:,}, but the file has "
                f"{self._size:,}. It is truncated. Download or copy it again"
            )
        return begins
