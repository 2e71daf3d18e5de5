"""What a safetensors file says beside its arrays: it is read, kept, merged, added to and shown."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import initreg
from initreg import Confidence, InitregError, MetadataWarning, Source
from initreg.cli import main
from initreg_formats import safetensors as plugin

GIVEN = {"format": "pt", "license": "mit", "größe": "模型\n", "": ""}


def write(path: Path, header: bytes | dict[str, Any], body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def of(path: Path) -> dict[str, str] | None:
    """What the reference library says of a file."""
    with safetensors.safe_open(path, "np") as file:
        found: dict[str, str] | None = file.metadata()
        return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({"w": np.ones(4, "f4"), "b": np.zeros(4, "f4")}, path, GIVEN)
    return path


# --- headers that begin with blanks ---------------------------------------------------------------

ENTRY = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize("after", [b"", b" ", b"\n\t\r ", b" " * 9000])
@pytest.mark.parametrize("before", [b"", b" ", b"\n", b"\t", b"\r\n", b" " * 4087, b"\t" * 9000])
def test_blanks_around_the_header(tmp_path: Path, before: bytes, after: bytes) -> None:
    """What JSON allows before and after an object is allowed, whatever the file is called."""
    path = write(tmp_path / "m.bin", before + ENTRY + after, np.array([1, 2], "<f4").tobytes())
    assert safetensors.numpy.load_file(path)["w"].tolist() == [1, 2]
    assert initreg.probe(path).winner == "safetensors"
    assert initreg.load(path)["w"].tolist() == [1, 2]


VERDICTS = {
    "vertical tab": b"\v" + ENTRY,
    "form feed": b"\f" + ENTRY,
    "NUL": b"\0" + ENTRY,
    "byte order mark": b"\xef\xbb\xbf" + ENTRY,
    "no-break space": "\N{NO-BREAK SPACE}".encode() + ENTRY,
    "NUL after it": ENTRY + b"\0",
    "object after it": ENTRY + b"{}",
    "metadata null": b'{"__metadata__":null,' + ENTRY[1:],
    "metadata empty": b'{"__metadata__":{},' + ENTRY[1:],
    "metadata alone": b'{"__metadata__":{"a":"b"},' + ENTRY[1:],
    "metadata last": ENTRY[:-1] + b',"__metadata__":{"a":"b"}}',
    "metadata twice": b'{"__metadata__":{},"__metadata__":{},' + ENTRY[1:],
    "metadata of null": b'{"__metadata__":{"a":null},' + ENTRY[1:],
    "metadata of numbers": b'{"__metadata__":{"a":1},' + ENTRY[1:],
    "metadata of NaN": b'{"__metadata__":{"a":NaN},' + ENTRY[1:],
    "metadata in a list": b'{"__metadata__":[],' + ENTRY[1:],
    "metadata not Unicode": b'{"__metadata__":{"a":"\\ud800"},' + ENTRY[1:],
    "another field": ENTRY.replace(b'"shape"', b'"more":{"x":1},"shape"'),
    "a field twice": ENTRY.replace(b'"shape"', b'"shape":[2],"shape"'),
    "no field": ENTRY.replace(b'"shape":[2],', b""),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_of_the_reference(tmp_path: Path, case: str) -> None:
    """What the reference library reads is read, to the same metadata, and nothing else is."""
    path = write(tmp_path / "m.safetensors", VERDICTS[case], bytes(8))
    try:
        expected = of(path)
    except safetensors.SafetensorError:
        with pytest.raises(initreg.DamagedFile, match=r"m\.safetensors"):
            initreg.open(path)
    else:
        with initreg.open(path) as arrays:
            assert list(arrays) == ["w"]
            assert arrays.metadata == (expected or {})


@pytest.mark.parametrize(
    "header",
    [ENTRY[:-1] + b"," + ENTRY[1:], b'{"__metadata__":{"a":"1","a":"2"},' + ENTRY[1:]],
)
def test_what_is_said_twice_is_refused(tmp_path: Path, header: bytes) -> None:
    """The reference takes the last of two arrays, or values, of one name. This is documented."""
    path = write(tmp_path / "m.safetensors", header, bytes(8))
    assert of(path) in (None, {"a": "2"})
    with pytest.raises(initreg.DamagedFile, match="occurs twice"):
        initreg.open(path)


# --- reading --------------------------------------------------------------------------------------


def test_it_is_read_only_and_lazy(file: Path, tmp_path: Path) -> None:
    """A mapping of str to str, also of a map with rules, and after closing."""
    with initreg.open(file) as arrays:
        assert arrays.metadata == GIVEN == of(file)
        assert isinstance(arrays.metadata, MappingProxyType)
        with pytest.raises(TypeError):
            arrays.metadata["x"] = "y"  # type: ignore[index]
        assert arrays.drop("b").prefix("net/").metadata == GIVEN
    assert arrays.metadata == GIVEN


@pytest.mark.parametrize("ending", [".npz", ".h5", ".ckpt"])
def test_formats_without_metadata_have_none(tmp_path: Path, ending: str) -> None:
    """The mapping is empty, and so it is for a dict."""
    path = initreg.save(tmp_path / f"m{ending}", {"w": np.ones(2)})
    assert initreg.open(path).metadata == initreg.open({"w": np.ones(2)}).metadata == {}


# --- saving ---------------------------------------------------------------------------------------


def test_convert_keeps_it(file: Path, tmp_path: Path) -> None:
    """With rules, and with more and other values that the user gives. Those win without a word."""
    path = initreg.convert(file, tmp_path / "n.safetensors", cast="float16", drop="b")
    assert of(path) == GIVEN
    more = {"license": "gpl", "by": "me"}
    path = initreg.convert(file, tmp_path / "n.safetensors", metadata=more)
    assert of(path) == {**GIVEN, **more}
    with initreg.open(file) as arrays:
        assert of(initreg.save(tmp_path / "o.safetensors", arrays, metadata={"a": "="})) == {
            **GIVEN,
            "a": "=",
        }


def test_save_takes_it(tmp_path: Path) -> None:
    """The reference library reads what was given. Without any, there is none."""
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.ones(2)}, metadata=GIVEN)
    assert of(path) == GIVEN
    assert of(initreg.save(path, {"w": np.ones(2)})) is None


def test_dump_takes_it(tmp_path: Path) -> None:
    """As convert does."""
    source = initreg.save(tmp_path / "m.ckpt", {"w": np.ones(2)})
    out = tmp_path / "m.safetensors"
    initreg.dump(source, out, inference=True, metadata={"license": "mit"})
    assert of(out) == {"license": "mit"}


@pytest.mark.parametrize(
    "metadata", [{"a": 1}, {1: "a"}, {"a": None}, "a=b", ["a"], {"a": "\ud800"}, {"\ud800": "a"}]
)
def test_what_is_not_text_is_refused(tmp_path: Path, metadata: Any) -> None:
    """The error shows it, and nothing is written."""
    with pytest.raises(InitregError, match=r"metadata="):
        initreg.save(tmp_path / "m.safetensors", {"w": np.ones(2)}, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".npz", ".h5", ".ckpt"])
def test_a_format_without_a_place_for_it(file: Path, tmp_path: Path, ending: str) -> None:
    """Given metadata is refused. What a source has is not kept, with a warning that names it."""
    out = tmp_path / f"out{ending}"
    said = r"no place for metadata\. Leave out metadata, or save as \.safetensors$"
    with pytest.raises(InitregError, match=said):
        initreg.convert(file, out, metadata={"a": "b"})
    assert list(tmp_path.glob("out*")) == []
    with pytest.warns(
        MetadataWarning, match=r"of .*m\.safetensors is not kept.* for it: .*'license'"
    ):
        path = initreg.convert(file, out)
    assert initreg.load(path)["w"].tolist() == [1] * 4


def test_sources_that_differ(file: Path, tmp_path: Path) -> None:
    """The last source wins, with a warning that shows both values, unless one is given."""
    head = initreg.save(tmp_path / "h.safetensors", {"h": np.ones(1)}, metadata={"format": "tf"})
    out = tmp_path / "out.safetensors"
    with pytest.warns(MetadataWarning, match="'format' is 'tf', not 'pt'"):
        initreg.convert([file, head], out)
    assert of(out) == {**GIVEN, "format": "tf"}
    with pytest.warns(MetadataWarning, match="'format' is 'pt', not 'tf'"):
        initreg.convert([head, file], out)
    assert of(out) == GIVEN
    initreg.convert([file, head], out, metadata={"format": "np"})
    assert of(out) == {**GIVEN, "format": "np"}


def test_shards_and_their_index(file: Path, tmp_path: Path) -> None:
    """Each shard has it, and so has the index, where Hugging Face puts it, with the total size."""
    metadata = {"total_size": "mine"}
    path = initreg.convert(file, tmp_path / "s.safetensors", shard_size=16, metadata=metadata)
    content = json.loads(path.read_text())
    assert content["metadata"] == {**GIVEN, "total_size": 32}
    shards = sorted(tmp_path.glob("s-*"))
    assert len(shards) == 2
    assert [of(shard) for shard in shards] == [{**GIVEN, **metadata}] * 2
    with initreg.open(path) as arrays:
        assert arrays.metadata == {**GIVEN, **metadata}
    one = initreg.convert(path, tmp_path / "one.safetensors")
    assert of(one) == {**GIVEN, **metadata}


def test_shards_that_differ(tmp_path: Path) -> None:
    """The last shard wins, with a warning when it is asked for, and not when arrays are read."""
    places = {}
    for i in range(2):
        name = f"m-0000{i + 1}-of-00002.safetensors"
        safetensors.numpy.save_file({f"w{i}": np.ones(1)}, tmp_path / name, {"part": str(i)})
        places[f"w{i}"] = name
    index = tmp_path / "m.safetensors.index.json"
    more = {"total_size": 16, "total_parameters": 2, "note": "of the index", "bad": "\ud800"}
    index.write_text(json.dumps({"metadata": more, "weight_map": places}))
    assert len(initreg.load(index)) == 2
    with initreg.open(index) as arrays:
        with pytest.warns(MetadataWarning, match="'part' is '1', not '0'"):
            found = arrays.metadata
        assert found == arrays.metadata == {"note": "of the index", "part": "1"}


# --- what is shown --------------------------------------------------------------------------------


def test_it_is_shown_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ls, ls --json and probe show it, without control characters. Long values are cut in text."""
    metadata = {"format": "pt", "evil\x1b[31m": "\x9b\u202e", "long": "x" * 5000}
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.ones(2, "f4")}, metadata=metadata)
    assert main(["ls", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:6] == ["metadata", "  format: pt", r"  evil\x1b[31m: \x9b\u202e"]
    assert lines[6].startswith("  long: xxx")
    assert len(lines[6]) < 500
    assert main(["ls", str(path), "--metadata"]) == 0
    assert f"  long: {'x' * 5000}" in capsys.readouterr().out.splitlines()
    assert main(["ls", str(path), "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed)["metadata"] == metadata
    assert main(["probe", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert ', with metadata {"format":"pt","evil' in printed


def test_many_keys_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The listing shows twenty, and says how many others there are."""
    metadata = {f"key{i}": str(i) for i in range(25)}
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.ones(2)}, metadata=metadata)
    assert main(["ls", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["  key19: 19", "  ... and 5 keys more: --metadata shows them all"]
    assert main(["ls", str(path), "--metadata"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["metadata", *(f"  key{i}: {i}" for i in range(25))]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"__metadata__":{"a":"b"},' + ENTRY[1:], ', with metadata {"a": "b"}'),
        (ENTRY[:-1] + b',"__metadata__":{"a":"b"}}', ', with metadata {"a": "b"}'),
        (
            b'{"__metadata__":{"a":"%s"},' % (b"x" * 9000) + ENTRY[1:],
            ', with metadata {"a":"' + "x" * 194 + "...",
        ),
        (b'{"__metadata__":{},' + ENTRY[1:], ""),
        (b'{"__metadata__":3,' + ENTRY[1:], ""),
        (b'{"__metadata__":' + b"[" * 9000, ""),
        (ENTRY, ""),
    ],
)
def test_a_claim_shows_what_it_sees(tmp_path: Path, header: bytes, said: str) -> None:
    """The metadata at the beginning of the file is in the reason. No header makes a claim fail."""
    claim = plugin.initreg_claim(Source(write(tmp_path / "m.bin", header, bytes(8))))
    assert claim is not None
    assert claim.confidence is Confidence.EXACT
    assert claim.reason == f"begins with a JSON header of {len(header):,} bytes{said}"


def test_options_are_collected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--metadata may be given several times. A value may have '=', and may be given twice alike."""
    np.savez(tmp_path / "m.npz", w=np.ones(2))
    out = tmp_path / "m.safetensors"
    typed = [word for each in ("a=b=c", "d=", "a=b=c") for word in ("--metadata", each)]
    assert main(["convert", str(tmp_path / "m.npz"), str(out), *typed]) == 0
    assert of(out) == {"a": "b=c", "d": ""}
    assert main(["dump", str(out), str(tmp_path / "n.safetensors"), "--inference", *typed]) == 0
    assert of(tmp_path / "n.safetensors") == {"a": "b=c", "d": ""}
    assert capsys.readouterr().err == ""
