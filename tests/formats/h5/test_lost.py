"""Links of HDF5 that lead nowhere, and values that are elsewhere: the rest of the file is read."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, RefusedFile, SmartInit


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The folder of another file, which must not be read, and whose value is 7."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.full(4, 7.0)
    (tmp_path / "secret.bin").write_bytes(np.full(4, 7.0).tobytes())
    return tmp_path


def lost(path: Path, expected: dict[str, tuple[type[InitregError], str]], **options: bool) -> None:
    """These arrays are listed with their reasons, reading one raises it, and 'w' is read."""
    with initreg.open(path, **options) as arrays:
        assert set(arrays) == {"w", *expected}
        assert arrays["w"].read().tolist() == [0, 1, 2]
        for name, (error, says) in expected.items():
            assert says in arrays[name].spec.unreadable
            with pytest.raises(error, match=r"m\.h5") as caught:
                arrays[name].read()
            assert says in str(caught.value)
    target = {"w": np.zeros(3)}
    SmartInit(path, on_unused="ignore", **options).init(target)
    assert target["w"].tolist() == [0, 1, 2]


def test_a_dangling_link(path: Path) -> None:
    """A soft link to nothing is listed, with both of its ends."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["g/a"] = h5py.SoftLink("/nowhere/x")
        file["g/b"] = h5py.SoftLink("a")
    says = "'g/a' is a soft link to '/nowhere/x', which does not exist"
    lost(path, {"g/a": (DamagedFile, says), "g/b": (DamagedFile, "which does not exist")})


def test_soft_links_that_do_not_end(path: Path) -> None:
    """Soft links to each other, or to themselves, are listed."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
        file["c"] = h5py.SoftLink("c")
    says = "which leads through more than 16 others, or back to itself"
    lost(path, dict.fromkeys("abc", (DamagedFile, says)))


@pytest.mark.parametrize("native", [False, True])
def test_external_links(path: Path, other: Path, native: bool) -> None:
    """A link into another file is never followed, nor a soft link that leads through it. Not even
    where h5py may read, and where there is something in this file at the path of the other."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["deep/er"] = h5py.ExternalLink("secret.h5", "/x")
        file["a"] = h5py.SoftLink("/z/x")
        file["z"] = h5py.ExternalLink("secret.h5", "/")
    lost(
        path,
        {
            "deep/er": (RefusedFile, "an external link, to '/x' in the file 'secret.h5'"),
            "a": (DamagedFile, "which leads through a link that initreg does not follow"),
            "z": (RefusedFile, "an external link"),
        },
        native=native,
    )


def test_a_user_defined_link(path: Path) -> None:
    """A link of a class that only some program knows is listed."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["g/a"] = h5py.ExternalLink("x", "/y")
    raw = path.read_bytes()
    # The link message: version 1, flags 8, its class, the length of its name, and that.
    head, found, tail = raw.partition(b"\x01\x08\x40\x01a")
    assert found
    path.write_bytes(head + found.replace(b"\x40", b"\x41") + tail)
    lost(path, {"g/a": (RefusedFile, "'g/a' is a user-defined link (class 65)")})


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("dtype", ["f8", h5py.ref_dtype], ids=["number", "reference"])
def test_values_in_another_file(path: Path, other: Path, native: bool, dtype: str) -> None:
    """A dataset whose values lie in another file is listed with its shape, and h5py may not read
    them either, whatever they are."""
    layout = h5py.VirtualLayout((4,), dtype)
    layout[:] = h5py.VirtualSource(str(other / "secret.h5"), "x", (4,), dtype)
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file.create_dataset("a", (4,), dtype, external=[(str(other / "secret.bin"), 0, 32)])
        file.create_virtual_dataset("b", layout)
    where = f"has its values in another file, {str(other / 'secret.bin')!r}"
    expected = {"a": (RefusedFile, where), "b": (RefusedFile, "dataset 'b' is virtual")}
    lost(path, expected, native=native)
    with initreg.open(path, native=native) as arrays:
        assert arrays["a"].shape == arrays["b"].shape == (4,)


def _parent(file: h5py.File) -> None:
    file["g/v"], file["g/up"] = file["w"], h5py.SoftLink("/g")


def _root(file: h5py.File) -> None:
    file["g/v"], file["g/up"] = file["w"], h5py.SoftLink("/")


def _hard(file: h5py.File) -> None:
    file["g/v"] = file["w"]
    file["g/h"] = file["g"]


def _two_groups(file: h5py.File) -> None:
    file["g/v"] = file["w"]
    file["h/to"], file["g/to"] = h5py.SoftLink("/g"), h5py.SoftLink("/h")


@pytest.mark.parametrize("make", [_parent, _root, _hard, _two_groups])
def test_links_back(path: Path, make: object) -> None:
    """A link to a group around it gives no further names, as any further link to a group, and the
    file is read."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        make(file)  # type: ignore[operator]
    with initreg.open(path) as arrays:
        assert len(arrays) == 1
        (array,) = arrays.values()
        assert {array.name, *array.aliases} == {"w", "g/v"}
        assert array.read().tolist() == [0, 1, 2]


def test_a_type_that_is_not_known(path: Path) -> None:
    """A committed datatype is no array. One that initreg does not read stops nothing."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["type"] = np.dtype("f8")
        file.create_dataset("typed", data=np.ones(2), dtype=file["type"])
        file["odd"] = np.dtype("u1")
    raw = path.read_bytes()
    # The datatype message: version 1 and class 0, no flags, 1 byte, and 8 bits from bit 0.
    head, found, tail = raw.rpartition(b"\x10\0\0\0\1\0\0\0\0\0\x08\0")
    assert found
    path.write_bytes(head + b"\x1f" + found[1:] + tail)
    assert {name: a.tolist() for name, a in initreg.load(path).items()} == {
        "w": [0, 1, 2],
        "typed": [1, 1],
    }


def test_references(path: Path) -> None:
    """References to objects and to regions are listed, and lead nowhere."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file.create_dataset("region", (2,), dtype=h5py.regionref_dtype)
        file["region"][0] = file["w"].regionref[:2]
        file.create_dataset("object", (2,), dtype=h5py.ref_dtype)
        file["object"][0] = file["w"].ref
    lost(path, dict.fromkeys(["region", "object"], (InitregError, "has references")))


def test_a_weight_that_is_elsewhere(path: Path) -> None:
    """A weight that Keras's attributes name, and that is a link out of the file, has that name."""
    with h5py.File(path, "w") as file:
        file["d/w"], file["d/b"] = np.arange(3.0), h5py.ExternalLink("b.h5", "/b")
        file.attrs["layer_names"] = [b"d"]
        file["d"].attrs["weight_names"] = [b"w", b"b"]
    with initreg.open(path) as arrays:
        assert list(arrays) == ["w", "b"]
        assert arrays["w"].read().tolist() == [0, 1, 2]
        assert arrays["b"].aliases == ("d/b",)
        assert "external link" in arrays["b"].spec.unreadable
