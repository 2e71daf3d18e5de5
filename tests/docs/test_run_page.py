"""The program that runs a page: what it takes for right, and what it finds wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("run_page.py")
GIVEN = """
def given(page):
    page.one = 1

def first(page):
    page.one = 10

def looks(page, again):
    assert page.two == 11
    again("one + 1", "one + 2")
    assert page.two == 12
    print("looked at")

BEFORE = {"two = ": first}
AFTER = {"two = ": looks}
APART = {"import os": lambda page: setattr(page, "own", "a process")}

def after(page):
    assert page.one == 10
    print("looked at all")
"""


def run(folder: Path, text: str, given: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "page.md").write_text(text)
    (folder / "given.py").write_text(given)
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(folder / "page.md"), str(folder / "given.py")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def test_blocks_share_names_and_a_folder(tmp_path: Path) -> None:
    """Python, sessions and commands of a page go on with what those before them made, in lists
    too; and what is given goes before and after. Marked blocks and other languages are not run."""
    text = """
```python
two = one + 1
```

1. In a list:

   ```pycon
   >>> two
   12
   >>> three = 3
   >>> import initreg, warnings
   >>> warnings.warn("twice"); warnings.warn("twice")
   UserWarning: twice
   UserWarning: twice
   >>> path = initreg.save("m.npz", {"w": [1.0] * three})
   ```

```console
$ initreg ls m.npz  # its arrays
NAME  SHAPE  DTYPE    SIZE
w     (3,)   float64  24 B
...
$ initreg ls \\
    m.npz
$ python -c "print('Hello')" && echo "exit code $?"
Hello
exit code 0
$ initreg ls other.npz
initreg: other.npz: no such file ...
$ initreg plan m.npz --onto m.npz --prefix a/
...
it would fail: ...
$ make a mess
```

<!-- not run: it would be
  an error -->
```python
1 / 0
```

```text
1 / 0
```

```python
import os
print(own, os.getppid())
assert "two" not in globals()
```
"""
    done = run(tmp_path, text, GIVEN)
    assert done.returncode == 0, done.stdout
    assert "looked at\n" in done.stdout
    assert done.stdout.endswith("looked at all\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2\n"),
        ("```pycon\n>>> import warnings; warnings.warn('a')\n```\n", "Got:\n    UserWarning: a\n"),
        ("```pycon\n1 + 1\n```\n", "page.md:2: has no example"),
        ("\n\n```python\na = 1\n1 / 0\n```\n", 'page.md", line 5, in <module>\n    1 / 0\n'),
        ("```console\n$ initreg ls m.npz\nv  (2,)\n...\n```\n", "and the page shows\nv  (2,)\n"),
        ("```console\n$ initreg ls m.npz\nw\n```\n", "and the page shows\nw\n"),
        ("```console\n$ initreg ls no.npz\n```\n", "ends with exit code 2"),
        (
            "```console\n$ initreg ls no.npz || true\ninitreg: no\n...\n```\n",
            "prints\ninitreg: no.n",
        ),
        ("```console\n$ echo 'initreg: no'\ninitreg: no\n```\n", "it should be 2"),
        ("```console\n$ false\n```\n", "ends with exit code 1"),
        ("```console\ninitreg ls m.npz\n```\n", "a console block begins with a command: $ ..."),
        ("```console\n# first\n$ initreg ls m.npz\n```\n", "begins with a command: $ ..."),
    ],
)
def test_what_a_page_says_wrong(text: str, message: str, tmp_path: Path) -> None:
    """The page fails, and the message has its line, what it shows and what happens."""
    np.savez(tmp_path / "m.npz", w=np.zeros(2))
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert message in done.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("def after(page): assert page.a == 2", "assert page.a == 2"),
        ("def look(page, again): assert page.a == 2\nAFTER = {'a =': look}", "assert page.a == 2"),
        ("AFTER = {'b =': print}", "AFTER: 0 blocks have the words 'b ='"),
        ("BEFORE = {'=': print}", "BEFORE: 2 blocks have the words '='"),
        ("AFTER = {'a =': lambda page, again: again('b', 'c')}", "page.md:2: has no 'b'"),
        ("APART = {'a =': lambda page: 1 / 0}", "page.md:2, in a process of its own:"),
    ],
)
def test_what_is_given_wrong(given: str, message: str, tmp_path: Path) -> None:
    """What a block came to is looked at; and words that name no block, or two, are an error."""
    done = run(tmp_path, "```python\na = 1\n```\n\n```python\nd = 1\n```\n", given)
    assert done.returncode == 1
    assert message in done.stdout
