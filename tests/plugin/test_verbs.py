"""Verbs that plugins add: what is checked, and what is wrong if two have the same name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from initreg import Verb, hookimpl
from initreg.plugin.registry import Registry
from initreg.plugin.verbs import plugin_verbs


def nothing(_: Any) -> None:
    """Adds no arguments, and does nothing."""


def plugin(answer: Any) -> Any:
    """A plugin that gives this answer, or raises it."""

    @hookimpl
    def initreg_verbs() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return type("Plugin", (SimpleNamespace,), {"__hash__": object.__hash__})(
        initreg_verbs=initreg_verbs
    )


def found(**answers: Any) -> Any:
    registry = Registry(())
    for name, answer in answers.items():
        record = registry.register(plugin(answer), name)
        assert (record.broken, record.kinds) == (None, ("verb",))
    return plugin_verbs(registry, ["ls", "plan"])


def test_verbs_of_several_plugins() -> None:
    """In the order of their names, each with its plugin; None is no verb."""
    b, a = (Verb(name, "Does something.", nothing, nothing) for name in "ba")
    verbs = found(one=[b], two=(a,), three=None)
    assert list(verbs.verbs.items()) == [
        ("a", ("the plugin 'two'", a)),
        ("b", ("the plugin 'one'", b)),
    ]
    assert (verbs.clashes, verbs.failed) == ({}, {})


def test_a_verb_of_initreg_stays() -> None:
    """Its name is not given away, and the message names both."""
    verbs = found(one=[Verb("ls", "Lists.", nothing, nothing)])
    assert verbs.verbs == {}
    assert verbs.clashes == {
        "ls": "the verb 'ls' is initreg's own, and that of the plugin 'one' is not used"
    }


def test_two_plugins_with_one_verb() -> None:
    """Neither is taken, and the message names both. Their other verbs stay."""
    verb, other = (Verb(name, "Lists.", nothing, nothing) for name in ("tally", "count"))
    verbs = found(one=[verb], two=[verb, other])
    assert list(verbs.verbs) == ["count"]
    assert verbs.clashes == {
        "tally": "the verb 'tally' is in the plugin 'one' and the plugin 'two', and none is used. "
        "Uninstall one"
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ValueError("oh"), "ValueError: oh"),
        (3, "initreg_verbs returned 3, not a list of Verb"),
        (["ls"], "not a list of Verb"),
        ([Verb("Big", "x.", nothing, nothing)], "a verb is called 'Big'; give small letters"),
        ([Verb("--x", "x.", nothing, nothing)], "a verb is called '--x'"),
        ([Verb("a", "x.", nothing, nothing)] * 2, "it has two verbs 'a'"),
        ([Verb("a", "x.", nothing, None)], "must be functions"),  # type: ignore[arg-type]
    ],
)
def test_a_plugin_that_breaks_the_contract(answer: Any, reason: str) -> None:
    """It adds nothing and breaks no other, and there is one reason."""
    verbs = found(bad=answer, good=[Verb("fine", "Is fine.", nothing, nothing)])
    assert list(verbs.verbs) == ["fine"]
    assert list(verbs.failed) == ["the plugin 'bad'"]
    assert reason in verbs.failed["the plugin 'bad'"]


def test_a_format_may_have_verbs() -> None:
    """Its record has both kinds, and it is not one that is only about training."""

    class Format:
        @hookimpl
        def initreg_claim(self, source: Any) -> None: ...
        @hookimpl
        def initreg_open(self, source: Any, options: Any) -> dict[str, Any]:
            return {}

        @hookimpl
        def initreg_verbs(self) -> list[Verb]:
            return [Verb("tally", "Counts.", nothing, nothing)]

    registry = Registry(())
    assert registry.register(Format(), "f").kinds == ("format", "verb")
    assert list(plugin_verbs(registry, ()).verbs) == ["tally"]
