"""Files with changed bytes: does each give one InitregError, or arrays as announced?"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import initreg
from initreg.errors import InitregError, PluginError
from initreg.testing.formats.base import fail

INPUTS = 400
VARIABLE = "INITREG_FUZZ"  # of the environment: how many inputs to try instead
# What initreg says in the place of a format that raised another exception, or the wrong array.
_NET = re.compile(
    r"could not open it: |could not list its arrays: |ran out of memory|was announced as "
    r"|array '.*' cannot be read: [A-Z]\w+: ",
    re.DOTALL,
)
_OPENED = "opened"
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(data: bytes, random: random.Random) -> bytes:
    """The bytes with a few changes: single bytes, runs that are copied, cut out or put in."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        if not found:
            return b""
        at = random.randrange(len(found))
        way = random.random()
        if way < 0.7:
            found[at] = random.choice((*_NUMBERS, random.randrange(256), found[at] ^ 1))
        elif way < 0.8:
            begin = random.randrange(len(found))
            run = found[begin : begin + random.randrange(1, 40)]
            found[at : at + len(run)] = run
        elif way < 0.9:
            del found[at : at + random.randrange(1, 16)]
        else:
            found[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
    return bytes(found)


def check_damage(
    folder: Path,
    files: Mapping[str, bytes],
    format: str,
    *,
    source: str | None = None,
    changed: Sequence[str] = (),
    inputs: int | None = None,
    **options: Any,
) -> None:
    """Change the files of a source at random, open it each time, and read all of its arrays.

    A changed source must give one InitregError of the format's own, or arrays that have the shapes
    and dtypes that they are listed with. initreg makes errors of other exceptions, too, and of
    arrays of another shape. They tell a user little, so that they fail here. Each input is made
    from its number, so that a failure can be repeated.

    Args:
        folder: an empty folder to write the files into.
        files: the names of the files, and their bytes. A name may have folders in it.
        format: the name of the format.
        source: the name of the file that is opened. By default it is the first one. ``"."`` is the
            folder.
        changed: the names of the files that are changed, by turns. By default they are all files.
            A file may be named several times.
        inputs: how many inputs are tried. By default it is 400, or what the environment variable
            ``INITREG_FUZZ`` says.
        options: further options of ``initreg.open``.

    Raises:
        pytest.fail.Exception: an input does harm; or all were refused, or none was, so that the
            test shows nothing.

    >>> check_damage(tmp_path, {"m.rawz": data}, "rawz")  # doctest: +SKIP
    """
    count = int(os.environ.get(VARIABLE, "0")) if inputs is None else inputs
    count = count or INPUTS
    turns = [*(changed or files)]
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    path = folder / (source if source is not None else next(iter(files)))
    opened = 0
    for number in range(count):
        name = turns[number % len(turns)]
        (folder / name).write_bytes(mutated(files[name], random.Random(number)))
        complaints = list(_complaints(path, format, options))
        opened += complaints[:1] == [_OPENED]
        complaints = [each for each in complaints if each not in ("", _OPENED)]
        if complaints:
            fail(f"{name}, changed input {number}: {complaints[0]}")
        (folder / name).write_bytes(files[name])
    if not 0 < opened < count:
        fail(f"of {count} changed inputs {opened} opened, so that the test shows nothing")


def _complaints(path: Path, format: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with how a source opens. The first one is ``_OPENED`` if it does."""
    try:
        with initreg.open(path, format=format, **options) as arrays:
            yield _OPENED
            for array in arrays.values():
                yield from _complaint(array.read)
    except Exception as error:
        yield _told(error)


def _complaint(read: Callable[[], Any]) -> Iterator[str]:
    try:
        read()
    except Exception as error:
        yield _told(error)


def _told(error: Exception) -> str:
    """What is wrong with an error. ``""`` if it is an InitregError of the format's own."""
    if not isinstance(error, InitregError):
        return f"{type(error).__name__} ({error}), not an InitregError"
    if isinstance(error, PluginError) or _NET.search(str(error)):
        return (
            f"initreg had to say {str(error)!r}. Compare what the file says, and raise DamagedFile"
        )
    return ""
