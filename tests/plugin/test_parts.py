"""initreg.plugin.parts: a folder or a pattern means a set, all of which is opened."""

import numpy as np
import pytest

import initreg
from initreg import (
    AmbiguousSource,
    DamagedFile,
    DuplicateName,
    RefusedFile,
    SourceNotFound,
    UnknownFormat,
)

W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def folder(tmp_path):
    for n in (1, 2, 3):
        np.savez(tmp_path / f"m-0000{n}-of-00003.npz", **{f"w{n}": W + n})
    return tmp_path


@pytest.mark.parametrize("name", ["m-00002-of-00003.npz", "", "m-*.npz", "m-0000[12]-of-00003.npz"])
@pytest.mark.parametrize("format", [None, "npz"])
def test_all_parts_are_opened(folder, name, format):
    """By a part, by the folder, by a pattern that matches some."""
    assert initreg.probe(folder / name).winner == "npz"
    with initreg.open(folder / name, format=format) as arrays:
        assert {n: np.asarray(a).tolist() for n, a in arrays.items()} == {
            f"w{n}": (W + n).tolist() for n in (1, 2, 3)
        }
        assert {file.name for file in arrays.files} == {
            f"m-0000{n}-of-00003.npz" for n in (1, 2, 3)
        }


def test_a_chain_of_parts_is_one_source(folder):
    """What a shell makes of ``m-*.npz`` restores each array once, also with rules."""
    paths = [str(folder / f"m-0000{n}-of-00003.npz") for n in (1, 2, 3)]
    target = {f"x/w{n}": np.zeros((2, 3), np.float32) for n in (1, 2, 3)}
    plan = initreg.SmartInit(paths, prefix="x/").init(target)
    assert len(plan.restored) == 3
    assert "overrid" not in str(plan)
    assert target["x/w2"].tolist() == (W + 2).tolist()
    override = {"w2": W}
    assert initreg.load([*paths, override, paths[0]])["w2"].tolist() == (W + 2).tolist()
    assert initreg.load([*paths, override])["w2"].tolist() == W.tolist()


def test_a_missing_part(folder):
    """By the folder, a pattern and each of the other parts, the error names it."""
    (folder / "m-00002-of-00003.npz").unlink()
    for name in ("", "*.npz", "m-00001-of-00003.npz", "m-00003-of-00003.npz"):
        with pytest.raises(DamagedFile, match=r"missing: m-00002-of-00003\.npz"):
            initreg.open(folder / name)
    with pytest.raises(SourceNotFound):
        initreg.open(folder / "m-00002-of-00003.npz")


def test_two_sets(folder):
    """A folder and a pattern of two sets are an error that shows both. A part decides."""
    np.savez(folder / "n-00001-of-00002.npz", a=W)
    for name in ("", "*.npz"):
        with pytest.raises(AmbiguousSource) as caught:
            initreg.open(folder / name)
        assert "m-*-of-00003.npz (3 of 3 parts), n-*-of-00002.npz (1 of 2" in str(caught.value)
    assert sorted(initreg.load(folder / "m-00001-of-00003.npz")) == ["w1", "w2", "w3"]


def test_a_pattern_of_other_files_too(folder):
    """Nothing is left out in silence."""
    np.savez(folder / "other.npz", a=W)
    with pytest.raises(AmbiguousSource, match="not all are parts"):
        initreg.open(folder / "*.npz")
    with pytest.raises(SourceNotFound):
        initreg.open(folder / "x*.npz")


def test_one_name_in_two_parts(folder):
    """It is an error, and never the last one."""
    np.savez(folder / "m-00003-of-00003.npz", w1=W)
    with pytest.raises(DuplicateName, match=r"m-00003-of-00003\.npz: array 'w1' is also in"):
        initreg.open(folder)


def test_the_files_of_a_failed_open_are_closed(folder):
    """The parts that were opened before the one that failed."""
    import h5py

    for n in (1, 2):
        with h5py.File(folder / f"h-{n}-of-2.h5", "w") as file:
            file.create_dataset("w", data=["a", "b"])  # strings keep the file open
    with pytest.raises(DuplicateName):
        initreg.open(folder / "h-1-of-2.h5")  # a file left open would be a ResourceWarning


def test_a_link_out_of_the_folder(folder, tmp_path_factory):
    """A part that is a link out is refused, for a format that knows nothing of parts."""
    outside = tmp_path_factory.mktemp("outside") / "m.npz"
    part = folder / "m-00003-of-00003.npz"
    part.rename(outside)
    part.symlink_to(outside)
    with pytest.raises(RefusedFile, match=r"m-00003-of-00003\.npz is a link out of the folder"):
        initreg.open(folder)
    assert "w3" in initreg.load(outside)


@pytest.mark.parametrize("name", ["m.safetensors", "m.ckpt.index", "m.ckpt.data-00000-of-00001"])
@pytest.mark.parametrize("target", ["..", "../../other"])
def test_a_link_in_a_folder_leads_nowhere_else(tmp_path, name, target):
    """Neither into the folder above, nor into one beside it. Within the folder it is followed."""
    folder = tmp_path / "above" / "folder"
    folder.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    initreg.save(folder / name.replace(".index", "").replace(".data-00000-of-00001", ""), {"w": W})
    file = folder / name
    outside = file.rename(folder / target / "elsewhere")
    file.symlink_to(f"{target}/elsewhere")
    with pytest.raises(RefusedFile, match=f"its part {name} is a link out of the folder"):
        initreg.open(folder)
    file.unlink()
    outside.rename(folder / "elsewhere")
    file.symlink_to("elsewhere")
    assert initreg.load(folder)["w"].tolist() == W.tolist()


def test_pytorch_parts_are_refused_together(tmp_path):
    """The error for one part names the others, and its code converts all of them."""
    begins = b"PK\x03\x04" + bytes(26) + b"archive/data.pkl"  # as torch.save writes it
    parts = [tmp_path / f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for part in parts:
        part.write_bytes(begins + bytes(100))
    for source in (parts[0], tmp_path):
        with pytest.raises(UnknownFormat, match=r"PyTorch file, which is a pickle.*part 1 of 2"):
            initreg.open(source)
    parts[1].unlink()
    with pytest.raises(UnknownFormat, match=r"missing beside it: pytorch_model-00002-of") as caught:
        initreg.open(parts[0])
    code = str(caught.value).partition("made: ")[2].partition(". 'initreg")[0]
    assert "glob.glob('*-of-*.bin')" in code
    compile(code, "the hint", "eval")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text('{"weight_map": {}}')
    with pytest.raises(UnknownFormat, match="an index of PyTorch files"):
        initreg.open(index)
