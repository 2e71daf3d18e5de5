"""GGUF files, as ``gguf.GGUFWriter`` writes them, come back bit for bit."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping
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

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A tensor of a type that gguf does not know, beside one that it does."""
        path = folder / "m.gguf"
        both = [tensor("new", (32,), 99), tensor("w", (2,), Kind.F32)]
        path.write_bytes(header((), both, struct.pack("<2f", 1, 2)))
        yield Sample(path, {"w": np.array([1, 2], np.float32)}, unreadable=["new"])


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


# --- reordered rows -------------------------------------------------------------------------------


def llama(path: Path, architecture: str, **more: Any) -> Path:
    """A file of an architecture, with one block. ``more``: of its key-value pairs."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in more.items():
        add = writer.add_uint32 if isinstance(value, int) else writer.add_string
        add(key.replace("__", "."), value)
    for name in ("q", "k", "v"):
        writer.add_tensor(f"blk.0.attn_{name}.weight", np.ones((8, 8), np.float32))
    writer.add_tensor("v.blk.0.attn_q.bias", np.ones(8, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reordered_rows_are_told_with_the_rules_that_undo_it(tmp_path: Path) -> None:
    """The numbers of heads are those of the file, and words in capitals if it does not say them."""
    counts = {"llama__attention__head_count": 4, "llama__attention__head_count_kv": 2}
    path = llama(tmp_path / "m.gguf", "llama", llama__embedding_length=8, **counts)
    with initreg.open(path) as arrays:
        told = arrays.reordered
    assert sorted(told) == ["blk.0.attn_k.weight", "blk.0.attn_q.weight"]
    assert "reshape to [4, -1, 2, 8], permute by [0, 2, 1, 3]" in told["blk.0.attn_q.weight"]
    assert "reshape to [2, -1, 2, 8]" in told["blk.0.attn_k.weight"]
    with initreg.open(llama(tmp_path / "m2.gguf", "granite")) as arrays:
        assert "[HEADS, -1, 2, INPUTS]" in arrays.reordered["blk.0.attn_k.weight"]


def test_rows_of_others_are_as_in_hugging_faces_files(tmp_path: Path) -> None:
    """Nothing is said of them, but of the queries and keys of Pixtral's images."""
    for architecture in ("qwen2", "phi3", "gemma", "clip"):
        with initreg.open(llama(tmp_path / f"{architecture}.gguf", architecture)) as arrays:
            assert arrays.reordered == {}
    path = llama(tmp_path / "m.gguf", "clip", clip__projector_type="pixtral")
    with initreg.open(path) as arrays:
        assert list(arrays.reordered) == ["v.blk.0.attn_q.bias"]
        assert "reshape to [HEADS, -1, 2], permute by [0, 2, 1]" in str(arrays.reordered)


def test_map_asks_for_the_order_of_rows(tmp_path: Path) -> None:
    """Both readings are said. Rules that undo it answer, and so do axes in their own order."""
    path = llama(tmp_path / "m.gguf", "llama")
    target = {f"attn_{name}/kernel": np.zeros((8, 8), "f4") for name in "qkv"}
    found = initreg.map(path, target, drop="v.*")
    assert {each.variable for each in found.variables} == {"attn_v/kernel"}
    assert [len(each.variables) for each in found.open] == [2]
    assert "# OPEN: llama.cpp stores the rows of each head in another order" in str(found)
    names = "blk.*.attn_[qk].weight"
    assert initreg.map(path, target, drop="v.*", permute={names: (0, 1)}).is_complete
    still = initreg.map(path, target, drop="v.*", cast="float16")  # says nothing of rows
    assert not still.is_complete


def test_the_first_part_says_it_of_all(tmp_path: Path) -> None:
    """The architecture is in the first file, and the tensors may be in any."""
    for number in range(2):
        writer = gguf.GGUFWriter(tmp_path / f"m-{number + 1:05d}-of-00002.gguf", "llama")
        if number:
            del writer.kv_data[0]["general.architecture"]
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        name = f"blk.{number}.attn_q.weight"
        writer.add_tensor(name, np.ones((8, 8), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    with initreg.open(tmp_path) as arrays:
        assert list(arrays.reordered) == ["blk.0.attn_q.weight", "blk.1.attn_q.weight"]


def test_the_readme_lists_the_architectures() -> None:
    """Those that the module has, in its order."""
    from initreg_gguf.rows import ARCHITECTURES

    section = (
        README.read_text("utf-8").partition("It is so in files")[2].partition("In files of")[0]
    )
    listed = set(re.findall(r"`([a-z0-9-]+)`", section)) - {"gguf-dump"}
    assert listed == ARCHITECTURES


def test_the_architectures_in_the_readme_are_those_of_gguf() -> None:
    """Each name that the page lists is one of llama.cpp's."""
    section = README.read_text("utf-8").partition("## Permuted rows")[2].partition("\n```toml")[0]
    listed = set(re.findall(r"`([a-z0-9-]+)`", section)) - {"gguf-dump", "mmproj", "conversion"}
    known = set(gguf.MODEL_ARCH_NAMES.values())
    assert {"llama", "granite", "qwen2"} <= listed
    assert {name for name in listed - known if not name.startswith("attn")} <= {"nanbeige"}


def header(pairs: Iterable[bytes] = (), tensors: Iterable[bytes] = (), data: bytes = b"") -> bytes:
    """A file of version 3 with these key-value pairs, tensors and bytes of tensors."""
    pairs, tensors = [*pairs], [*tensors]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return head + bytes(-len(head) % 32) + data


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(name: str, axes: tuple[int, ...], kind: int, at: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, kind, at)


def test_quantised_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """A small file cannot fill the memory with one quantised tensor under many names."""
    path = tmp_path / "m.gguf"
    blocks = 100_000
    one = [tensor(f"w{n}", (32, blocks), Kind.Q8_0) for n in range(200)]
    path.write_bytes(header((), one, bytes(34 * blocks)))
    with pytest.raises(initreg.DamagedFile, match=r"680,000,000 bytes of the file, .*They overlap"):
        initreg.open(path)
    path.write_bytes(header((), one[:2], bytes(34 * blocks)))  # tied weights may
    assert [array.shape for array in initreg.load(path).values()] == [(blocks, 32)] * 2


def test_a_vocabulary_takes_no_memory(tmp_path: Path) -> None:
    """Lists are skipped, element by element, so that opening takes less than the file."""
    path = tmp_path / "m.gguf"
    words = struct.pack("<IIQ", 9, 8, 200_000) + text("word") * 200_000
    path.write_bytes(header([text("tokens") + words]))
    tracemalloc.start()
    try:
        initreg.open(path).close()
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size
    finally:
        tracemalloc.stop()


def test_lists_in_lists_are_skipped(tmp_path: Path) -> None:
    """Eight levels are, and what follows them is found; more are refused."""
    path = tmp_path / "m.gguf"
    inner = struct.pack("<IQHH", 2, 2, 1, 2)
    for depth in range(100):
        nested = text("list") + struct.pack("<I", 9) + inner
        path.write_bytes(header([nested, text("after") + struct.pack("<If", 6, 0.5)]))
        if depth > 8:
            with pytest.raises(initreg.DamagedFile, match="lists in each other"):
                initreg.open(path)
            break
        with initreg.open(path) as arrays:
            assert arrays.metadata == {"after": "0.5"}
        inner = struct.pack("<IQ", 9, 1) + inner
    assert depth == 9


def test_an_unknown_type_leaves_the_other_tensors_usable(tmp_path: Path) -> None:
    """A type that a newer gguf may know is listed with the reason."""
    path = tmp_path / "m.gguf"
    both = [tensor("new", (32,), 99), tensor("w", (2,), Kind.F32)]
    path.write_bytes(header((), both, struct.pack("<2f", 1, 2)))
    with initreg.open(path) as arrays:
        assert arrays["w"].read().tolist() == [1, 2]
        (spec,) = (spec for spec in arrays.specs() if spec.name == "new")
        assert (spec.shape, str(spec.dtype)) == ((32,), "type 99")
        assert "type 99, which this version of gguf does not know" in str(spec.unreadable)
        with pytest.raises(initreg.InitregError, match="pip install --upgrade gguf"):
            arrays["new"].read()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header((), [tensor("w", (2,), 0)] * 2, bytes(8)), "two tensors are called 'w'"),
        (header([text("k") + struct.pack("<IB", 7, 1)] * 2), "it has the key 'k' twice"),
        (header([text("k") + struct.pack("<I", 77)]), "a value of the unknown type 77"),
        (header([text("general.alignment") + struct.pack("<II", 4, 7)]), "alignment 7, which is"),
        (header((), [tensor("w", (1,) * 65, 0)], bytes(4)), "a tensor of 65 axes"),
        (header((), [tensor("w", (2**40, 2**40), 0)]), "has the impossible shape"),
        (header((), [tensor("w", (33,), 2)], bytes(64)), "is Q4_0, whose rows are multiples of 32"),
        (
            header((), [tensor("w", (3,), 0)], bytes(8)),
            "not a complete GGUF .*'w' ends at byte 76",
        ),
        (header([struct.pack("<Q", 2) + b"\xff\xfe" + bytes(5)]), "a name that is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    """Each error says what was found, and only a short file is called incomplete."""
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(initreg.InitregError, match=message) as caught:
        initreg.open(path)
    assert ("not a complete" in str(caught.value)) == ("not a complete" in message)
