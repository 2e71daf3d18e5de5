"""Rule files in stores, and what they may name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from upath import UPath

import initreg
from initreg import RuleError, SourceNotFound, UnreadableFile
from tests.storage.web_server import serving

SOURCE = {"emb": np.arange(6.0).reshape(3, 2)}
_numbers = itertools.count()


@pytest.fixture
def folder() -> Iterator[str]:
    """The URL of a folder in fsspec's memory."""
    fs = fsspec.filesystem("memory")
    name = f"rules-{next(_numbers)}"
    yield f"memory://{name}"
    if fs.exists(name):
        fs.rm(name, recursive=True)


def put(url: str, text: str) -> str:
    fsspec.filesystem("memory").pipe(url.removeprefix("memory://"), text.encode())
    return url


def test_a_rule_file_may_be_a_url(folder: str, tmp_path: Path) -> None:
    """A URL, a UPath and a web server give the rules that the file on the disk gives."""
    text = 'rename = { "emb" = "table" }\ntake = { "table" = { axis = 0, indices = [2, 0] } }\n'
    url = put(f"{folder}/rules.toml", text)
    (tmp_path / "rules.toml").write_text(text)
    expected = initreg.load(SOURCE, rules=tmp_path / "rules.toml")
    assert expected["table"].tolist() == [[4, 5], [0, 1]]
    with serving(tmp_path) as web:
        for rules in (url, UPath(url), [url], f"{web.url}rules.toml"):
            found = initreg.load(SOURCE, rules=rules)
            assert found.keys() == expected.keys()
            assert np.array_equal(found["table"], expected["table"])


def test_a_map_is_saved_to_a_url(folder: str) -> None:
    """What initreg.map found can be saved to a store, and used from there."""
    model = {"emb": np.zeros((3, 2))}
    initreg.map(SOURCE, model).save(f"{folder}/rules.toml")
    initreg.SmartInit(SOURCE, rules=f"{folder}/rules.toml").init(model)
    assert np.array_equal(model["emb"], SOURCE["emb"])


def test_errors_name_the_url(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing or wrong is named with its line, and without what is secret."""
    with pytest.raises(SourceNotFound, match=rf"{folder}/nope\.toml: no such file, in rules="):
        initreg.load(SOURCE, rules=f"{folder}/nope.toml")
    url = put(f"{folder}/wrong.toml", "\nrenam = 1\n")
    with pytest.raises(RuleError, match=rf"{folder}/wrong\.toml, line 2: 'renam' is not a rule"):
        initreg.load(SOURCE, rules=url)
    monkeypatch.setattr("initreg.storage.store_files._FIRST_PAUSE", 0.001)
    with pytest.raises(UnreadableFile, match=r"127\.0\.0\.1:9/rules\.toml") as caught:
        initreg.load(SOURCE, rules="http://user:PASSWORD@127.0.0.1:9/rules.toml?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    assert "PASSWORD" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'take = { "emb" = { axis = 0, old = "/etc/hostname", new = "new.txt" } }',
        '[[step]]\ndrop = "x"\n[step.inverse]\n'
        'take = { "emb" = { axis = 0, old = "a", new = "b" } }',
    ],
)
def test_a_rule_file_in_a_store_names_no_file_of_this_disk(folder: str, text: str) -> None:
    """A file of somebody else never has one read that lies here."""
    url = put(f"{folder}/rules.toml", text)
    with pytest.raises(RuleError, match=r"read from this disk\. Download the rule file"):
        initreg.load({**SOURCE, "x": np.ones(1)}, rules=url)


def test_a_vocabulary_is_downloaded_first(folder: str, tmp_path: Path) -> None:
    """A vocabulary that is given as a URL is one error that says so."""
    new = tmp_path / "new.txt"
    new.write_text("c\na\n")
    old = put(f"{folder}/old.txt", "a\nb\nc\n")
    with pytest.raises(
        RuleError, match=rf"{old}: a vocabulary is read from the disk\. Download it"
    ):
        initreg.load(SOURCE, take={"emb": (0, old, new)})
