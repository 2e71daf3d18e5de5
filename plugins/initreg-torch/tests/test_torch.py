"""Files of ``torch.save`` give the values that ``torch.load`` gives."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import initreg
import ml_dtypes
import numpy as np
import pytest
import torch
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]

NAMES = (
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
DTYPES = {name: getattr(torch, name) for name in NAMES}


def as_numpy(tensor: torch.Tensor) -> Array:
    """The tensor's values by torch alone, of the same dtype."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    name = str(tensor.dtype).removeprefix("torch.")
    if name.startswith(("bfloat", "float8")):
        bits = tensor.view(torch.int16 if tensor.element_size() == 2 else torch.uint8)
        return bits.numpy().view(getattr(ml_dtypes, name))
    return tensor.numpy()


def tensors() -> dict[str, torch.Tensor]:
    """One tensor of each dtype, and views of every kind."""
    torch.manual_seed(0)
    made = {}
    for name, dtype in DTYPES.items():
        made[name] = torch.arange(1, 7).reshape(2, 3).to(dtype)
    base = torch.arange(24.0).reshape(2, 3, 4)
    return made | {
        "größe/übung": torch.full((1, 1), -1.5),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "base": base,
        "tied": base,
        "rows": base[1:],
        "columns": base[:, :, 1:3],
        "transposed": base.permute(2, 1, 0),
        "permuted": base.permute(1, 0, 2),
        "steps": base[:, ::2],
        "expanded": torch.ones(1, 3).expand(5, 3),
        "diagonal": torch.arange(9.0).reshape(3, 3).diagonal(),
        "conjugate": torch.tensor([1 + 2j, 3 - 1j]).conj(),
        "negative": torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
        "channels_last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "of one": torch.arange(4.0).reshape(1, 4).t(),
    }


def expected(found: dict[str, torch.Tensor]) -> dict[str, Array]:
    return {name: as_numpy(each) for name, each in found.items()}


def repacked(path: Path) -> Path:
    """The same archive with every member deflated, as a zip tool would pack it."""
    into = path.with_name("repacked.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return into


def in_parts(folder: Path) -> Sample:
    """Two files and their index, as transformers writes them."""
    folder.mkdir()
    found = {"a.weight": torch.arange(6.0).reshape(2, 3), "b.weight": torch.ones(4)}
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for name, (key, tensor) in zip(names, found.items(), strict=True):
        torch.save({key: tensor}, folder / name)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(found, names, strict=True))}))
    parts = [folder / name for name in names]
    return Sample(index, expected(found), files=[index, *parts], parts=parts)


class TestTorch(FormatContract):
    """The kit: every dtype and every kind of view, in each kind of file."""

    format = "torch"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Archives, packed ones, and files of before 1.6."""
        found = tensors()
        torch.save(found, folder / "all.pt")
        yield Sample(folder / "all.pt", expected(found))
        yield Sample(repacked(folder / "all.pt"), expected(found))
        older = {k: v for k, v in found.items() if "8_" not in k and k not in ("negative",)}
        torch.save(older, folder / "older.pt", _use_new_zipfile_serialization=False)
        yield Sample(folder / "older.pt", expected(older))
        yield in_parts(folder / "parts")

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A sparse tensor beside a dense one."""
        torch.save({"w": torch.ones(2), "odd": torch.eye(3).to_sparse()}, folder / "odd.pt")
        yield Sample(folder / "odd.pt", {"w": np.ones(2, "f4")}, unreadable=["odd"])


@pytest.mark.parametrize("is_new", [True, False], ids=["archive", "before 1.6"])
def test_a_training_is_read_with_the_keys_on_the_way(tmp_path: Path, is_new: bool) -> None:
    """A checkpoint of a training gives the model's arrays, the optimizer's, and its numbers."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(saved, tmp_path / "m.pth", _use_new_zipfile_serialization=is_new)
    found = initreg.load(tmp_path / "m.pth")
    for name, tensor in model.state_dict().items():
        assert same(found[f"model/{name}"], as_numpy(tensor)), name
    for number, state in optimizer.state_dict()["state"].items():
        assert same(found[f"optimizer/state/{number}/exp_avg"], as_numpy(state["exp_avg"]))
    assert (found["epoch"].dtype, found["epoch"].item()) == (np.int64, 3)
    assert found["optimizer/param_groups/0/lr"].item() == 0.001
    with initreg.open(tmp_path / "m.pth") as arrays:
        assert list(arrays.parameters or ()) == [f"model/{name}" for name in model.state_dict()]


@pytest.mark.parametrize("is_new", [True, False], ids=["archive", "before 1.6"])
def test_a_module_that_was_pickled_has_the_names_of_its_state_dict(
    tmp_path: Path, is_new: bool
) -> None:
    """``torch.save(model)`` gives what ``model.state_dict()`` has, without its classes."""
    model = torch.nn.Module()
    model.body = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)])
    model.register_buffer("kept", torch.ones(2))
    model.register_buffer("passing", torch.zeros(2), persistent=False)
    model.tied = model.body[0]
    torch.save(model, tmp_path / "m.pt", _use_new_zipfile_serialization=is_new)
    found = initreg.load(tmp_path / "m.pt")
    wanted = expected(model.state_dict())
    assert list(found) == list(wanted)
    assert all(same(found[name], array) for name, array in wanted.items())
    torch.save({"net": model}, tmp_path / "n.pt", _use_new_zipfile_serialization=is_new)
    assert list(initreg.load(tmp_path / "n.pt")) == [f"net/{name}" for name in wanted]


def test_torchscript_is_read(tmp_path: Path) -> None:
    """An archive of TorchScript gives what its module's ``state_dict()`` has."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).eval()
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(model, torch.rand(2, 3)).save(str(tmp_path / "m.pt"))
    found = initreg.load(tmp_path / "m.pt")
    wanted = expected(model.state_dict())
    for name in wanted.keys() - {"1.num_batches_tracked"}:
        assert same(found[name], wanted[name]), name


def test_tensors_without_plain_values_are_listed_with_the_reason(tmp_path: Path) -> None:
    """Sparse, quantised and meta tensors and strangers' objects are listed; the rest is read."""
    saved = {
        "w": torch.ones(2),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, device="meta"),
        "args": argparse.Namespace(lr=0.1),
        "note": "a text is not an array",
        "nothing": None,
    }
    torch.save(saved, tmp_path / "m.pt")
    with initreg.open(tmp_path / "m.pt") as arrays:
        assert list(arrays) == ["w", "sparse", "meta", "args"]
        assert arrays["sparse"].shape == (3, 3)
        for name, reason in {
            "sparse": r"m\.pt: array 'sparse' cannot be read: it is sparse.*to_dense",
            "meta": "saved from the device 'meta'",
            "args": r"an object of argparse\.Namespace, which initreg does not make",
        }.items():
            with pytest.raises(initreg.InitregError, match=reason):
                arrays[name].read()
        assert same(arrays["w"].read(), np.ones(2, "f4"))


def test_arrays_and_numbers_of_numpy_are_read(tmp_path: Path) -> None:
    """What numpy pickles beside tensors has its values, in either order of bytes and axes."""
    saved = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype="i2").reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
        "number": np.float32(1.5),
        "flags": np.array([True, False]),
        "texts": np.array(["a", "b"]),
        "objects": np.array([None, 1], object),
    }
    torch.save(saved, tmp_path / "m.pt")
    with initreg.open(tmp_path / "m.pt") as arrays:
        for name in ("plain", "fortran", "number", "flags"):
            assert same(arrays[name].read(), np.asarray(saved[name])), name
        assert arrays["big"].read().tolist() == [0, 1, 2]
        for name in ("texts", "objects"):
            with pytest.raises(initreg.InitregError, match="array of objects, texts or records"):
                arrays[name].read()


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    """``set_crc32_options(False)`` leaves zeros where the checksums are."""
    from torch.serialization import set_crc32_options

    set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(5.0)}, tmp_path / "m.pt")
    finally:
        set_crc32_options(True)
    assert initreg.load(tmp_path / "m.pt")["w"].tolist() == [0, 1, 2, 3, 4]


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    """A tensor that fills its storage is compared with the archive's checksum."""
    torch.save({"w": torch.full((100,), 1.5)}, tmp_path / "m.pt")
    data = bytearray((tmp_path / "m.pt").read_bytes())
    at = data.index(np.full(100, 1.5, "f4").tobytes())
    data[at] ^= 1
    (tmp_path / "m.pt").write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match="'w'"):
        initreg.load(tmp_path / "m.pt")


def test_a_set_of_parts_is_opened_by_its_index(tmp_path: Path) -> None:
    """The index of transformers, and the folder that holds it, give the arrays of all parts."""
    parts = {"a.bin": {"x": torch.ones(2)}, "b.bin": {"y": torch.zeros(3), "z": torch.ones(1)}}
    places = {}
    for part, found in parts.items():
        torch.save(found, tmp_path / part)
        places |= dict.fromkeys(found, part)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": places}))
    for source in (index, tmp_path):
        assert {name: a.tolist() for name, a in initreg.load(source).items()} == {
            "x": [1, 1],
            "y": [0, 0, 0],
            "z": [1],
        }
    index.write_text(json.dumps({"weight_map": places | {"y": "a.bin"}}))
    with pytest.raises(initreg.DamagedFile, match=r"array 'y'.*different saves"):
        initreg.open(index)
    index.write_text(json.dumps({"weight_map": places | {"y": "../b.bin"}}))
    with pytest.raises(initreg.RefusedFile, match="not a plain file name"):
        initreg.open(index)
    index.write_text(json.dumps({"weight_map": places}))
    (tmp_path / "b.bin").unlink()
    with pytest.raises(initreg.DamagedFile, match=r"part b\.bin is missing"):
        initreg.open(index)


def test_what_is_only_named_like_one_says_what_it_is(tmp_path: Path) -> None:
    """A pointer of git-lfs, a web page, an archive of 0.1 and rubbish are told apart."""
    path = tmp_path / "m.pth"
    for data, words in {
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "git-lfs pointer",
        b"<!DOCTYPE html><html>": "HTML page",
        b"\0" * 257 + b"ustar\0" + b"\0" * 300: "before version 0.2",
        b"rubbish!": "is not a file of torch.save",
    }.items():
        path.write_bytes(data)
        with pytest.raises(initreg.InitregError, match=words):
            initreg.open(path)


def test_no_torch_is_imported(tmp_path: Path) -> None:
    """Reading needs numpy alone: torch, and the modules that the pickle names, stay unimported."""
    torch.save({"w": torch.ones(2), "m": torch.nn.Linear(2, 2)}, tmp_path / "m.pt")
    code = (
        "import sys, initreg; found = initreg.load('m.pt'); "
        "assert found['w'].tolist() == [1, 1], found; "
        "assert not any(n.split('.')[0] == 'torch' for n in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("other", ["tf_model.h5", "flax_model.msgpack"])
def test_a_folder_in_several_formats_is_not_guessed(tmp_path: Path, other: str) -> None:
    """Another framework's copy may differ. The error names both files, and each opens alone."""
    if other == "tf_model.h5":
        initreg.save(tmp_path / other, {"w": np.zeros(2, "f4")})
    else:
        pytest.importorskip("initreg_jax", reason="initreg-jax claims the other file")
        content = b"\x93\x91\x02\xa7float32\xc4\x08" + bytes(8)
        (tmp_path / other).write_bytes(b"\x81\xa1w\xc7" + bytes([len(content), 1]) + content)
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(initreg.AmbiguousSource) as caught:
        initreg.open(tmp_path)
    for name, value in (("pytorch_model.bin", 1), (other, 0)):
        assert f"{tmp_path}/{name}" in str(caught.value)
        assert initreg.load(tmp_path / name)["w"].tolist() == [value, value]


def test_the_index_of_a_variant(tmp_path: Path) -> None:
    """diffusers puts the name of a variant before .json."""
    name = "diffusion_pytorch_model.bin.index.fp16.json"
    part = "diffusion_pytorch_model.fp16-00001-of-00001.bin"
    torch.save({"w": torch.ones(2)}, tmp_path / part)
    (tmp_path / name).write_text(json.dumps({"weight_map": {"w": part}}))
    for source in (tmp_path / name, tmp_path):
        assert initreg.load(source)["w"].tolist() == [1, 1]
