"""Hostile pickles: nothing of them runs, and each ends in one error or in arrays."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import initreg
import pytest

from initreg_torch.allowed import call
from initreg_torch.pickles import Machine, PickleFault
from initreg_torch.values import Global, Items, Record


def interpreted(data: bytes) -> Any:
    """What the machine makes of a pickle."""

    def load(found: Any) -> Any:
        return ("persistent", found)

    return Machine(io.BytesIO(data), len(data), call, load).run()


def plain(value: Any) -> Any:
    """The value with dicts in place of pairs."""
    if isinstance(value, Items):
        return {key: plain(each) for key, each in value}
    if type(value) in (list, tuple):
        return type(value)(plain(each) for each in value)
    return value


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    255,
    256,
    65536,
    -1,
    -(2**40),
    2**62,
    1.5,
    float("inf"),
    "",
    "text",
    "größe",
    "\U0001f600",
    b"",
    b"bytes\xff",
    [],
    (),
    {},
    [1, [2, [3]]],
    (1,),
    (1, 2),
    (1, 2, 3),
    (1, 2, 3, 4),
    {"a": 1, "b": {"c": [1, 2]}},
    {1: "x", (1, 2): "y"},
    "x" * 300,
    b"y" * 300,
    list(range(2000)),
    {str(i): i for i in range(1500)},
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_those_of_pickle(protocol: int) -> None:
    """Numbers, texts and containers come out as pickle has them, from every protocol."""
    for value in VALUES:
        data = pickle.dumps(value, protocol)
        if protocol < 3 and isinstance(value, bytes):
            continue  # spelt as a call of _codecs.encode, below
        found = plain(interpreted(data))
        assert found == value, (value, found)
        assert type(found) is type(value)


def test_values_that_are_shared_stay_one() -> None:
    """What a pickle names twice is one object."""
    shared = [1]
    found = interpreted(pickle.dumps([shared, shared]))
    assert found[0] is found[1]


def test_bytes_of_protocol_2() -> None:
    """Bytes are a call of ``_codecs.encode`` there, which is allowed for latin1 alone."""
    assert interpreted(pickle.dumps(b"\x00\xff", 2)) == b"\x00\xff"
    with pytest.raises(PickleFault, match="encoding"):
        interpreted(b"c_codecs\nencode\n(X\x01\0\0\0aX\x03\0\0\0hextR.")


class Runs:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


ATTACKS = {
    "os.system": b"cos\nsystem\n(S'touch hit'\ntR.",
    "posix.system": b"cposix\nsystem\n(S'touch hit'\ntR.",
    "builtins.eval": b'cbuiltins\neval\n(S\'open("hit", "w")\'\ntR.',
    "builtins.exec of Python 2": b'c__builtin__\nexec\n(S\'open("hit", "w")\'\ntR.',
    "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR(S'touch hit'\ntR.",
    "instance": b"(S'touch hit'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nS'touch hit'\no.",
    "new": b"cos\nsystem\n(S'touch hit'\nt\x81.",
    "new with keywords": b"cos\nsystem\n(S'touch hit'\nt}\x92.",
    "build": b"cbuiltins\nobject\n)\x81}X\x0c\0\0\0__setstate__cos\nsystem\nsbS'touch hit'\nb.",
    "stack global": b"\x8c\x02os\x8c\x06system\x93\x8c\x09touch hit\x85R.",
    "dotted name": b"\x8c\x08builtins\x8c\x0deval.__call__\x93\x8c\x0fopen('hit','w')\x85R.",
    "torch.load of bytes": b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
    "runpy": b'crunpy\n_run_code\n(S\'open("hit","w")\'\n}tR.',
    "pip.main": b"cpip\nmain\n((lS'install'\natR.",
    "numpy runstring": b'cnumpy.testing._private.utils\nrunstring\n(S\'open("hit","w")\'\n}tR.',
    "torch code": b"ctorch._inductor.codecache\ncompile_file\n(S'x'\ntR.",
    "timeit": b'ctimeit\ntimeit\n(S\'open("hit","w")\'\ntR.',
    "idlelib": b"cidlelib.pyshell\nModifiedInterpreter.runcode\n(S'x'\ntR.",
    "imaplib": b"cimaplib\nIMAP4_stream\n(S'touch hit'\ntR.",
    "after STOP": b"N." + b"cos\nsystem\n(S'touch hit'\ntR.",
    "call of a result": b"cfunctools\npartial\n(cos\nsystem\nS'touch hit'\ntR)R.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public ways around scanners of pickles do nothing: no call, no import."""
    monkeypatch.chdir(tmp_path)
    found = interpreted(ATTACKS[name])
    assert found is None or isinstance(found, Record)
    _archive(tmp_path / "m.pt", ATTACKS[name])
    with contextlib.suppress(initreg.InitregError):
        initreg.load(tmp_path / "m.pt")
    assert [each.name for each in tmp_path.iterdir()] == ["m.pt"]


def test_a_call_that_is_pickled_is_a_record() -> None:
    """What ``__reduce__`` asks for is recorded, with its name and its arguments."""
    import shutil

    found = interpreted(pickle.dumps({"x": Runs(shutil.rmtree, "/nowhere")}))
    assert found == [("x", found[0][1])]
    assert found[0][1].made_by == Global("shutil", "rmtree")
    assert found[0][1].arguments == ("/nowhere",)


REFUSED = {
    "extensions": b"\x82\x01.",
    "a persistent id as a line": b"Px\n.",
    "an unknown opcode": b"\xff.",
    "no end": b"(((",
    "a stack too short": b"R.",
    "a mark that is missing": b"t.",
    "two values": b"NN.",
    "a length beyond the file": b"X\xff\xff\xff\x7fabc.",
    "eight bytes of length": b"\x8d" + b"\xff" * 8 + b"a.",
    "a negative length": b"T\xff\xff\xff\xffabc.",
    "a name that is unknown": b"h\x07.",
    "an integer of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "an integer of 5,000 digits": b"L" + b"9" * 5_000 + b"L\n.",
    "a long of megabytes": b"\x8b\x00\x00\x10\x00" + b"\1" * (1 << 20) + b".",
    "items of a list": b"]NNs.",
    "appends to a dict": b"}Na.",
    "odd items": b"}(Nu.",
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_pickles_are_one_error(name: str) -> None:
    """A pickle that no writer writes ends in a PickleFault, at once."""
    with pytest.raises(PickleFault):
        interpreted(REFUSED[name])


def _archive(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")


def _doubling(levels: int) -> bytes:
    """A list of two of a list of two of ...: few bytes, 2**levels values."""
    data = b"(lp0\n"
    for level in range(levels):
        data += b"0(lp%d\n" % (level + 1) + b"g%d\nag%d\na" % (level, level)
    return data + b"."


def _copying() -> bytes:
    """A long tuple that is copied for each of a thousand calls."""
    data = b"(" + b"N" * 100_000 + b"tp1\n0("
    return data + b"cbuiltins\ntuple\n(g1\ntR" * 1000 + b"t."


ENDLESS = {
    "lists of two": _doubling(60),
    "a list in itself": b"(lp0\ng0\na.",
    "a dict in itself": b"(dp0\nS'a'\ng0\ns.",
    "1,000 levels": b"]" * 1000 + b"a" * 999 + b".",
    "copies": _copying(),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_values_without_end_are_one_error(name: str, tmp_path: Path) -> None:
    """Values in themselves, and values that multiply, are refused and not followed."""
    _archive(tmp_path / "m.pt", ENDLESS[name])
    with pytest.raises(initreg.DamagedFile, match=r"without end|more often than any writer"):
        initreg.open(tmp_path / "m.pt")


def test_a_long_name_on_many_paths_is_refused(tmp_path: Path) -> None:
    """One key of a megabyte above 10,000 values would make names of ten gigabytes."""
    inner = {str(n): 0 for n in range(10_000)}
    _archive(tmp_path / "m.pt", pickle.dumps({"k" * 1_000_000: inner}))
    with pytest.raises(initreg.DamagedFile, match="names are too long"):
        initreg.open(tmp_path / "m.pt")


def test_two_ways_to_one_name_are_an_error(tmp_path: Path) -> None:
    """Keys that join to one name are told, not chosen from."""
    _archive(tmp_path / "m.pt", pickle.dumps({"a/b": 1, "a": {"b": 2}}))
    with pytest.raises(initreg.DuplicateName, match="'a/b'"):
        initreg.open(tmp_path / "m.pt")


def test_keys_are_not_hashed() -> None:
    """A dict is its pairs: keys that a file makes collide, or that have no hash, change nothing."""
    step = (1 << 61) - 1  # all multiples have one hash
    data = b"(d" + b"".join(b"L%dL\nNs" % (n * step) for n in range(20_000)) + b"]Ns."
    found = interpreted(data)
    assert type(found) is Items
    assert found[2] == (2 * step, None)
    assert found[-1] == ([], None)


def test_a_pickle_that_is_packed_very_well(tmp_path):
    """A pickle of millions of empty lists that deflate shrank to a thousandth is refused before it
    is interpreted: it would take a hundred times as much again."""
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02(" + b"]" * 20_000_000 + b"l.")
        archive.writestr("m/version", "3\n")
    assert path.stat().st_size < 30_000
    with pytest.raises(initreg.RefusedFile, match=r"m\.pt: member 'data\.pkl' unpacks to 20,0"):
        initreg.open(path)
