"""initreg.report: what the page says, and the page as a file. tests/pages uses it in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg

rng = np.random.default_rng(0)
BASE: dict[str, Any] = {
    "net/kernel": rng.normal(size=(60, 50)).astype("f4"),
    "net/bias": np.array([np.nan, 1], "f4"),
    "same": np.ones((3, 3), ml_dtypes.bfloat16),
    "old": np.ones(2),
    "text": np.array(["a", "b"], object),
}
TUNED: dict[str, Any] = {
    "net/kernel": BASE["net/kernel"] * np.float32(1.5),
    "net/bias": np.zeros(3, "f4"),
    "same": BASE["same"],
    "text": BASE["text"],
}


def data_of(html: str) -> Any:
    """What the script of a page shows."""
    return json.loads(html.partition('id="data">')[2].partition("</script>")[0])


def test_one_source() -> None:
    """Each array has the statistics of `stats`, and a heat map if it has two axes."""
    report = initreg.report(BASE)
    assert [each.name for each in report.arrays] == list(BASE)
    found = {each.name: each for each in report.arrays}
    stats = {each.name: each.values for each in initreg.stats(BASE).arrays}
    assert {name: each.values for name, each in found.items()} == stats
    assert [name for name, each in found.items() if each.heat_map] == ["net/kernel", "same"]
    kernel = found["net/kernel"].heat_map
    assert kernel is not None
    assert (kernel.rows, kernel.columns, kernel.is_signed) == (60, 50, True)
    assert (kernel.low, kernel.high) == (BASE["net/kernel"].min(), BASE["net/kernel"].max())
    [source] = report.sources
    assert (source.arrays, source.numbers) == (5, 60 * 50 + 2 + 9 + 2)  # not the texts
    assert report.diff is None


@pytest.mark.parametrize("empty", [None, [], {}], ids=str)
def test_an_empty_source(empty: Any) -> None:
    """It is an error, as for diff, and not a page about nothing. So it is for stats."""
    for call in (initreg.report, initreg.stats, lambda each: initreg.report(BASE, each)):
        if empty is None and call not in (initreg.report, initreg.stats):
            continue  # no second source
        with pytest.raises(initreg.InitregError, match=r"the source is empty\. Give a file"):
            call(empty)


def test_two_sources() -> None:
    """The arrays of B, then those that only A has, each with its difference, and where it is."""
    report = initreg.report(BASE, TUNED)
    assert report.diff == initreg.diff(BASE, TUNED)
    assert [each.name for each in report.arrays] == [*TUNED, "old"]
    kernel, bias, same, text, old = report.arrays
    kinds = [each.difference and each.difference.kind for each in report.arrays]
    assert kinds == ["different", "shape", "equal", "equal", "only in A"]
    assert kernel.difference_map is not None
    change = (TUNED["net/kernel"].astype("f8") - BASE["net/kernel"]).reshape(60, 50)
    assert kernel.difference_map.high == pytest.approx(change.max())
    cells = np.frombuffer(kernel.difference_map.cells, "u1").reshape(60, 50)
    assert np.unravel_index(cells.argmax(), cells.shape) == np.unravel_index(
        change.argmax(), change.shape
    )
    assert kernel.before == initreg.stats(BASE).arrays[0].values
    assert bias.before is not None
    assert same.before is None
    assert same.difference_map is None
    assert old.values is not None
    assert text.values is None


def test_names_that_differ() -> None:
    """An array of B that A calls otherwise is compared with it, and the page says so."""
    layers = {"a/kernel": np.ones((2, 3)), "a/bias": np.ones(3)}
    source = initreg.SmartInit({f"old/{n}": a * 2 for n, a in layers.items()}, strip_prefix="old/")
    report = initreg.report(source, layers)
    assert [each.name for each in report.arrays] == ["a/kernel", "a/bias"]
    assert report.arrays[0].before is not None
    assert report.arrays[0].before.mean == 2


def test_onto_a_target() -> None:
    """The plan is that of SmartInit, and each array says what becomes of it."""
    target = {"net/kernel": np.zeros((60, 50), "f4"), "net/bias": np.zeros(9, "f4")}
    report = initreg.report(BASE, target=target, drop="text")
    assert report.plan is not None
    assert report.plan.to_dict() == initreg.SmartInit(BASE, drop="text").plan(target).to_dict()
    kinds = {each.name: each.plan for each in report.arrays}
    assert kinds["net/kernel"] == "matched"
    assert kinds["net/bias"] == "mismatched"
    assert kinds["old"] == "only in source"
    assert not np.any(target["net/kernel"])
    assert "the plan fails: 1 array does not fit" in str(report)


def test_without_values(tmp_path: Path) -> None:
    """No values are read: a file that lacks them will do. Two sources need theirs."""
    path = initreg.save(tmp_path / "m.npz", {"w": np.ones((9, 9))})
    data = path.read_bytes()
    at = data.index(np.ones(9).tobytes())
    path.write_bytes(data[:at] + bytes(648) + data[at + 648 :])
    with pytest.raises(initreg.DamagedFile):
        initreg.report(path)
    report = initreg.report(path, values=False)
    assert report.arrays[0].values is None
    assert report.arrays[0].shape == (9, 9)
    with pytest.raises(initreg.InitregError, match="values=False"):
        initreg.report(path, path, values=False)


def test_json_is_json() -> None:
    """What the page says, in which NaN is no number."""
    found = initreg.report(BASE, TUNED, target=TUNED).to_dict()
    text = json.dumps(found)
    again = json.loads(text, parse_constant=pytest.fail)
    assert again["is_same"] is False
    assert [each["name"] for each in again["arrays"]] == [*TUNED, "old"]
    cells = base64.b64decode(again["arrays"][0]["heat_map"]["cells"])
    assert len(cells) == 3000
    assert again["plan"]["ok"] is True


def test_the_page_is_one_file(tmp_path: Path) -> None:
    """Its policy allows its own style and script by their digests, and nothing else. It names no
    other file and no server."""
    path = tmp_path / "r.html"
    initreg.report(BASE, TUNED).save(path)
    html = path.read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    for tag, start in (("style", "<style>"), ("script", "<script>")):
        [content] = re.findall(rf"{start}(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; base-uri 'none'; form-action 'none';")
    assert not re.search(r"\b(?:src|href|action)=|@import|url\(|\bon\w+=", html)
    servers = set(re.findall(r"\w+://[^\"' ]*", html))
    assert servers == {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody fetches


def test_figures_that_are_not_finite(tmp_path: Path) -> None:
    """NaN, infinities, and numbers whose range would overflow are in the page, as valid JSON."""
    arrays = {
        "nan": np.full((3, 3), np.nan),
        "huge": np.array([[-1.7e308, 1.7e308], [0, 1]]),
        "tiny": np.full((2, 2), 5e-324),
        "empty": np.zeros((0, 4)),
        "bool": np.ones((2, 2), bool),
        "complex": np.full((2, 2), 1j),
    }
    other = {name: np.zeros_like(array) for name, array in arrays.items()}
    data = data_of(initreg.report(arrays, other).to_html())
    assert [each["name"] for each in data["arrays"]] == list(arrays)
    assert data["arrays"][0]["difference"]["largest"] == "nan"
    assert initreg.report(arrays).arrays[0].heat_map is not None


@pytest.mark.parametrize("name", ["</script>", "<!--<script>", "\u2028", "&lt;", "]]>", "\ud800"])
def test_no_name_ends_the_data(name: str) -> None:
    """Whatever an array is called, it is text in the data, and adds no element to the page."""
    html = initreg.report({name: np.ones(1), "w": np.ones(1)}).to_html()
    assert [each["name"] for each in data_of(html)["arrays"]] == [
        initreg.errors.printable(name),
        "w",
    ]
    assert html.count("<script") == 2
    assert html.count("</script>") == 2
    assert html.count("<!--") == 0
    html.encode("utf-8")


def test_many_heat_maps_stay_small() -> None:
    """Their cells are fewer, the more arrays there are."""
    few = initreg.report({"w": np.ones((500, 500), "f4")}).arrays[0].heat_map
    assert few is not None
    assert (few.rows, few.block) == (96, (6, 6))
    arrays = {f"w{i}": np.ones((60, 60), "f4") for i in range(4000)}
    maps = [each.heat_map for each in initreg.report(arrays).arrays]
    assert sum(len(each.cells) for each in maps if each is not None) <= 4 << 20


def test_a_page_is_written_whole_or_not(tmp_path: Path) -> None:
    """Only under a name of a page, so that no source is overwritten. A folder that is not there is
    an error."""
    report = initreg.report(BASE)
    for name in ("r.npz", "html", "r.html.npz"):
        with pytest.raises(initreg.UnwritableFile, match=r"End its name in \.html"):
            report.save(tmp_path / name)
    with pytest.raises(initreg.UnwritableFile):
        report.save(tmp_path / "nowhere" / "r.html")
    report.save(tmp_path / "r.html")
    report.save(tmp_path / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """An array of a dtype that numpy does not have is listed without values."""
    header = b'{"w":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}'
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x12\x34")
    [array] = initreg.report(path).arrays
    assert (array.dtype, array.nbytes, array.values) == ("F4", 2, None)


def test_the_order_can_be_read() -> None:
    """Names that a file has sorted are in natural order: 2 comes before 10."""
    arrays = {f"vars/{i}": np.zeros(1) for i in ("0", "10", "2")}
    assert [each.name for each in initreg.report(arrays).arrays] == ["vars/0", "vars/2", "vars/10"]


def test_progress_is_told() -> None:
    """All bytes from the start, once for the differences and once for the values."""
    told: list[tuple[int, int]] = []
    arrays = {"a": np.zeros(4), "b": np.zeros(6)}
    initreg.report(arrays, arrays, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 80), (32, 80), (80, 80)] * 2
    told.clear()
    initreg.report(arrays, values=False, progress=lambda done, total: told.append((done, total)))
    assert told == []


def test_variables_as_a_source() -> None:
    """What a plugin reads together is read, and its values are those of the arrays."""
    arrays = {"w": np.arange(6.0).reshape(2, 3)}
    [array] = initreg.report([initreg.SmartInit(arrays, scale={"w": 2})]).arrays
    assert array.values is not None
    assert array.values.max == 10


def test_strings_are_no_numbers() -> None:
    """A report and a notebook count them as `ls` does."""
    arrays = {"w": np.ones((2, 3), "f4"), "words": np.array(["a", "b", "c"])}
    report = initreg.report(arrays)
    assert report.sources[0].numbers == 6
    with initreg.open(arrays) as opened:
        assert "6 numbers" in opened._repr_html_()
