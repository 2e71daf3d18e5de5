"""The documents: what exists is mentioned, what is shown runs, what is linked is there."""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import re
import shlex
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import cli, errors, hookspecs
from initreg.plan import Kind

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *(ROOT / f"{n}.md" for n in ("CONTRIBUTING", "CHANGELOG", "SECURITY")), *DOCS]
PAGES += sorted((ROOT / "plugins").glob("*/README.md"))


def text_of(*paths: Path) -> str:
    return "\n".join(path.read_text("utf-8") for path in paths)


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(path), re.DOTALL | re.MULTILINE)


def verbs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in cli.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


# --- what exists is mentioned --------------------------------------------------------------------


@pytest.mark.parametrize("name", initreg.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """Each name of initreg.__all__ is in the README or on a page of docs/."""
    assert mentions(text_of(README, *DOCS), name)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, (errors.InitregError, Warning))
    ],
)
def test_every_error_and_warning_is_documented(name: str) -> None:
    """Each class of errors.py is explained in docs/matching.md, and is a public name."""
    assert mentions(text_of(ROOT / "docs" / "matching.md"), name)
    assert name in initreg.__all__


@pytest.mark.parametrize("name", [n for n in vars(hookspecs) if n.startswith("initreg_")])
def test_every_hook_is_documented(name: str) -> None:
    """Each hook of the contract is in docs/writing-a-plugin.md."""
    assert mentions(text_of(ROOT / "docs" / "writing-a-plugin.md"), name)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_row_is_documented(kind: Kind) -> None:
    """Each kind of row that a plan may have is named in docs/matching.md."""
    assert f"`{kind.value}`" in text_of(ROOT / "docs" / "matching.md")


@pytest.mark.parametrize("verb", [name for name, _ in verbs()])
def test_every_verb_and_option_is_documented(verb: str) -> None:
    """docs/cli.md has a section for each verb, with its arguments and options."""
    page = text_of(ROOT / "docs" / "cli.md")
    parser = dict(verbs())[verb]
    section = re.search(rf"^## `initreg {verb}\b.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    for action in parser._actions:
        if not action.option_strings:
            assert str(action.metavar) in section[0]
        elif "--help" not in action.option_strings:
            shared = "--json" in action.option_strings  # said once, of all verbs
            assert mentions(page if shared else section[0], action.option_strings[-1])


def test_every_format_and_target_has_its_section() -> None:
    """Each format in the wheel has a section in docs/formats.md, each target in docs/targets.md."""
    formats = text_of(ROOT / "docs" / "formats.md")
    for point in metadata.entry_points(group="initreg"):
        if point.value.startswith("initreg_formats."):
            assert f"\n## {point.name}\n" in formats
    headings = re.findall(r"^## (.+)$", text_of(ROOT / "docs" / "targets.md"), re.MULTILINE)
    assert headings == [
        "A TF1 session",
        "TF variables",
        "Keras models",
        "A dict of numpy arrays",
    ]


# --- what is shown runs --------------------------------------------------------------------------


def test_the_tour_of_the_readme_runs_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every >>> example of the README prints what the README says, warnings included."""

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        print(f"{category.__name__}: {message}")

    monkeypatch.chdir(ROOT)
    tour = "\n".join(code_blocks(README, "pycon"))
    test = doctest.DocTestParser().get_doctest(tour, {}, "README.md", str(README), 0)
    assert len(test.examples) > 8
    said = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        failed = doctest.DocTestRunner(verbose=False).run(test, out=said.write).failed
    assert failed == 0, said.getvalue()


def run_blocks(name: str, *wanted: str, **given: Any) -> dict[str, Any]:
    """Run the Python of a page from top to bottom, with what is ``given``; what there is in the
    end. ``wanted``: those blocks alone that have one of these words."""
    found: dict[str, Any] = dict(given)
    blocks = code_blocks(ROOT / "docs" / name, "python")
    chosen = [b for b in blocks if not wanted or any(word in b for word in wanted)]
    assert chosen
    for block in chosen:
        exec(compile(block, name, "exec"), found)
    return found


@pytest.mark.framework
def test_transfer_learning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the page's code, in a session and in Keras; what it restores is what the file has."""
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        found = run_blocks("transfer-learning.md")
    base = initreg.load("base.npz")
    model = found["model"]
    assert [w.tolist() for w in model.get_layer("hidden").get_weights()] == [
        base["net/fc/W"].tolist(),
        base["net/fc/b"].tolist(),
    ]
    mine = found["mine"]
    assert mine["head/W"][:, :3].tolist() == base["net/head/W"][:, [7, 0, 3]].tolist()
    assert mine["fc/W"].tolist() == base["net/fc/W"].tolist()


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_resuming_in_keras_and_in_a_session_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: the second time there is something to go on from."""
    monkeypatch.chdir(tmp_path)
    initreg.save("base.npz", {"fc/W": np.ones((4, 1), "f4")})
    schedule = initreg.RandomStates()
    x = np.ones((8, 3), "f4")
    given = {"x": x, "y": x.sum(1), "schedule": schedule}
    found = run_blocks("resuming.md", "trainers.keras", "trainers.tf1", **given)
    assert found["start"].initial_epoch == 0
    assert initreg.resume("run1").step == 3
    found = run_blocks("resuming.md", "trainers.keras", "trainers.tf1", **given)
    assert found["start"].initial_epoch == 20
    assert initreg.resume("run1").step == 6


_TENSORPACK = """
import sys, warnings
warnings.simplefilter("ignore")
import tensorflow as tf
from tensorpack import FakeData, FeedInput, ModelDesc, SimpleTrainer, launch_train_with_config
from tensorpack.utils import logger
logger.set_logger_dir("log", action="k")
v1 = tf.compat.v1

class Model(ModelDesc):
    def inputs(self):
        return [tf.TensorSpec([1], tf.float32, "x")]
    def build_graph(self, x):
        return tf.reduce_sum(v1.get_variable("fc/W", [4, 1]), name="cost")
    def optimizer(self):
        return v1.train.GradientDescentOptimizer(1.0)

data = FeedInput(FakeData([[1]], 100))
"""


@pytest.mark.framework
def test_resuming_in_tensorpack_runs(tmp_path: Path) -> None:
    """In a process of its own, as tensorpack turns TensorFlow 2 off."""
    initreg.save(tmp_path / "base.npz", {"fc/W": np.ones((4, 1), "f4")})
    (block,) = [b for b in code_blocks(ROOT / "docs" / "resuming.md", "python") if "Model()" in b]
    for epochs in (3, 4):
        code = _TENSORPACK + block.replace("max_epoch=3", f"max_epoch={epochs}")
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        arrays = initreg.load(tmp_path / f"log/model-{2 * epochs}")
        assert arrays["fc/W"].tolist() == [[1 - 2 * epochs]] * 4


@pytest.mark.parametrize("name", ["saving.md", "resuming.md"])
def test_the_examples_of_a_page_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with the demo's weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    (tmp_path / "run").mkdir()
    page = ROOT / "docs" / name
    text = "\n".join(code_blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(text, {}, name, str(page), 0)
    assert test.examples
    said = io.StringIO()
    assert doctest.DocTestRunner(verbose=False).run(test, out=said.write).failed == 0, (
        said.getvalue()
    )


def shown_commands() -> list[tuple[str, str]]:
    """``(command, output)`` of every 'initreg' command that the README shows."""
    found = []
    for block in code_blocks(README, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = entry.partition("\n")
            if command.startswith("initreg "):
                found.append((command, output))
    return found


def test_the_commands_of_the_readme_print_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each 'initreg ...' of the README, in order, prints that, apart from plugins of other
    distributions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    (tmp_path / "run").mkdir()
    initreg.save_states("run/model-2000.npz", epoch=4, step=2000)
    initreg.convert("demo/weights/digits.npz", "run/model-2000.npz")
    for command, output in shown_commands():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert cli.main(shlex.split(command)[1:]) == 0, command
        assert _without_strangers(printed.getvalue()) == _without_strangers(output), command


def _without_strangers(text: str) -> list[list[str]]:
    """Words of each line, without the plugins that an environment may have besides ours."""
    lines = [line.replace("gguf, ", "").split() for line in text.splitlines()]
    return [words for words in lines if "initreg-gguf" not in words]


def test_the_readme_shows_every_verb() -> None:
    """Each verb of the command line is shown once, with its real output."""
    assert sorted(c.split()[1] for c, _ in shown_commands()) == sorted(n for n, _ in verbs())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_compile(page: Path) -> None:
    """Every Python block of a page is Python; '# from ...' heads an excerpt of a function."""
    for block in code_blocks(page, "python"):
        head, _, rest = block.partition("\n")
        if head.startswith("# from "):
            block = "def excerpt():\n" + textwrap.indent(textwrap.dedent(rest), "    ")
        compile(block, str(page), "exec")


# --- what is linked is there ---------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    """Each relative link names a file, and each #anchor a heading of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text_of(target), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{page.name} links to {link}"
