"""Rule files: rules in TOML, which can be read, commented, and used again.

The options stand at the top of the file, or in ``[[step]]`` tables, which are applied from top to
bottom. They have the names that they have in Python. :func:`read` checks all of them before
anything else is opened, and its errors name the line.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path as FilePath
from typing import Any

from initreg.errors import RuleError, SourceNotFound
from initreg.option_spelling import option as option_text
from initreg.option_spelling import said, spell_options
from initreg.rules.kinds import FIELD_KINDS, IN_TABLE, WHOLE, is_renaming
from initreg.rules.options import ORDER, checked
from initreg.rules.rename_rules import is_pair
from initreg.rules.steps import Step, parts_of, where
from initreg.rules.toml_lines import Path, lines_of
from initreg.rules.writing import FIELDS, in_order, spelt
from initreg.storage import small_files
from initreg.storage.locating import is_remote, is_url, locate
from initreg.storage.paths import status
from initreg.storage.stores import without_secrets
from initreg.store_paths import StorePath
from initreg.text.near import near
from initreg.text.wording import printable

Refuse = Callable[[Path, str], RuleError]  # the error about a part of a step, and its words

_LARGEST = 64 << 20  # bytes of a rule file
INVERSE = "inverse"
STEP = "step"
_GLOBS = "a glob, or a list of globs"
# What each option takes, in the words of TOML.
USAGE = {
    "keep": _GLOBS,
    "drop": _GLOBS,
    "strip_prefix": "a text",
    "rename": 'a table of names, or a list of pairs: [["regex", "replacement"]]',
    "prefix": "a text",
    "view": 'a dtype, or a table of them: { "emb" = "bfloat16" }',
    "scale": 'a number, the name of another array, or a table: { "*/w" = "*/scale" }, '
    '{ "*/w" = { by = "*/scale", block = 128 } }',
    "fold_batch_norm": 'a table: { "conv/kernel" = { axis = 3, epsilon = 0.001, '
    'bias = "conv/bias", mean = "bn/mean", variance = "bn/variance", gamma = "bn/gamma", '
    'beta = "bn/beta" } }; gamma and beta may be left out',
    "add": 'a table of numbers: { "forget_bias" = 1.0 }',
    "sum": 'a table of names: { "bias" = ["bias_ih", "bias_hh"] }',
    "gates": 'a table: { "lstm/*" = { axis = 0, from = "onnx-lstm", to = "keras-lstm" } }, or '
    'letters: { axis = 0, from = "i o f c", to = "i f c o" }',
    "split": 'a table: { "qkv" = { axis = 0, into = ["q", "k", "v"] } }',
    "unstack": 'a table: { "layers/w" = { axis = 0, into = "layers/{i}/w" } }',
    "concat": 'a table: { "qkv" = { axis = 0, of = ["q", "k", "v"] } }',
    "stack": 'a table: { "layers/w" = { axis = 0, of = "layers/{i}/w" } }',
    "transpose": _GLOBS,
    "reshape": 'a table of shapes: { "query/kernel" = [768, 12, -1] }',
    "permute": 'a table of axes: { "conv*/kernel" = [2, 3, 1, 0] }',
    "take": 'a table: { "emb" = { axis = 0, indices = [3, 1] } }, or old and new, which are the '
    'vocabularies: { axis = 0, old = "old.txt", new = "new.txt", fill = "mean" }',
    "slice": 'a table: { "emb" = { axis = 0, start = 0, stop = 5 } }, or a slice for each axis: '
    '"0:5, 4:8"',
    "pad": 'a table: { "emb" = { axis = 0, length = 32000, fill = "mean" } }',
    "cast": 'a dtype, or a table of them: { "step" = "int32" }',
}


def paths_of(given: Any) -> list[str]:
    """The paths in the value of ``rules=``: one path, or a list of them.

    Raises:
        RuleError: it is something else.
    """
    each = [given] if isinstance(given, (str, os.PathLike)) or is_remote(given) else given
    if not isinstance(each, (list, tuple)) or not all(
        is_remote(path) or (isinstance(path, (str, os.PathLike)) and os.fspath(path))
        for path in each
    ):
        raise RuleError(
            option_text("rules", given)
            + ": give the path of a rule file, or a list of them. Rules themselves are options of "
            "their own"
        )
    return [str(path) if is_remote(path) else os.fsdecode(path) for path in each]


def read(path: str) -> list[Step]:
    """The steps of a rule file.

    Args:
        path: the file, or its URL. Then it may name no vocabularies, which are files on the disk.

    Raises:
        RuleError: it is not TOML, or has something that is not a rule. The error names the line.
        SourceNotFound: there is no such file.
        InitregError: the file cannot be read.
    """
    document, lines = _document(path)
    path = without_secrets(path)
    steps = document.get(STEP)
    if steps is None:
        return [_step(document, path, lines, ())] if document else []
    others = [key for key in document if key != STEP]
    if others:
        at = where(path, lines, (others[0],))
        raise RuleError(
            f"{at}: {printable(others[0])} stands outside of the [[step]] tables, so it is not "
            "known when it is to be applied. Put it into a [[step]] of its own"
        )
    if not isinstance(steps, list) or not all(isinstance(each, Mapping) for each in steps):
        raise RuleError(f"{where(path, lines, (STEP,))}: write [[step]], in double brackets")
    return [_step(each, path, lines, (STEP, index)) for index, each in enumerate(steps)]


def _document(path: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The content of a file, and the lines of its parts."""
    file: FilePath | StorePath = FilePath(path).expanduser()
    if is_url(path):
        at = locate(path)
        assert at is not None
        file, path = at.path, without_secrets(path)
    if status(file) is None:
        raise SourceNotFound(f"{path}: no such file, in " + option_text("rules", path))
    data = small_files.content(file, _LARGEST, "a rule file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RuleError(f"{path}, line {line}: this is not text in UTF-8") from error
    try:
        return tomllib.loads(text), lines_of(text.replace("\r\n", "\n"))
    except RecursionError as error:
        raise RuleError(f"{path}: its lists and tables are too deep") from error
    except ValueError as error:  # a TOMLDecodeError, or a number of thousands of digits
        found = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        reason = str(error)[: found.start()] if found else str(error).partition(" (at ")[0]
        line = int(found[1]) if found else text.rstrip().count("\n") + 1  # the end of the document
        raise RuleError(
            f"{path}, line {line}: this is not valid TOML: {printable(reason)}"
        ) from error


def _step(table: Mapping[str, Any], path: str, lines: Mapping[Path, int], at: Path) -> Step:
    def refuse(where_in: Path, message: str) -> RuleError:
        return RuleError(f"{where(path, lines, (*at, *where_in))}: {message}")

    options = _options(table, (), refuse, {*ORDER, INVERSE, *({STEP} if not at else ())})
    _refuse_vocabularies(options, path, lambda message: refuse(("take",), message))
    inverse = table.get(INVERSE)
    undone = None
    if inverse is not None:
        if not isinstance(inverse, Mapping):
            raise refuse((INVERSE,), f"{INVERSE}: give a table of the options that undo the step")
        undone = _options(inverse, (INVERSE,), refuse, ORDER)
        _refuse_vocabularies(undone, path, lambda message: refuse((INVERSE, "take"), message))
    return Step(options, undone, path, lines, at)


def _refuse_vocabularies(
    options: Mapping[str, Any], path: str, refuse: Callable[[str], RuleError]
) -> None:
    """Raise RuleError if a rule file in a store names files. Those of this disk are not its own."""
    if not is_url(path) or not isinstance(options.get("take"), Mapping):
        return
    for how in options["take"].values():
        named = [each for each in how if isinstance(each, str)] if isinstance(how, tuple) else []
        if named:
            raise refuse(
                f"names the vocabulary {printable(repr(named[0]))}, which is read from this disk. "
                "Download the rule file, and give its path"
            )


def _options(
    table: Mapping[str, Any], at: Path, refuse: Refuse, known: Collection[str]
) -> dict[str, Any]:
    """The options in a table, as Python takes them."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise refuse(
                (*at, key), f"{printable(repr(key))} is not a rule. " + _nearest(key, known)
            )
        if key in ORDER:
            found[key] = _value(key, value, (*at, key), refuse)
    for option in {"view", "cast"} & set(found):
        for path, part in parts_of(option, found[option]):
            try:
                checked({option: part})
            except RuleError as error:
                raise refuse((*at, option, *path), spell_options(said(error), spelt)) from error
    return checked(found)


def _value(option: str, value: Any, at: Path, refuse: Refuse) -> Any:
    """The value of an option as Python takes it, with fields in their order."""

    def wrong(where_in: Path) -> RuleError:
        return refuse(where_in, f"{option}: give {USAGE[option]}")

    whole = WHOLE.get(option)
    is_table = option in IN_TABLE or option in FIELDS or option == "rename"
    fits = (whole is not None and whole.fits(value)) or (is_table and isinstance(value, Mapping))
    if not fits:
        each_part = enumerate(value) if isinstance(value, list) else ()
        bad = [index for index, each in each_part if not _fits(option, each)]
        raise wrong((*at, *bad[:1]))
    if option == "rename" and isinstance(value, list):
        return tuple(value) if is_pair(value) else [_pair(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for glob, each in value.items():
        if option in FIELDS and not (option in IN_TABLE and IN_TABLE[option].fits(each)):
            found[glob] = _fields(option, each, (*at, glob), refuse)
        elif not (isinstance(each, str) if option == "rename" else IN_TABLE[option].fits(each)):
            raise wrong((*at, glob))
        else:
            found[glob] = tuple(each) if option in ("permute", "reshape") else each
    return found


def _pair(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def _fits(option: str, each: Any) -> bool:
    """Whether an option can have such an element of its list."""
    return isinstance(each, str) or (option == "rename" and is_renaming(each))


def _fields(option: str, given: Any, at: Path, refuse: Refuse) -> tuple[Any, ...]:
    """The values of a table such as ``{ axis = 0, start = 5 }``, in their order."""
    names, needed = FIELDS[option]
    usage = f"{option}: give {USAGE[option]}"
    if isinstance(given, list):
        if not 0 < in_order(option) <= len(given) <= len(names):
            raise refuse(at, usage)
        given = dict(zip(names, given, strict=False))
    if not isinstance(given, Mapping):
        raise refuse(at, usage)
    for key in given:
        if key not in names:
            raise refuse(
                (*at, key),
                f"{printable(repr(key))} is not a part of {option}. " + _nearest(key, names),
            )
    for key in needed:
        if key not in given:
            raise refuse(at, f"{option} lacks {key}: give {USAGE[option]}")
    for key, value in given.items():
        if not FIELD_KINDS[key].fits(value):
            raise refuse((*at, key), usage)
    if option == "take":
        by_index, by_token = "indices" in given, "old" in given and "new" in given
        if by_index == by_token or (by_index and len(given) > 2):
            raise refuse(at, usage)
        if by_index:
            return given["axis"], given["indices"]
        return tuple(given[name] for name in ("axis", "old", "new", "fill") if name in given)
    values = [given.get(name) for name in names]
    while len(values) > len(needed) and values[-1] is None and option != "slice":
        values.pop()
    return tuple(values)


def _nearest(key: str, known: Collection[str]) -> str:
    if found := near(key, known, 1):
        return f"Did you mean {found[0]}?"
    return f"There are {', '.join(sorted(known))}"
