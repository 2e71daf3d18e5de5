"""initreg.plugin.part_names: which files belong together, and which are missing."""

import os

import pytest

from initreg import DamagedFile, RefusedFile, part_sets
from initreg.plugin.part_names import PartName, check, refuse_link_out, told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m-00001-of-00003.safetensors", ("m-", "00001", "00003", ".safetensors")),
        (
            "model-00002-of-00002.fp16.safetensors",
            ("model-", "00002", "00002", ".fp16.safetensors"),
        ),
        ("a-1-of-2-3-of-4.gguf", ("a-1-of-2-", "3", "4", ".gguf")),
        ("m.ckpt.data-00000-of-00002", ("m.ckpt.data-", "00000", "00002", "")),
        ("m_1-of-3.npz", ("m_", "1", "3", ".npz")),
        ("m-00001-of-00001.gguf", None),  # the only part is the whole
        ("m-00001-of-00003-old.gguf", None),
        ("best-of-3.npz", None),
        ("m.npz", None),
    ],
)
def test_names_of_parts(name, expected):
    """Stem, number, count and ending of a part; None for a file that is not named so."""
    found = PartName.of(name)
    assert found == (None if expected is None else PartName(*expected))


def test_sets_are_told_apart():
    """By stem, count, spelling and ending. Hidden files belong to none."""
    names = [
        "m-00001-of-00002.gguf",
        "m-00002-of-00002.gguf",
        "m-1-of-2.gguf",
        "n-00001-of-00002.gguf",
    ]
    names += [".m-00001-of-00002.gguf", "m-00001-of-00003.gguf", "m-00001-of-00002.bin", "readme"]
    found = {str(each): each.is_complete for each in part_sets(names)}
    assert found == {
        "m-*-of-00002.gguf (2 of 2 parts)": True,
        "m-*-of-2.gguf (1 of 2 parts)": False,
        "n-*-of-00002.gguf (1 of 2 parts)": False,
        "m-*-of-00003.gguf (1 of 3 parts)": False,
        "m-*-of-00002.bin (1 of 2 parts)": False,
    }


def test_numbers_may_begin_with_0():
    """Then the last part has a number less than the count."""
    (found,) = part_sets([f"m-{n}-of-3.npz" for n in range(3)])
    assert found.is_complete
    assert list(found.numbers) == [0, 1, 2]


def complaint(folder, *names):
    for name in names:
        (folder / name).touch()
    with pytest.raises(DamagedFile) as caught:
        check(folder / names[0], "m")
    return str(caught.value)


def test_missing_parts_are_named(tmp_path):
    """Those in the middle, too."""
    said = complaint(tmp_path, "m-00001-of-00004.gguf", "m-00003-of-00004.gguf")
    assert "one part of 4" in said
    assert "2 of them are missing: m-00002-of-00004.gguf, m-00004-of-00004.gguf (or" in said


def test_another_count_beside_it_is_said(tmp_path):
    """A part of another save is no part of the set, and the error shows both."""
    said = complaint(tmp_path, "m-1-of-3.gguf", "m-2-of-2.gguf", "m-3-of-3.gguf")
    assert "1 of them is missing: m-2-of-3.gguf." in said
    assert "another set: m-*-of-2.gguf (1 of 2 parts)" in said


def test_a_number_beyond_the_count(tmp_path):
    """It cannot be a part."""
    said = complaint(tmp_path, "m-1-of-2.gguf", "m-2-of-2.gguf", "m-5-of-2.gguf")
    assert "m-5-of-2.gguf cannot be one of its parts, which have the numbers 1 to 2" in said


def test_a_count_of_billions_costs_nothing(tmp_path):
    """The names of missing parts are not made before they are printed."""
    said = complaint(tmp_path, "m-000000001-of-999999999.gguf")
    assert "999,999,998 of them are missing" in said
    assert len(said) < 1000


def test_told(tmp_path):
    """In words, for a file that no format opens."""
    for name in ("m-1-of-2.bin", "m-2-of-2.bin"):
        (tmp_path / name).touch()
    assert told(tmp_path / "m-2-of-2.bin") == "part 2 of 2, of which all are there"
    os.unlink(tmp_path / "m-1-of-2.bin")
    assert "1 are missing beside it: m-1-of-2.bin" in told(tmp_path / "m-2-of-2.bin")
    assert told(tmp_path / "m.bin") == ""


def linked(folder, target):
    folder.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    (folder / "m").symlink_to(target)
    return folder / "m"


@pytest.mark.parametrize(
    ("folder", "target", "stays"),
    [
        ("here", "here/real", True),
        ("here", "here/below/real", True),
        ("here", "there/real", False),
        ("here", "here-too/real", False),
        ("hub/snapshots/rev", "hub/blobs/abc", True),
        ("hub/snapshots/rev/unet", "hub/blobs/abc", True),
        ("hub/snapshots/rev", "hub/other/abc", False),
        ("hub/snapshots/rev", "blobs/abc", False),
    ],
)
def test_links_out_of_a_folder(tmp_path, folder, target, stays):
    """Into the folder or below it, and into the blobs of a Hugging Face cache, is not out."""
    link = linked(tmp_path / folder, tmp_path / target)
    if stays:
        refuse_link_out(link, "m")
    else:
        with pytest.raises(RefusedFile, match=r"its part m is a link out of the folder"):
            refuse_link_out(link, "m")
    main = linked(tmp_path / "main", tmp_path / target)
    refuse_link_out(link, "m", main)  # the user named a link that leads to the same folder
