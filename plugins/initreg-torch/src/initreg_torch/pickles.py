"""A pickle, interpreted without running anything.

The opcodes build plain values: numbers, strings, lists, tuples, dicts. A name in the pickle becomes
a :class:`Global` and is never imported. A call becomes whatever ``call`` makes of it, and an object
of a class becomes a :class:`Record`.

Source of the opcodes: ``pickletools.py`` of CPython 3.13, protocols 0 to 5.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

from initreg_torch.values import Global, Items, Record

_LONGEST_LINE = 1 << 16
_SIZED = (list, tuple, str, bytes)
_COPIES = 4  # times the size of the file


class PickleFault(ValueError):
    """A pickle that no writer writes, or one that asks for what is not interpreted."""


class Machine:
    """Interprets one pickle.

    Args:
        file: the file, at the first byte of the pickle. Afterwards it is behind the last one.
        size: the size of the file, so that no length in the pickle is believed beyond it.
        call: what a call of a name with arguments means.
        load: what a persistent id means.
    """

    def __init__(
        self,
        file: BinaryIO | io.BytesIO,
        size: int,
        call: Callable[[Global, tuple[Any, ...]], Any],
        load: Callable[[Any], Any],
    ) -> None:
        self._file, self._size, self._call, self._load = file, size, call, load
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.steps = 0  # how many opcodes ran: the tree cannot have more values
        self._copied = 0

    def run(self) -> Any:
        """The value of the pickle. Raises PickleFault."""
        read, steps = self._file.read, _STEPS
        start = self._file.tell()
        try:
            while True:
                opcode = read(1)
                self.steps += 1
                if opcode == b".":
                    (value,) = self._stack
                    return value
                step = steps.get(opcode)
                if step is None:
                    what = (
                        f"the opcode {opcode!r}, which is not interpreted" if opcode else "no end"
                    )
                    raise PickleFault(f"has {what}")
                step(self)
        except PickleFault as error:
            raise PickleFault(f"{error}, at byte {self._file.tell() - start:,}") from None
        # The mistakes of a damaged pickle: a stack too short, a wrong type, a bad number.
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
            struct.error,
        ) as error:
            raise PickleFault(
                f"is damaged at byte {self._file.tell() - start:,}: {error}"
            ) from error

    # --- reading ------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        if count > self._size:  # read() would allocate as much first
            raise PickleFault(f"says that {count:,} bytes follow")
        found = self._file.read(count)
        if len(found) < count:
            raise PickleFault("has no end")
        return found

    def _skip(self, count: int) -> None:
        self._take(count)

    def _number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "little", signed=signed)

    def _line(self) -> str:
        found = self._file.readline(_LONGEST_LINE)
        if not found.endswith(b"\n"):
            raise PickleFault("has a line without an end")
        return found[:-1].decode("utf-8", "surrogateescape")

    def _text(self, count: int) -> str:
        return self._take(count).decode("utf-8", "surrogatepass")

    # --- the stack ----------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[Any]:
        found, self._stack = self._stack, self._marks.pop()
        return found

    def _pop_mark(self) -> None:
        self._to_mark()

    def _drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise PickleFault("takes a tuple from a stack that is too short")
        found = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(found)

    # --- containers ---------------------------------------------------------------------------

    def _extend(self, found: list[Any]) -> None:
        into = self._stack[-1]
        if isinstance(into, Record):
            into.elements += found
        elif type(into) is list:
            into += found
        else:
            raise PickleFault(f"appends to a {type(into).__name__}")

    def _set_items(self, found: list[Any]) -> None:
        if len(found) % 2:
            raise PickleFault("sets a key without a value")
        into = self._stack[-1]
        pairs = into.items if isinstance(into, Record) else into
        if not isinstance(pairs, Items):
            raise PickleFault(f"sets items of a {type(into).__name__}")
        pairs.extend(zip(found[::2], found[1::2], strict=True))

    def _two(self) -> list[Any]:
        value = self._stack.pop()
        return [self._stack.pop(), value]

    # --- names, calls and objects -------------------------------------------------------------

    def _global(self) -> None:
        module = self._line()
        self._push(Global(module, self._line()))

    def _stack_global(self) -> None:
        module, name = self._two()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleFault("has a name that is not a text")
        self._push(Global(module, name))

    def _reduce(self) -> None:
        made_by, arguments = self._two()
        self._push(self._called(made_by, arguments))

    def _called(self, made_by: Any, arguments: Any) -> Any:
        if not isinstance(made_by, Global) or not isinstance(arguments, tuple):
            return Record(made_by, arguments)
        # A pickle may copy one long list again and again. No writer does.
        self._copied += sum(len(each) for each in arguments if isinstance(each, _SIZED))
        if self._copied > _COPIES * (self._size + 1024):
            raise PickleFault("copies its values more often than any writer does")
        return self._call(made_by, arguments)

    def _new(self) -> None:
        made_by, arguments = self._two()
        # dict and its kind are empty before their items are set, whatever __new__ is given.
        self._push(self._called(made_by, arguments))

    def _new_with_keywords(self) -> None:
        keywords = self._stack.pop()
        made_by, arguments = self._two()
        self._push(Record(made_by, (arguments, keywords)))

    def _object(self) -> None:
        made_by, *arguments = self._to_mark()
        self._push(self._called(made_by, tuple(arguments)))

    def _instance(self) -> None:
        module = self._line()
        made_by = Global(module, self._line())
        self._push(self._called(made_by, tuple(self._to_mark())))

    def _build(self) -> None:
        state = self._stack.pop()
        into = self._stack[-1]
        if isinstance(into, Record):
            into.state = state
        elif hasattr(into, "build"):
            into.build(state)
        # Else it is what torch remembers beside a tensor or an OrderedDict, such as _metadata.

    # --- the memo -----------------------------------------------------------------------------

    def _memorise(self, at: int) -> None:
        self._memo[at] = self._stack[-1]

    def _recall(self, at: int) -> None:
        self._push(self._memo[at])


def _integer_line(machine: Machine) -> None:
    line = machine._line()
    machine._push({"00": False, "01": True}.get(line, line and int(line)))


def _string_line(machine: Machine) -> None:
    line = machine._line()
    if len(line) < 2 or line[0] != line[-1] or line[0] not in "'\"":
        raise PickleFault("has a string without quotes")
    text = line[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
    machine._push(text)


def _old_string(machine: Machine, count: int) -> None:
    if count < 0:
        raise PickleFault("has a string of a negative length")
    # Python 2 wrote texts and bytes alike. Those that are not UTF-8 are bytes.
    found = machine._take(count)
    try:
        machine._push(found.decode("utf-8"))
    except UnicodeDecodeError:
        machine._push(found)


def _long(machine: Machine, count: int) -> None:
    if count > 1024:
        raise PickleFault(f"has an integer of {count:,} bytes")
    machine._push(machine._number(count, signed=True))


_STEPS: dict[bytes, Callable[[Machine], None]] = {
    # protocol and frames, which change nothing
    b"\x80": lambda m: m._skip(1),
    b"\x95": lambda m: m._skip(8),
    # numbers and constants
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": _integer_line,
    b"L": lambda m: m._push(int(m._line().rstrip("L"))),
    b"J": lambda m: m._push(m._number(4, signed=True)),
    b"K": lambda m: m._push(m._number(1)),
    b"M": lambda m: m._push(m._number(2)),
    b"\x8a": lambda m: _long(m, m._number(1)),
    b"\x8b": lambda m: _long(m, m._number(4)),
    b"F": lambda m: m._push(float(m._line())),
    b"G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
    # texts and bytes
    b"S": _string_line,
    b"T": lambda m: _old_string(m, m._number(4, signed=True)),
    b"U": lambda m: _old_string(m, m._number(1)),
    b"V": lambda m: m._push(
        m._line().encode("utf-8", "surrogateescape").decode("raw_unicode_escape")
    ),
    b"X": lambda m: m._push(m._text(m._number(4))),
    b"\x8c": lambda m: m._push(m._text(m._number(1))),
    b"\x8d": lambda m: m._push(m._text(m._number(8))),
    b"B": lambda m: m._push(m._take(m._number(4))),
    b"C": lambda m: m._push(m._take(m._number(1))),
    b"\x8e": lambda m: m._push(m._take(m._number(8))),
    b"\x96": lambda m: m._push(m._take(m._number(8))),
    # the stack
    b"(": Machine._mark,
    b"0": Machine._drop,
    b"1": Machine._pop_mark,
    b"2": lambda m: m._push(m._stack[-1]),
    # containers
    b"]": lambda m: m._push([]),
    b"l": lambda m: m._push(m._to_mark()),
    b"a": lambda m: m._extend([m._stack.pop()]),
    b"e": lambda m: m._extend(m._to_mark()),
    b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._to_mark())),
    b"\x85": lambda m: m._tuple_of(1),
    b"\x86": lambda m: m._tuple_of(2),
    b"\x87": lambda m: m._tuple_of(3),
    b"}": lambda m: m._push(Items()),
    b"d": lambda m: _dict(m),
    b"s": lambda m: m._set_items(m._two()),
    b"u": lambda m: m._set_items(m._to_mark()),
    b"\x8f": lambda m: m._push([]),  # a set, whose elements are not hashed
    b"\x90": lambda m: m._extend(m._to_mark()),
    b"\x91": lambda m: m._push(tuple(m._to_mark())),  # a frozenset
    # names, calls, objects
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._reduce,
    b"\x81": Machine._new,
    b"\x92": Machine._new_with_keywords,
    b"o": Machine._object,
    b"i": Machine._instance,
    b"b": Machine._build,
    b"Q": lambda m: m._push(m._load(m._stack.pop())),
    # the memo
    b"p": lambda m: m._memorise(int(m._line())),
    b"q": lambda m: m._memorise(m._number(1)),
    b"r": lambda m: m._memorise(m._number(4)),
    b"\x94": lambda m: m._memorise(len(m._memo)),
    b"g": lambda m: m._recall(int(m._line())),
    b"h": lambda m: m._recall(m._number(1)),
    b"j": lambda m: m._recall(m._number(4)),
}


def _dict(machine: Machine) -> None:
    found = machine._to_mark()
    machine._push(Items())
    machine._set_items(found)
