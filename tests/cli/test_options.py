"""The rules at the command line, and hints as they are typed there."""

import argparse
import inspect
import os
import shlex
import subprocess

import pytest

from initreg import SmartInit
from initreg.cli.flags import flags, quote
from initreg.cli.options import add_rules, rules_of
from initreg.cli.verbs.plan import _POLICIES
from initreg.errors import RuleError
from initreg.plan.rows import Policy
from initreg.rules.keywords import RuleOptions


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_rules(parser)
    return rules_of(parser.parse_args(arguments))


def test_no_option_is_no_rule():
    """Nothing is passed on that was not typed."""
    assert parsed() == {}


@pytest.mark.parametrize(
    "rules",
    [
        {"rules": ["a.toml", "b=c.toml"]},
        {"strip_prefix": "model/"},
        {"prefix": "a b/"},
        {"rename": [("^model/", ""), (r"\.", "/")]},
        {"transpose": ["*/kernel", "it's"]},
        {"permute": {"conv*": (2, 3, 1, 0), "a=b": (1, 0)}},
        {"pad": {"emb": (0, 9, "mean")}, "slice": {"x": (0, 1, 2)}},
        {"split": {"qkv": (0, ["q", "k", "v"])}, "stack": {"a=b": (-1, ["x.{i}"])}},
        {"concat": {"*/x": (1, ["*/a", "*/b"])}, "unstack": {"y": (0, ["1", "2"])}},
        {"split": {"qkv": (0, ["q", "k"], [4, 2])}, "concat": {"w": (1, ["p.{i}"], "equal")}},
        {"split": {"x": (0, ["a.{i}"], 3)}, "sum": {"b": ["b_ih", "b_hh"], "c": ["c{i}"]}},
        {"add": {"*/forget": 1, "x": -0.5}, "gates": {"a=b": (-1, "onnx-lstm", "ifco")}},
        {"fold_batch_norm": {"*.w": (0, 1e-05, "*.b", "*.m", "*.v", "*.g", "*.o")}},
        {"fold_batch_norm": {"w": (-1, 0.001, "b", "m", "v"), "u": (0, 1.0, *"bmv", None, "o")}},
        {"take": {"w": (0, [3, 1]), "x": (1, "old.txt", "new.txt", "mean")}},
        {"scale": {"w": 0.5, "v": 2, "*.w": "*.s", "x": ("s", 128), "y": ("s", [128, 64])}},
        {"reshape": {"w": (768, 12, -1)}},
        {"keep": ["a"], "drop": ["b", "c"]},
        {"cast": {"*": "float32"}},
    ],
    ids=str,
)
def test_what_a_hint_types_is_what_is_parsed(rules):
    """flags() is the inverse: a hint's options, typed, are those options."""
    assert parsed(*shlex.split(flags(rules))) == rules


def test_exact_renames_come_first():
    """--rename gives a dict, which goes before the regular expressions, in one rename rule."""
    assert parsed("--rename-regex", "a", "b", "--rename", "x", "y", "--rename", "u", "v") == {
        "rename": [{"x": "y", "u": "v"}, ("a", "b")]
    }


def test_a_cast_is_of_all_floats_or_by_glob():
    """A dtype alone, or a glob with one."""
    assert parsed("--cast", "bfloat16") == {"cast": "bfloat16"}
    assert parsed("--cast", "a=b=int8") == {"cast": {"a=b": "int8"}}


def test_a_cast_of_all_floats_is_given_once():
    """Two dtypes without a glob are an error that says so."""
    with pytest.raises(RuleError, match="--cast DTYPE can be given only once"):
        parsed("--cast", "float16", "--cast", "float32")


def test_the_policies_that_parsing_knows_are_those_of_the_plan():
    """They are spelt out there, so that parsing imports little."""
    assert set(_POLICIES) == {policy.value for policy in Policy}


def test_every_rule_of_smart_init_has_an_option():
    """No rule can be typed in Python alone."""
    parser = argparse.ArgumentParser()
    add_rules(parser)
    options = {action.dest for action in parser._actions} - {"help", "rename_regex"}
    assert options == set(RuleOptions.__annotations__)
    assert options <= set(inspect.signature(SmartInit).parameters)


@pytest.mark.parametrize(
    "text", ["a b", "it's", "", "\x1b[1m7\r\n'\\x", "\u202e1\x9b2", "-é\t$(id)`", "\udcff"]
)
def test_what_is_quoted_is_printed_and_is_itself(text):
    """bash takes it for the text, whatever is in it, and it moves no cursor."""
    quoted = quote(text)
    assert quoted.isprintable()
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    command = ["bash", "-c", f"printf %s {quoted}"]
    assert subprocess.run(command, capture_output=True, env=environment, check=True).stdout == (
        os.fsencode(text)
    )
