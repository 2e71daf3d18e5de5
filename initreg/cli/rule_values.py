"""The values of rules as they are typed on the command line: ``conv*=2,3,1,0``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from initreg.errors import RuleError

_EXAMPLES = {
    "permute": "'conv*=2,3,1,0'",
    "scale": "'*.w=*.scale'",
    "fold_batch_norm": "'conv/kernel=3,0.001,conv/bias,bn/mean,bn/variance,bn/gamma,bn/beta'",
    "add": "'lstm/forget_bias=1'",
    "sum": "'bias=bias_ih,bias_hh'",
    "gates": "'lstm/*=0,iofc,ifco'",
    "split": "'qkv=0,q,k,v'",
    "unstack": "'w=0,layers.{i}.w'",
    "concat": "'qkv=0,q,k,v'",
    "stack": "'w=0,layers.{i}.w'",
    "reshape": "'query/kernel=768,12,-1'",
    "take": "'emb=0,3,1'",
    "slice": "'emb*=0,0,5'",
    "pad": "'emb*=0,5'",
    "view": "emb=bfloat16",
    "cast": "step=int32",
}


def split_at(text: str, name: str) -> tuple[str, str]:
    glob, equals, value = text.rpartition("=")
    if not equals:
        flag = name.replace("_", "-")
        raise RuleError(
            f"--{flag} {text}: give a glob, '=' and a value, as in --{flag} {_EXAMPLES[name]}"
        )
    return glob, value


def _parts(text: str) -> tuple[Any, ...]:
    """``0,q,k`` as (0, ["q", "k"]), and ``0,q,k;4,2`` as (0, ["q", "k"], [4, 2]). The rule says
    what it takes if there is no number."""
    text, semicolon, sizes = text.partition(";")
    axis, *names = text.split(",")
    found = [number_of(size) for size in sizes.split(",")] if semicolon else []
    return number_of(axis), names, *([found if len(found) > 1 else found[0]] if found else [])


def number_of(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _folded(text: str) -> tuple[Any, ...]:
    """``3,0.001,b,m,v`` as (3, 0.001, "b", "m", "v")."""
    axis, *others = text.split(",")
    epsilon, *names = others or [""]
    try:
        number: Any = float(epsilon)
    except ValueError:
        number = epsilon  # the rule says what it takes
    return number_of(axis), number, *(name or None for name in names)


PARSERS: dict[str, Callable[[str], Any]] = {
    "fold_batch_norm": _folded,
    "split": _parts,
    "unstack": _parts,
    "sum": lambda text: text.split(","),
    "concat": _parts,
    "stack": _parts,
}


def scaled(values: tuple[Any, ...]) -> Any:
    """``("s",)`` as "s", and ``("s", 128, 64)`` as ("s", [128, 64])."""
    by, *block = values
    return (by, block if len(block) > 1 else block[0]) if block else by


def taken(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """``(0, 3, 1)`` as (0, [3, 1]). Vocabularies stay as they are."""
    axis, *others = values
    is_by_index = all(isinstance(each, int) for each in others)
    return (axis, others) if is_by_index else values


def numbers(text: str) -> tuple[Any, ...]:
    """``0,,5`` as (0, None, 5). Anything else stays text, and the rule says what it takes."""
    found: list[Any] = []
    for part in text.split(","):
        try:
            found.append(ast.literal_eval(part.strip()) if part.strip() else None)
        except (ValueError, SyntaxError):
            found.append(part.strip())
    return tuple(found)


def dtypes_of(given: Sequence[str] | None, name: str) -> Any:
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    if sum("=" not in each for each in given) > 1:
        raise RuleError(
            f"--{name} DTYPE can be given only once. For some arrays: --{name} GLOB=DTYPE"
        )
    return dict(split_at(each, name) for each in given)
