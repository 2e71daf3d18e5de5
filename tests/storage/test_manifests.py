"""initreg.storage.manifests: digests of a save, in a file beside it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, UnreadableFile
from initreg.storage import manifests


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return initreg.save(tmp_path / "m.npz", {"w": np.ones((2, 3), "f4")}, manifest=True)


def test_what_it_holds(saved: Path) -> None:
    """The SHA-256 is that of sha256sum for a file, and that of the little-endian bytes for
    an array."""
    found = json.loads((saved.parent / "m.npz.manifest.json").read_text())
    assert found == {
        "initreg_manifest": 1,
        "files": {
            "m.npz": {
                "nbytes": saved.stat().st_size,
                "sha256": hashlib.sha256(saved.read_bytes()).hexdigest(),
            }
        },
        "arrays": {
            "w": {
                "shape": [2, 3],
                "dtype": "float32",
                "sha256": hashlib.sha256(np.ones(6, "<f4").tobytes()).hexdigest(),
            }
        },
    }


@pytest.mark.parametrize(
    ("array", "content"),
    [
        (np.array([1, 2], ">i4"), b"\1\0\0\0\2\0\0\0"),
        (np.asfortranarray([[1, 2], [3, 4]]).astype("u1"), b"\1\2\3\4"),
        (np.array(True), b"\1"),
        (np.array(1, ml_dtypes.bfloat16), b"\x80\x3f"),
        (np.zeros((0, 3)), b""),
        (np.array([(1, 2)], [("a", ">i2"), ("b", "u1")]), b"\1\0\2"),
        (
            np.array(["é", b"ab"], object),
            b"\2" + bytes(7) + "é".encode() + b"\2" + bytes(7) + b"ab",
        ),
        (np.array(["ab", "c"]), b"\2" + bytes(7) + b"ab\1" + bytes(7) + b"c"),
        (np.array(["\ud800"]), b"\3" + bytes(7) + b"\xed\xa0\x80"),
        (np.array([b"ab", b"c"]), b"\2" + bytes(7) + b"ab\1" + bytes(7) + b"c"),
    ],
)
def test_digests_of_arrays(array: np.ndarray, content: bytes) -> None:
    """Byte order, memory order and the type of strings do not change a digest."""
    assert manifests.digest_of_array(array) == hashlib.sha256(content).hexdigest()


def test_a_large_file(tmp_path: Path) -> None:
    """The digest of a file that is read in pieces is that of all its bytes."""
    data = np.random.default_rng(0).bytes(9_000_001)
    (tmp_path / "m").write_bytes(data)
    expected = manifests.FileDigest(len(data), hashlib.sha256(data).hexdigest())
    assert manifests.digest_of_file(tmp_path / "m") == expected


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe is refused, both as a manifest and as a file that is to be hashed."""
    os.mkfifo(tmp_path / "m")
    with pytest.raises(OSError, match="is not a regular file"):
        manifests.digest_of_file(tmp_path / "m")
    with pytest.raises(DamagedFile, match="is not a regular file"):
        manifests.read(tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("[]", "list indices"),
        ("null", "subscriptable"),
        ("{}", "it has no 'initreg_manifest'"),
        ('{"initreg_manifest": 2}', "its version is 2, not 1"),
        ('{"initreg_manifest": 1, "files": {}}', "it has no 'arrays'"),
        ('{"initreg_manifest": 1, "files": [], "arrays": {}}', "items"),
        ("9" * 5000, "digits"),
        ("\xff", "decode"),
        *(
            (
                f'{{"initreg_manifest": 1, "files": {{"{name}": {{"nbytes": 1}}}}}}',
                "is not the name of a file in the same folder",
            )
            for name in ("../m.npz", "/etc/passwd", "..", ".", "", "a/b", "a\\u0000")
        ),
        (
            '{"initreg_manifest": 1, "files": {"m": {"nbytes": -1, "sha256": ""}}}',
            "is not a length",
        ),
        (
            '{"initreg_manifest": 1, "files": {"m": {"nbytes": 1, "sha256": ""}}}',
            "is not a SHA-256",
        ),
        ('{"initreg_manifest": 1, "files": {"m": {"nbytes": 1, "sha256": 1}}}', "is not a SHA-256"),
        ('{"initreg_manifest": 1, "files": {}, "arrays": {"a": {"shape": 3}}}', "not iterable"),
        (
            '{"initreg_manifest": 1, "files": {}, "arrays": {"a": {"shape": [1.5]}}}',
            "is not a length",
        ),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, content: str, says: str) -> None:
    """An invalid manifest is a DamagedFile that names it; names in other folders are refused."""
    path = tmp_path / "m.npz.manifest.json"
    path.write_text(content, "latin-1")
    with pytest.raises(DamagedFile, match=f"m.npz.manifest.json: this is not a manifest.*{says}"):
        manifests.read(path)


def test_a_manifest_that_is_too_large(tmp_path: Path, saved: Path) -> None:
    """At most 256 MB of a manifest are read, and a missing one is an error."""
    manifest = tmp_path / "m.npz.manifest.json"
    assert set(manifests.read(manifest).files) == {"m.npz"}
    os.truncate(manifest, 1 << 40)  # a hole
    with pytest.raises(DamagedFile, match="a manifest has at most 268,435,456 bytes"):
        manifests.read(manifest)
    with pytest.raises(UnreadableFile, match="No such file"):
        manifests.read(tmp_path / "no")


def test_which_is_found(saved: Path) -> None:
    """The manifest named after the source is found, also by a link, or else one that lists
    its files."""
    folder = saved.parent
    beside = folder / "m.npz.manifest.json"
    assert manifests.find(saved) == beside
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.npz").symlink_to(saved)
    assert manifests.find(folder / "elsewhere" / "link.npz") == beside
    checkpoint = initreg.save(folder / "m.ckpt", {"a": np.ones(2)}, manifest=True)
    assert checkpoint == folder / "m.ckpt"
    for name in ("m.ckpt", "m.ckpt.index", "m.ckpt.data-00000-of-00001"):
        assert manifests.find(folder / name) == folder / "m.ckpt.manifest.json"
    (folder / "a.manifest.json").write_text("no manifest")
    assert manifests.find(folder / "other.npz") is None
    assert manifests.find(folder / "other.npz", [saved]) == beside


# --- saving ---------------------------------------------------------------------------------------


def test_saving_without_one_takes_the_old_one_away(saved: Path) -> None:
    """A save without a manifest removes the old manifest, unless something else wrote it."""
    theirs = saved.with_name("theirs.npz.manifest.json")
    theirs.write_text("{}")
    initreg.save(saved, {"w": np.zeros(3)})
    initreg.save(saved.with_name("theirs.npz"), {"w": np.zeros(3)})
    assert sorted(os.listdir(saved.parent)) == ["m.npz", "theirs.npz", "theirs.npz.manifest.json"]
    assert theirs.read_text() == "{}"


def test_each_save_has_its_own(tmp_path: Path) -> None:
    """After repeated saves, with shards and without, there is one manifest, of the current
    files."""
    path = tmp_path / "m.safetensors"
    arrays = {name: np.full(100, i, "f4") for i, name in enumerate("abc")}
    for size, count in ((None, 1), (400, 3), (None, 1), (800, 2)):
        result = initreg.save(path, arrays, shard_size=size, manifest=True)
        manifest = result.with_name(f"{result.name}.manifest.json")
        files = set(os.listdir(tmp_path))
        assert [f for f in files if f.endswith(".manifest.json")] == [manifest.name]
        assert set(manifests.read(manifest).files) == files - {manifest.name}
        assert len([f for f in files if f.endswith(".safetensors")]) == count
        assert initreg.verify(result).ok


def test_a_link_has_it_where_the_file_is(tmp_path: Path) -> None:
    """If the path is a link, its target is replaced and the manifest is beside the target."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real.npz").write_bytes(b"")
    (tmp_path / "m.npz").symlink_to(tmp_path / "store" / "real.npz")
    result = initreg.save(tmp_path / "m.npz", {"a": np.ones(2)}, manifest=True)
    assert sorted(os.listdir(tmp_path / "store")) == ["real.npz", "real.npz.manifest.json"]
    found = initreg.verify(result)
    assert (found.ok, found.manifest) == (True, tmp_path / "store" / "real.npz.manifest.json")


def test_a_failed_save_leaves_the_old_one(saved: Path) -> None:
    """A failed save leaves the old file and its manifest."""
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}

    def tell(done: int, of: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        initreg.save(saved, {"w": np.zeros(3)}, manifest=True, progress=tell)
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_a_rename_that_fails_leaves_the_old_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a rename fails, the old manifest is put back."""
    before = {path.name: path.read_bytes() for path in saved.parent.iterdir()}
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target).name == "m.npz":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(initreg.UnwritableFile, match="Permission denied"):
        initreg.save(saved, {"w": np.zeros(3)}, manifest=True)
    assert {path.name: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_the_old_one_is_gone_before_the_new_file_is_visible(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no moment is there a manifest that does not describe the file beside it."""
    replace = os.replace
    seen = []

    def watch(source: Path, target: Path) -> None:
        replace(source, target)
        seen.append(sorted(n for n in os.listdir(saved.parent) if not n.startswith(".")))

    monkeypatch.setattr(os, "replace", watch)
    initreg.save(saved, {"w": np.zeros(3)}, manifest=True)
    both = ["m.npz", "m.npz.manifest.json"]
    assert seen == [["m.npz"], ["m.npz"], both]
