"""What notebooks show: ``_repr_html_`` of maps, arrays and results."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.bridge.mapped import Mapped

EVIL = "<img src=x onerror=alert(1)>"


class Shown(HTMLParser):
    """Collects tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def shown(given: Any) -> Shown:
    return Shown(given._repr_html_())


@pytest.fixture
def many() -> dict[str, np.ndarray]:
    """10,000 names that do not fold."""
    return {f"{i}/{'x' * (i % 50)}/{EVIL}": np.full(i % 90 + 1, i, "f4") for i in range(10_000)}


def results(arrays: dict[str, np.ndarray], path: Path) -> Iterator[Any]:
    with initreg.open(arrays) as opened:
        yield opened
        yield opened[next(iter(arrays))]
        yield initreg.SmartInit(opened).plan(dict(list(arrays.items())[:2]))
    other = {name: array + 1 for name, array in arrays.items()}
    other[next(iter(arrays))] = np.zeros((2, 2))
    yield initreg.diff(arrays, {**other, "more": np.ones(1)})
    yield initreg.stats(arrays)
    broken = initreg.save(path / "nan.npz", {n: a * np.nan for n, a in arrays.items()})
    yield initreg.verify(broken)
    yield initreg.show(arrays, list(arrays)[1])
    names = tuple(arrays)
    yield Mapped("a", "b", (), (), names, names, ())
    yield initreg.report(arrays)


def test_what_is_shown_is_small_and_safe(many: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Of 10,000 names, at most some hundred kB, in which names are text."""
    for result in results(many, tmp_path):
        found = shown(result)
        assert "img" not in found.tags, type(result)
        assert 100 < len(result._repr_html_()) < 300_000, type(result)
        if not isinstance(result, initreg.Report):
            assert EVIL in found.text, type(result)


def test_values_are_not_read(tmp_path: Path) -> None:
    """A map and its arrays are shown without their values: a file that lacks them will do."""
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.ones((3, 4), "f4")})
    with initreg.open(path) as opened:
        with path.open("r+b") as file:
            file.truncate(file.seek(0, 2) - 8)
        assert "w(3, 4)float3248 B" in shown(opened).text
        text = shown(opened["w"]).text
        assert "(3, 4) float32, 48 B" in text
        assert "Its values have not been read" in text
        with pytest.raises(initreg.InitregError):
            opened["w"].read()


def test_rules_are_said() -> None:
    """An array that rules change says how."""
    with initreg.open({"w": np.ones((3, 4), "f4")}, transpose="w") as opened:
        assert "(4, 3)" in shown(opened["w"]).text
        assert opened["w"].spec.changes[0] in shown(opened["w"]).text


def red(given: Any) -> list[str]:
    """What is red."""
    html = given._repr_html_()
    return [each.partition("</p>")[0] for each in html.split('<p class="verdict bad"')[1:]]


def test_what_is_wrong_is_red(tmp_path: Path) -> None:
    """NaN, a damaged file, variables without an array. What is fine is not."""
    good, bad = {"w": np.ones(2)}, {"w": np.array([1, np.nan])}
    assert red(initreg.stats(good)) == []
    assert "1 NaN and 0 infinite of 2 numbers" in red(initreg.stats(bad))[0]
    assert red(initreg.verify(initreg.save(tmp_path / "good.npz", good))) == []
    [problem] = red(initreg.verify(initreg.save(tmp_path / "bad.npz", bad)))
    assert "1 problem" in problem
    assert red(Mapped("a", "b", (), (), (), (), ())) == []
    assert "1 have none in the source" in red(Mapped("a", "b", (), (), ("w",), (), ()))[0]


def test_a_report_is_a_frame_of_its_own() -> None:
    """Its page is in a sandbox, or, if it is large, only what it is about."""
    html = initreg.report({"w": np.ones((2, 3))})._repr_html_()
    assert html.startswith('<iframe title="report" sandbox="allow-scripts"')
    assert html.count("<") == 2  # all of the page is escaped
    big = {f"w{i}": np.random.default_rng(i).normal(size=(40, 40)) for i in range(1200)}
    text = shown(initreg.report(big)).text
    assert "1,200 arrays, 1,920,000 numbers" in text
    assert "report.save('report.html')" in text
