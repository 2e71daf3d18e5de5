"""``--for SOURCE``: rules and options of opening for one source of several."""

import argparse

import numpy as np
import pytest

import initreg
from initreg.cli.options import add_for, add_opening, add_rules, add_sources, rules_of, sources_of
from initreg.cli.parser import BadUsage, Parser
from initreg.errors import RuleError


def parsed(*arguments: str) -> argparse.Namespace:
    parser = Parser()
    add_sources(parser)
    add_opening(parser)
    add_for(parser, add_rules(parser))
    parser.add_argument("--rtol", type=float)
    return parser.parse_args(arguments)


def test_what_follows_is_for_one_source(tmp_path):
    """Rules after --for are applied to that source alone, and before those of all sources."""
    a = str(initreg.save(tmp_path / "a.npz", {"model/w": np.ones(2), "x": np.ones(1)}))
    b = str(initreg.save(tmp_path / "b.npz", {"w": np.zeros(2)}))
    options = parsed(
        *(a, b, "--prefix", "new/", "--for", a, "--strip-prefix", "model/", "--drop", "x"),
        *("--for", b, "--rename", "w", "v", "--rtol", "2"),
    )
    assert rules_of(options) == {"prefix": "new/"}
    assert options.rtol == 2  # of the verb, wherever it is typed
    one, other = sources_of(options)
    assert list(initreg.load(one, **rules_of(options))) == ["new/w"]
    assert list(initreg.load(other, **rules_of(options))) == ["new/v"]


def test_options_of_opening_are_for_one_source_too(tmp_path):
    """The format after --for is that of one source."""
    a = str(initreg.save(tmp_path / "a", {"w": np.ones(2)}, format="npz"))
    options = parsed(a, "b.npz", "--for", a, "--format", "npz")
    one, other = sources_of(options)
    assert one.links[0].opening.format == "npz"
    assert other == "b.npz"
    assert options.format is None


def test_each_source_has_each_option_once():
    """A second value for the same source is bad usage, and one for another source is not."""
    parsed("a", "b", "--prefix", "x", "--for", "a", "--prefix", "y", "--for", "b", "--prefix", "z")
    with pytest.raises(BadUsage) as caught:
        parsed("a", "b", "--for", "a", "--prefix", "x", "--for", "b", "--for", "a", "--prefix", "y")
    assert "it is given twice: 'x' and 'y'" in caught.value.message


def test_another_source_is_an_error():
    """--for names a source as it is typed."""
    with pytest.raises(RuleError, match=r"--for c: this is not one of the sources. They are a, b"):
        sources_of(parsed("a", "b", "--for", "c", "--drop", "x"))


def test_a_rule_that_matches_nothing_is_an_error(tmp_path):
    """Rules of one source have to match in that source."""
    a = str(initreg.save(tmp_path / "a.npz", {"w": np.ones(2)}))
    b = str(initreg.save(tmp_path / "b.npz", {"x": np.ones(2)}))
    with pytest.raises(RuleError, match=r"drop='x' matches no array"):
        initreg.load(sources_of(parsed(a, b, "--for", a, "--drop", "x")))
