"""GGUF files, as ``gguf.GGUFWriter`` writes them, come back bit for bit."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import initreg
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]

DTYPES = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8)
QUANTISED = (Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0)


def write(
    path: Path,
    tensors: Mapping[str, Array],
    packed: Mapping[str, tuple[Array, Kind]] | None = None,
    alignment: int | None = None,
    endian: gguf.GGUFEndian = gguf.GGUFEndian.LITTLE,
) -> Path:
    """Write a file with a few metadata fields; ``packed`` are the bytes of block types."""
    writer = gguf.GGUFWriter(path, "test", endianess=endian)
    writer.add_block_count(1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "größe", ""])
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    for name, (data, kind) in (packed or {}).items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain() -> dict[str, Array]:
    """One array of each plain dtype, and those of unusual shapes."""
    rng = np.random.default_rng(0)
    arrays = {np.dtype(d).name: rng.integers(0, 100, (3, 4)).astype(d) for d in DTYPES}
    arrays["blk.0.attn_q.weight"] = rng.standard_normal((2, 3, 4)).astype(np.float32)
    arrays["größe"] = np.full((1, 1), -1.5, np.float32)
    arrays["scalar"] = np.array(2.5, np.float32)
    return arrays


def test_key_value_pairs_are_metadata(tmp_path: Path) -> None:
    """Texts and numbers are, as text. Lists are left out, and so is what is no pair of the file."""
    path = write(tmp_path / "m.gguf", plain(), alignment=64)
    expected = {"general.architecture": "test", "test.block_count": "1", "general.alignment": "64"}
    with initreg.open(path) as arrays:
        assert arrays.metadata == expected
    with initreg.open(initreg.convert(path, tmp_path / "m.safetensors")) as arrays:
        assert arrays.metadata == expected


class TestGguf(FormatContract):
    """The kit: plain tensors, bfloat16, and every block type that gguf can write."""

    format = "gguf"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """A file of plain tensors, one of another alignment, one of block types."""
        yield Sample(write(folder / "plain.gguf", plain()), plain())
        yield Sample(write(folder / "aligned.gguf", plain(), alignment=64), plain())
        values = np.linspace(-2, 2, 5 * 64, dtype=np.float32).reshape(5, 64)
        packed = {kind.name: (gguf.quantize(values, kind), kind) for kind in QUANTISED}
        expected = {name: gguf.dequantize(*value) for name, value in packed.items()}
        half = values.astype(ml_dtypes.bfloat16)
        packed["bf16"] = (half.view(np.uint8), Kind.BF16)
        expected["bf16"] = half
        yield Sample(write(folder / "packed.gguf", {}, packed), expected)


def split(folder: Path, count: int = 3, stem: str = "m") -> list[Path]:
    """A model in several files, as llama.cpp's gguf-split names and numbers them."""
    paths = [folder / f"{stem}-{n + 1:05d}-of-{count:05d}.gguf" for n in range(count)]
    for n, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "test")
        writer.add_uint16("split.no", n)
        writer.add_uint16("split.count", count)
        writer.add_int32("split.tensors.count", count)
        writer.add_tensor(f"t{n}", np.full((2, 32), n, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


class TestSplitGguf(FormatContract):
    """The kit: three files, by one of them and by their folder."""

    format = "gguf"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """One tensor in each file."""
        (folder / "split").mkdir()
        paths = split(folder / "split")
        arrays = {f"t{n}": np.full((2, 32), n, np.float32) for n in range(3)}
        yield Sample(paths[1], arrays, paths, paths)
        yield Sample(folder / "split", arrays, paths, paths)


def test_a_part_under_another_name_is_refused(tmp_path: Path) -> None:
    """What the file says counts, and the error says which names are expected."""
    first, second, _ = split(tmp_path)
    second.rename(tmp_path / "model.gguf")
    with pytest.raises(initreg.DamagedFile, match=r"part 2 of 3.*model-00002-of-00003\.gguf"):
        initreg.open(tmp_path / "model.gguf")
    second.write_bytes(first.read_bytes())  # part 1 under the name of part 2
    with pytest.raises(initreg.DamagedFile, match="part 1 of 3"):
        initreg.open(second)


def test_a_file_that_is_written_to_is_noticed(tmp_path: Path) -> None:
    """A quantised tensor is not read from a file that changed after it was listed."""
    values = np.linspace(-2, 2, 64, dtype=np.float32).reshape(2, 32)
    path = write(tmp_path / "m.gguf", {}, {"w": (gguf.quantize(values, Kind.Q8_0), Kind.Q8_0)})
    with initreg.open(path) as arrays:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"x")
        with pytest.raises(initreg.DamagedFile, match="written to"):
            np.asarray(arrays["w"])


def test_shape_is_numpys_and_not_the_files(tmp_path: Path) -> None:
    """The file begins with the innermost axis; initreg gives the array that was written."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write(tmp_path / "m.gguf", {"w": array})
    assert gguf.GGUFReader(path).tensors[0].shape.tolist() == [3, 2]
    with initreg.open(path) as arrays:
        assert arrays["w"].shape == (2, 3)
        assert same(arrays["w"].read(), array)


def test_quantised_tensors_are_float32_of_the_logical_shape(tmp_path: Path) -> None:
    """Q8_0 keeps small integers exactly, and its shape and dtype are known before it is
    unpacked."""
    values = np.arange(-64, 64, dtype=np.float32).reshape(2, 64)
    values[:, 0] = 127  # the block's largest value, so that its scale is 1
    values[:, 32] = 127
    path = write(tmp_path / "q.gguf", {}, {"w": (gguf.quantize(values, Kind.Q8_0), Kind.Q8_0)})
    with initreg.open(path) as arrays:
        assert (arrays["w"].shape, str(arrays["w"].dtype)) == ((2, 64), "float32")
        assert same(arrays["w"].read(), values)


def test_big_endian_file_is_read(tmp_path: Path) -> None:
    """A file written for big-endian machines gives the same arrays."""
    path = write(tmp_path / "big.gguf", plain(), endian=gguf.GGUFEndian.BIG)
    found = initreg.load(path)
    assert all(same(found[name], array) for name, array in plain().items())
    assert dict(initreg.probe(path).claims)["gguf"].reason == (
        "begins with 'GGUF', version 3, big-endian"
    )


def test_big_endian_blocks_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """A block that gguf would unpack wrongly is refused."""
    data = gguf.quantize(np.ones((2, 32), np.float32), Kind.Q8_0)
    big = gguf.GGUFEndian.BIG
    path = write(tmp_path / "big.gguf", {}, {"w": (data, Kind.Q8_0)}, endian=big)
    with pytest.raises(initreg.DamagedFile, match=r"'w' is Q8_0 .*gguf-convert-endian FILE little"):
        initreg.open(path)


@pytest.mark.parametrize("field", [8, 16])
@pytest.mark.parametrize("count", [2**63, 2**40, 10**6])
def test_counts_beyond_the_file_are_refused(tmp_path: Path, field: int, count: int) -> None:
    """A header that promises more tensors or fields than the file can hold is refused at once."""
    path = write(tmp_path / "m.gguf", plain())
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, field, count)
    path.write_bytes(data)
    with pytest.raises(
        initreg.DamagedFile, match=f"m.gguf: not a complete GGUF file of {len(data):,}"
    ):
        initreg.open(path)


def test_array_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    """A metadata array of 2**62 elements is not looped over."""
    path = write(tmp_path / "m.gguf", {})
    data = path.read_bytes()
    at = data.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 4 + 4
    path.write_bytes(data[:at] + struct.pack("<Q", 2**62) + data[at + 8 :])
    with pytest.raises(initreg.DamagedFile, match="something ends at byte"):
        initreg.open(path)


def test_offset_that_wraps_around_is_refused(tmp_path: Path) -> None:
    """A tensor's offset just below 2**64 does not lead back into the header."""
    path = write(tmp_path / "m.gguf", {"w": np.ones(4, np.float32)})
    data = path.read_bytes()
    at = data.index(b"\x01\x00\x00\x00\x04") + 4 + 8 + 4  # after n_dims, the dims and the type
    assert data[at : at + 8] == bytes(8)
    path.write_bytes(data[:at] + struct.pack("<Q", 2**64 - 32) + data[at + 8 :])
    with pytest.raises(initreg.DamagedFile, match="not a complete GGUF file"):
        initreg.open(path)


def test_unknown_version_is_named(tmp_path: Path) -> None:
    """Version 1, which no reader knows any more, is named as such."""
    path = write(tmp_path / "m.gguf", {})
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack("<I", 1) + data[8:])
    with pytest.raises(initreg.DamagedFile, match=r"GGUF version 1\. initreg reads versions 2 and"):
        initreg.open(path)


def test_type_that_gguf_cannot_unpack_says_so(tmp_path: Path) -> None:
    """A block type without an unpacker is listed, and names the remedy when it is read."""
    raw = np.zeros((2, 40), np.uint8)  # two rows of one Q8_1 block
    path = write(tmp_path / "m.gguf", {}, {"w": (raw, Kind.Q8_1)})
    with initreg.open(path) as arrays:
        assert arrays["w"].shape == (2, 32)
        with pytest.raises(initreg.InitregError, match=r"unpack Q8_1\. pip install --upgrade gguf"):
            arrays["w"].read()


# --- the rows that llama.cpp permutes -----------------------------------------------------------

README = Path(__file__).parents[1] / "README.md"
HEADS, KV_HEADS, HEAD, INPUTS = 32, 8, 6, 4096


def permuted(weights: Array, heads: int) -> Array:
    """What the converter of llama.cpp does to the rows of queries and keys: ``permute`` of the
    class LlamaModel in its conversion/llama.py."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


@pytest.fixture
def llama_rows(tmp_path: Path) -> Path:
    """The rule file of the README."""
    [text] = re.findall(r"^```toml\n(# llama-rows.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    path = tmp_path / "llama-rows.toml"
    path.write_text(text)
    return path


def test_permuted_rows_are_undone_by_the_rule_of_the_readme(
    tmp_path: Path, llama_rows: Path
) -> None:
    """Rows are where Hugging Face's model has them, for queries and for fewer heads of keys."""
    rng = np.random.default_rng(0)
    q, k = (rng.normal(size=(heads * HEAD, INPUTS)).astype("f4") for heads in (HEADS, KV_HEADS))
    stored = {
        "blk.0.attn_q.weight": permuted(q, HEADS),
        "blk.0.attn_k.weight": permuted(k, KV_HEADS),
        "blk.0.attn_v.weight": k,
    }
    path = write(tmp_path / "m.gguf", stored)
    found = initreg.load(path, rules=llama_rows)
    for name, expected in zip(stored, (q, k, k), strict=True):
        assert same(found[name], expected)
    assert not same(initreg.load(path)["blk.0.attn_q.weight"], q)
    initreg.save(tmp_path / "tuned.npz", found)
    initreg.convert(tmp_path / "tuned.npz", tmp_path / "back.npz", rules=llama_rows, reverse=True)
    for name, array in initreg.load(tmp_path / "back.npz").items():
        assert same(array, stored[name])


def test_permuted_rows_of_quantised_tensors(tmp_path: Path, llama_rows: Path) -> None:
    """Blocks lie within a row, so rows can be moved after they are unpacked."""
    q = np.random.default_rng(1).normal(size=(HEADS * HEAD, INPUTS)).astype("f4")
    k = q[: KV_HEADS * HEAD]
    packed = {
        "blk.0.attn_q.weight": (gguf.quantize(permuted(q, HEADS), Kind.Q8_0), Kind.Q8_0),
        "blk.0.attn_k.weight": (gguf.quantize(permuted(k, KV_HEADS), Kind.Q8_0), Kind.Q8_0),
    }
    found = initreg.load(write(tmp_path / "m.gguf", {}, packed), rules=llama_rows)
    for name, expected in zip(packed, (q, k), strict=True):
        unpacked = gguf.dequantize(gguf.quantize(expected, Kind.Q8_0), Kind.Q8_0)
        assert same(found[name], unpacked)


def test_the_architectures_in_the_readme_are_those_of_gguf() -> None:
    """Each name that the page lists is one of llama.cpp's."""
    section = README.read_text("utf-8").partition("## Permuted rows")[2].partition("\n```toml")[0]
    listed = set(re.findall(r"`([a-z0-9-]+)`", section)) - {"gguf-dump", "mmproj", "conversion"}
    known = set(gguf.MODEL_ARCH_NAMES.values())
    assert {"llama", "granite", "qwen2"} <= listed
    assert {name for name in listed - known if not name.startswith("attn")} <= {"nanbeige"}
