"""The page of a report in a real browser: what it shows, how it is used, and what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium

import initreg

pytestmark = pytest.mark.pages

rng = np.random.default_rng(0)
BASE = {
    "net/a/kernel": rng.normal(size=(200, 30)).astype("f4"),
    "net/a/bias": np.zeros(30, "f4"),
    "net/b/kernel": rng.normal(size=(8, 8)).astype("f4"),
    "net/b/bias": np.array([np.nan, np.inf, 1, 2], "f4"),
    "head/kernel": rng.normal(size=(30, 4)).astype("f4"),
    "step": np.int64(7),
}
TUNED = {
    **BASE,
    "net/b/kernel": BASE["net/b/kernel"] + np.float32(0.25),
    "head/kernel": np.zeros((30, 5), "f4"),
    "new": np.ones(3, "f4"),
}
del TUNED["step"]

NAMES = """[...document.querySelectorAll("#tree tr[role=row] .name")].map((e) => e.textContent)"""
FOUND = """document.getElementById("found").value"""


def type_in(browser: Chromium, text: str) -> None:
    browser.run(
        f"""(() => {{ const s = document.getElementById("search"); s.value = {json.dumps(text)};
        s.dispatchEvent(new Event("input")); }})()"""
    )


def click(browser: Chromium, name: str) -> None:
    """Click the row of this label."""
    browser.run(
        f"""[...document.querySelectorAll("#tree tr[role=row]")].find((row) =>
        row.querySelector(".name").textContent === {json.dumps(name)}).click()"""
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "report.html"
    initreg.report(BASE).save(path)
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two") / "report.html"
    initreg.report(BASE, TUNED).save(path)
    return path


@pytest.mark.parametrize("width", [600, 1600])
@pytest.mark.parametrize("dark", [False, True])
def test_it_asks_for_nothing_and_complains_of_nothing(
    browser: Chromium, two: Path, width: int, dark: bool
) -> None:
    """No request but the page, nothing on the console, and nothing wider than the window, even with
    all arrays open. Light and dark differ."""
    browser.open(two, width=width, dark=dark)
    for name in ("step", "new", "net/a", "net/b", "kernel", "bias"):
        browser.run(
            f"""[...document.querySelectorAll("#tree tr[role=row]")].filter((row) =>
            row.querySelector(".name").textContent.endsWith({json.dumps(name)}) &&
            row.getAttribute("aria-expanded") === "false").forEach((row) => row.click())"""
        )
    assert browser.run("document.querySelectorAll('.detail canvas').length") > 4
    assert browser.requests == [two.as_uri()]
    assert browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(paper.replace("rgb(", "[").replace(")", "]"))) < 200) == dark


CONTRAST = """(() => {
  const numbers = (c) => c.match(/[0-9.]+/g).map(Number);
  const light = (c) => numbers(c).slice(0, 3).map((v) => v / 255).map((v) =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (numbers(c).length === 3 || numbers(c)[3] === 1) return c;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")].filter((e) => e.offsetParent &&
    [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).map((e) => {
      const [a, b] = [light(getComputedStyle(e).color), light(under(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.className, e.textContent];
    }).sort((a, b) => a[0] - b[0])[0];
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read(browser: Chromium, tmp_path: Path, dark: bool) -> None:
    """Its contrast is at least 4.5. Source: WCAG 2.2, 1.4.3 Contrast (Minimum), level AA."""
    initreg.report(BASE, TUNED, target={**TUNED, "new": np.zeros(9)}).save(tmp_path / "r.html")
    browser.open(tmp_path / "r.html", dark=dark)
    type_in(browser, "ker")
    click(browser, "net/b/kernel")
    contrast, *where = browser.run(CONTRAST)
    assert contrast >= 4.5, where


def test_what_it_says(browser: Chromium, two: Path) -> None:
    """Names, shapes, sizes, figures, and the differences of each array, rounded."""
    browser.open(two)
    type_in(browser, "net/b/kernel")
    cells = browser.run(
        "[...document.querySelectorAll('#tree tr[role=row] td')].map((e) => e.innerText)"
    )
    values = TUNED["net/b/kernel"].astype("f8")
    figures = [
        f"{f:.3g}".replace("-", "\N{MINUS SIGN}")
        for f in (values.mean(), values.std(), values.min(), values.max())
    ]
    assert cells[0].split() == ["net/b/kernel", "different"]
    assert cells[1:5] == ["(8, 8)", "float32", "256 B", "0.25"]
    assert cells[6:10] == figures
    text = browser.run("document.querySelector('header').innerText")
    assert "1 different, 1 of another shape, 1 only in A, 1 only in B, 3 equal" in text
    click(browser, "net/b/kernel")
    detail = browser.run("document.querySelector('.detail').innerText")
    assert "64 of 64" in detail
    assert "B minus A" in detail
    assert "Bars: B. Line: A." in detail


def test_heat_maps_are_drawn(browser: Chromium, one: Path) -> None:
    """Each cell has the colour of its value: the largest is the darkest, and NaN stands out."""
    browser.open(one)
    type_in(browser, "net/b/kernel")
    click(browser, "net/b/kernel")
    pixels = browser.run(
        """(() => { const c = document.querySelector('.detail canvas');
        return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, 8, 8).data]] })()"""
    )
    assert pixels[:2] == [8, 8]
    colours = np.array(pixels[2]).reshape(8, 8, 4)
    values = BASE["net/b/kernel"]
    red, blue = colours[..., 0].astype(int), colours[..., 2].astype(int)
    clear = np.abs(values) > 0.3
    assert ((red > blue) == (values > 0))[clear].all()
    at = np.unravel_index(np.abs(values).argmax(), values.shape)
    assert colours[at][:3].sum() == colours[..., :3].sum(axis=-1).min()


def test_search(browser: Chromium, one: Path) -> None:
    """All words must be in the name, in any case and order. What was found is marked. Esc ends
    it."""
    browser.open(one)
    browser.press("/")
    assert browser.run("document.activeElement.id") == "search"
    type_in(browser, "KERNEL net")
    assert browser.run(NAMES) == ["net/a/kernel", "net/b/kernel"]
    assert browser.run(FOUND) == "2 of 6 arrays"
    marks = "[...document.querySelectorAll('mark')].map((e) => e.textContent)"
    assert browser.run(marks) == ["net", "kernel"] * 2
    type_in(browser, "(.*")  # no regular expression
    assert browser.run(NAMES) == []
    type_in(browser, "nothing like this")
    assert browser.run(NAMES) == []
    browser.press("Escape")
    assert browser.run(FOUND) == "6 arrays"


def test_sorting_and_kinds(browser: Chromium, two: Path) -> None:
    """By size, and only those of one kind of difference."""
    browser.open(two)
    browser.run(
        """(() => { const s = document.getElementById("sort"); s.value = "size";
        s.dispatchEvent(new Event("change")); })()"""
    )
    sizes = {name: array.nbytes for name, array in {**BASE, **TUNED}.items()}
    assert browser.run(NAMES)[:2] == ["net/a/kernel", "head/kernel"]
    found = [sizes[name] for name in browser.run(NAMES)]
    assert found == sorted(found, reverse=True)
    assert len(found) == 7
    browser.run(
        """[...document.querySelectorAll("#kinds button")]
        .find((e) => e.innerText === "shape 1").click()"""
    )
    assert browser.run(NAMES) == ["head/kernel"]
    assert (
        browser.run("document.querySelector('#kinds [aria-pressed=true]').innerText") == "shape 1"
    )


def test_folding(browser: Chromium, one: Path) -> None:
    """Groups close and open. What is alone in its group is in one line with it."""
    browser.open(one)
    opened = ["net", "a", "kernel", "bias", "b", "kernel", "bias", "head/kernel", "step"]
    assert browser.run(NAMES) == opened
    click(browser, "net")
    assert browser.run(NAMES) == ["net", "head/kernel", "step"]
    click(browser, "net")
    click(browser, "a")
    assert browser.run(NAMES) == [n for i, n in enumerate(opened) if i not in (2, 3)]
    browser.run("document.getElementById('collapse').click()")
    assert browser.run(NAMES) == ["net", "head/kernel", "step"]
    browser.run("document.getElementById('expand').click()")
    assert browser.run(NAMES) == opened


def test_keys(browser: Chromium, one: Path) -> None:
    """The tree is one stop of the Tab key. Arrows go through it, open and close, and so does
    Enter."""
    browser.open(one)
    browser.run("document.querySelector('#tree tr[tabindex=\"0\"]').focus()")
    label = "document.activeElement.querySelector('.name').textContent"
    expanded = "document.activeElement.getAttribute('aria-expanded')"
    assert browser.run(label) == "net"
    for key, name in (
        ("ArrowDown", "a"),
        ("ArrowRight", "kernel"),
        ("ArrowLeft", "a"),
        ("ArrowLeft", "a"),
        ("ArrowDown", "b"),
        ("End", "step"),
        ("Home", "net"),
        ("ArrowUp", "net"),
    ):
        browser.press(key)
        assert browser.run(label) == name, key
    browser.press("End")
    browser.press("Enter")
    assert browser.run(expanded) == "true"
    assert "7" in browser.run("document.querySelector('.detail').innerText")
    browser.press("Space")
    assert browser.run(expanded) == "false"
    assert browser.run("document.querySelectorAll('#tree [tabindex=\"0\"]').length") == 1


HOSTILE = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<!--<script>",
    "a\u2028b\u2029c",
    "$title ${data} &lt;",
    "'\"`]]>",
    "__proto__/constructor",
    "\u202egnp.exe",
    "\ud800 half",
    "nul\x00 bell\x07",
    "",
    "//",
]


def test_names_of_strangers_are_text(browser: Chromium, tmp_path: Path) -> None:
    """Whatever an array, a file or its metadata is called, nothing of it runs or is hidden."""
    arrays = {name: np.full((2, 2), i, "f4") for i, name in enumerate(HOSTILE)}
    folder = tmp_path / "<b>&lt; '\""
    folder.mkdir()
    usual = {k: v for k, v in arrays.items() if "\ud800" not in k}
    source = initreg.save(folder / "a.safetensors", usual, metadata={"</script>": "<b>"})
    initreg.report(arrays, source).save(tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    assert browser.run("window.hacked") is None
    assert browser.complaints == []
    assert browser.run("document.querySelectorAll('img, script').length") == 2
    type_in(browser, " ")
    browser.run("document.getElementById('expand').click()")
    browser.run(
        """(() => { const s = document.getElementById("sort"); s.value = "size";
        s.dispatchEvent(new Event("change")); })()"""
    )
    shown = set(browser.run(NAMES))
    expected = {initreg.errors.printable(name) or "(empty)" for name in HOSTILE}
    assert shown == expected
    assert "</script>" in browser.run("document.getElementById('metadataB').textContent")


def test_the_policy_stops_what_was_not_escaped(browser: Chromium, tmp_path: Path) -> None:
    """Even if a name were markup, its script would not run, and its image would not be loaded."""
    path = tmp_path / "r.html"
    initreg.report(BASE).save(path)
    evil = (
        "<script>window.hacked=1</script><img src='http://127.0.0.1:9/' onerror='window.hacked=2'>"
    )
    path.write_text(path.read_text("utf-8").replace("</header>", f"{evil}</header>"), "utf-8")
    browser.open(path)
    assert browser.run("window.hacked") is None
    assert len(browser.complaints) >= 2
    assert all("Content Security Policy" in each for each in browser.complaints)
    assert browser.run(FOUND) == "6 arrays"


def test_ten_thousand_arrays(browser: Chromium, tmp_path: Path) -> None:
    """Only some rows are made at first. A search goes through all of them."""
    arrays = {f"layers/{i}/{n}": np.full(2, i, "f4") for i in range(2500) for n in "abcd"}
    initreg.report(arrays).save(tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    assert browser.run("document.querySelectorAll('#tree tr').length") < 300
    assert browser.run(FOUND) == "10,000 arrays"
    type_in(browser, "2499/")
    assert browser.run(NAMES) == [f"layers/2499/{n}" for n in "abcd"]
    type_in(browser, "/a")
    assert browser.run(FOUND) == "2,500 of 10,000 arrays"
    assert browser.run(f"{NAMES}.length") == 200
    browser.run("document.querySelector('.more button').click()")
    assert browser.run(f"{NAMES}.length") == 400


def test_a_failing_plan_comes_first(browser: Chromium, tmp_path: Path) -> None:
    """In red, before the name of the source."""
    report = initreg.report(BASE, target={"head/kernel": np.zeros((30, 9))})
    report.save(tmp_path / "r.html")
    browser.open(tmp_path / "r.html")
    first = "document.querySelector('header').firstElementChild"
    assert "cannot be carried out: 1 array does not fit" in browser.run(f"{first}.innerText")
    red, green, blue = json.loads(
        browser.run(f"getComputedStyle({first}).color").replace("rgb(", "[").replace(")", "]")
    )
    assert red > 2 * max(green, blue)
    type_in(browser, "head")
    assert "mismatched" in browser.run("document.querySelector('#tree tbody').innerText")


def test_without_its_script(browser: Chromium, two: Path) -> None:
    """There is a plain table of all arrays, the differences, and what the sources are."""
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(two)
        document = browser.call("DOM.getDocument", depth=-1)
        html = browser.call("DOM.getOuterHTML", nodeId=document["root"]["nodeId"])["outerHTML"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    body = html.partition("<noscript>")[2].partition("</noscript>")[0]
    assert body.count("<tr>") == 1 + len(BASE) + 1
    assert "net/a/kernel" in body
    assert browser.complaints == []


def test_printing(browser: Chromium, one: Path) -> None:
    """All names are printed, also of groups that were closed."""
    browser.open(one)
    click(browser, "net")
    assert len(browser.run(NAMES)) == 3
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert len(browser.run(NAMES)) == 9
    assert browser.pdf().startswith(b"%PDF")


def test_colours_change_with_the_scheme(browser: Chromium, one: Path) -> None:
    """A heat map that is open is painted again."""
    browser.open(one)
    type_in(browser, "net/b/kernel")
    click(browser, "net/b/kernel")
    pixels = """[...document.querySelector(".detail canvas").getContext("2d")
        .getImageData(0, 0, 8, 8).data]"""
    light: Any = browser.run(pixels)
    browser.scheme(dark=True)
    assert browser.run(f"new Promise((done) => setTimeout(() => done({pixels}), 50))") != light
