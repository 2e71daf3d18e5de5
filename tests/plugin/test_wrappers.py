"""Plugins that wrap the hooks of others, and what pluggy's own tools see of the calls."""

from __future__ import annotations

import itertools
import types
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import (
    AmbiguousSource,
    Claim,
    Confidence,
    DamagedFile,
    PluginError,
    UnknownFormat,
    UnknownTarget,
)
from initreg.plugin.loading import HOOKS
from initreg.plugin.registry import GROUP, Registry
from initreg.plugin.source import Source

HEAD = "import numpy as np\nfrom initreg import Claim, Confidence, hookimpl\nlog = []\n"

FORMAT = (
    HEAD
    + """
@hookimpl
def initreg_claim(source):
    log.append("claim")
    return Claim(Confidence.CONTENT, "says so")

@hookimpl
def initreg_open(source, options):
    log.append("open")
    return {"w": np.arange(3)}
"""
)
OTHER = FORMAT.replace("CONTENT", "NAME").replace("arange", "ones")

TARGET = (
    HEAD
    + """
class Sink:
    label = "sink"
    def variables(self): return []
    def write(self, arrays): return iter(())

@hookimpl
def initreg_target(obj):
    return Sink() if obj == "sink" else None
"""
)

# A wrapper in the style of each pluggy; {before} and {after} are what it does.
NEW = """
@hookimpl(wrapper=True{options})
def initreg_{hook}({arguments}):
    {before}
    result = yield
    {after}
    return result
"""
OLD = """
@hookimpl(hookwrapper=True{options})
def initreg_{hook}({arguments}):
    {before}
    outcome = yield
    result = outcome.get_result()
    {after}
    outcome.force_result(result)
"""
ARGUMENTS = {
    "claim": "source",
    "open": "source, options",
    "save": "arrays, output, options",
    "target": "obj",
}


def wrapper(
    hook: str, before: str = "pass", after: str = "pass", options: str = "", style: str = NEW
) -> str:
    """The text of a module that wraps one hook."""
    arguments = ARGUMENTS[hook]
    return HEAD + style.format(
        hook=hook, arguments=arguments, before=before, after=after, options=options
    )


def module(text: str) -> types.ModuleType:
    """A module with that text."""
    made = types.ModuleType("made_for_a_test")
    exec(compile(text, "made_for_a_test.py", "exec"), vars(made))
    return made


def registry_of(**texts: str) -> tuple[Registry, types.SimpleNamespace]:
    """A registry of the modules with these texts, and the modules by name."""
    registry = Registry(())
    modules = {name: module(text) for name, text in texts.items()}
    for name in sorted(modules, reverse=True):
        assert registry.register(modules[name], name).broken is None
    return registry, types.SimpleNamespace(**modules)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Any file."""
    (tmp_path / "model.bin").write_bytes(b"any bytes")
    return Source(tmp_path / "model.bin")


# --- what a wrapper can do ------------------------------------------------------------------------


@pytest.mark.parametrize("style", [NEW, OLD], ids=["wrapper", "hookwrapper"])
def test_wrapper_runs_around_the_winner_alone(source: Source, style: str) -> None:
    """It sees the arguments before, the result after, and no format but the winner opens."""
    timer = wrapper(
        "open",
        "log.append(('before', source.path.name, options.verify))",
        "log.append(('after', sorted(result)))",
        style=style,
    )
    registry, modules = registry_of(winner=FORMAT, loser=OTHER, timer=timer)
    with registry.open(source) as arrays:
        assert (arrays.format, arrays["w"].read().tolist()) == ("winner", [0, 1, 2])
    assert modules.timer.log == [("before", "model.bin", True), ("after", ["w"])]
    assert modules.winner.log == ["claim", "open"]
    assert modules.loser.log == ["claim"]
    with registry.open(source, format="loser") as arrays:
        assert arrays["w"].read().tolist() == [1, 1, 1]
    assert modules.winner.log == ["claim", "open"]


def test_a_wrapper_decrypts_what_an_installed_format_opens(tmp_path: Path) -> None:
    """What ``initreg_open`` returns is replaced, array by array; nothing is read before it is
    asked for."""
    decrypt = HEAD + (
        "class Decrypted:\n"
        "    def __init__(self, array):\n"
        "        self.array, self.shape, self.dtype = array, array.shape, array.dtype\n"
        "    def __array__(self, dtype=None, copy=None):\n"
        "        log.append('read')\n"
        "        where = self.array\n"
        "        with open(where.file, 'rb') as file:\n"
        "            file.seek(where.offset)\n"
        "            data = np.frombuffer(file.read(where.length), self.dtype)\n"
        "        return (data ^ 0x55).reshape(self.shape)\n"
        "@hookimpl(wrapper=True)\n"
        "def initreg_open(source, options):\n"
        "    arrays = yield\n"
        "    return {name: Decrypted(array) for name, array in arrays.items()}\n"
    )
    plain = np.arange(6, dtype=np.uint8).reshape(2, 3)
    initreg.save(tmp_path / "secret.safetensors", {"w": plain ^ 0x55})
    registry = Registry(metadata.entry_points(group=GROUP))
    made = module(decrypt)
    registry.register(made, "decrypt")
    with registry.open(Source(tmp_path / "secret.safetensors")) as arrays:
        assert (list(arrays), arrays["w"].shape, made.log) == (["w"], (2, 3), [])
        assert np.array_equal(arrays["w"].read(), plain)
    assert made.log == ["read"]


def test_a_wrapper_of_claims_sees_each_format_on_its_own(source: Source) -> None:
    """It runs once for every format, with that format's claim as the result, and may change it."""
    doubt = wrapper(
        "claim",
        after="log.append(result.confidence.name)\n"
        "    result = Claim(Confidence.NAME, f'doubted: {result.reason}')",
    )
    registry, modules = registry_of(left=FORMAT, right=OTHER, doubt=doubt)
    probe = registry.probe(source)
    claim = Claim(Confidence.NAME, "doubted: says so")
    assert sorted(modules.doubt.log) == ["CONTENT", "NAME"]
    assert probe.claims == (("left", claim), ("right", claim))
    assert (probe.tied, probe.wrappers) == (("left", "right"), ("doubt",))
    with pytest.raises(AmbiguousSource, match="doubted: says so"):
        registry.open(source)


def test_wrappers_of_saving_and_of_targets_run(tmp_path: Path) -> None:
    """They take part in the calls of ``initreg_save`` and ``initreg_target`` too."""
    saving = module(wrapper("save", "log.append(sorted(arrays))"))
    targets = module(wrapper("target", after="log.append(result is not None)"))
    manager = initreg.plugin_manager()
    manager.register(saving, "a_wrapper_of_saving")
    manager.register(targets, "a_wrapper_of_targets")
    try:
        initreg.save(tmp_path / "a.npz", {"w": np.ones(2)})
        initreg.SmartInit({"w": np.ones(2)}).init({"w": np.zeros(2)})
    finally:
        manager.unregister(saving)
        manager.unregister(targets)
    assert saving.log == [["w"]]
    assert sorted(set(targets.log)) == [False, True]  # every target was asked, one took the dict
    initreg.save(tmp_path / "b.npz", {"w": np.ones(2)})
    assert saving.log == [["w"]]


def test_two_targets_of_one_object_are_named_with_a_wrapper_too() -> None:
    """Each target is called alone, so the second one is not hidden by the first result."""
    registry, _ = registry_of(drain=TARGET, sink=TARGET, spy=wrapper("target"))
    with pytest.raises(PluginError, match=r"2 targets accept a .*: 'drain' and 'sink'"):
        registry.target("sink")


# --- order ----------------------------------------------------------------------------------------


def test_wrappers_run_in_the_order_of_names_unless_they_say_otherwise(source: Source) -> None:
    """The first name is the outermost, whatever was installed first; tryfirst and trylast decide
    before names do."""
    order: list[str] = []
    options = {"a": "", "b": ", trylast=True", "c": "", "d": ", tryfirst=True"}
    modules = {
        name: module(wrapper("open", f"log({name!r})", options=options[name])) for name in options
    }
    modules["format"] = module(FORMAT)

    class Point(metadata.EntryPoint):
        def load(self) -> object:
            return modules[self.name]

    for made in modules.values():
        if made is not modules["format"]:
            vars(made)["log"] = order.append
    points = [Point(name, f"module_{name}", GROUP) for name in modules]
    for shuffled in itertools.permutations(points):
        order.clear()
        registry = Registry(shuffled)
        with registry.open(source):
            assert order == ["d", "a", "c", "b"]
        assert [record.name for record in registry.records] == sorted(modules)


def test_formats_are_asked_by_name_and_tryfirst_is_asked_first(source: Source) -> None:
    """The order of the calls is pluggy's; who wins does not depend on it."""
    asked: list[str] = []
    registry = Registry(())
    first = FORMAT.replace(
        "@hookimpl\ndef initreg_claim", "@hookimpl(tryfirst=True)\ndef initreg_claim"
    )
    for name, text in {"c": first, "b": FORMAT, "a": OTHER}.items():
        made = module(text)
        vars(made)["log"] = types.SimpleNamespace(append=lambda _, name=name: asked.append(name))
        registry.register(made, name)
    assert registry.probe(source).tied == ("b", "c")
    assert asked == ["c", "a", "b"]


# --- pluggy's tools -------------------------------------------------------------------------------


def test_calls_can_be_monitored(source: Source) -> None:
    """``manager.add_hookcall_monitoring`` sees every call, who takes part in it, and its result."""
    registry, _ = registry_of(winner=FORMAT, loser=OTHER, timer=wrapper("open"))
    seen = []
    undo = registry.manager.add_hookcall_monitoring(
        lambda hook, impls, arguments: None,
        lambda outcome, hook, impls, arguments: seen.append(
            (hook, [impl.plugin_name for impl in impls], type(outcome.get_result()).__name__)
        ),
    )
    with registry.open(source):
        assert seen == [
            ("initreg_claim", ["loser"], "Claim"),
            ("initreg_claim", ["winner"], "Claim"),
            ("initreg_open", ["winner", "timer"], "dict"),
        ]
    undo()
    with registry.open(source):
        assert len(seen) == 3


def test_calls_can_be_traced(source: Source) -> None:
    """``manager.enable_tracing`` writes each call with its arguments and result."""
    registry, _ = registry_of(winner=FORMAT)
    lines: list[str] = []
    registry.manager.trace.root.setwriter(lines.append)
    undo = registry.manager.enable_tracing()
    registry.probe(source)
    undo()
    text = "".join(lines)
    assert "initreg_claim [hook]" in text
    assert f"source: Source({source.label})" in text
    assert "finish initreg_claim --> Claim(" in text


def test_plugin_counts_from_its_registration_to_its_removal(source: Source) -> None:
    """No hook is historic: a plugin that comes later sees the calls that come after it."""
    registry, _ = registry_of(format=OTHER)
    hooks = vars(registry.manager.hook)
    assert {name: hook.is_historic() for name, hook in hooks.items()} == dict.fromkeys(HOOKS, False)
    with registry.open(source) as arrays:
        assert arrays.format == "format"
    late, better = module(wrapper("open", "log.append('late')")), module(FORMAT)
    registry.register(late, "late")
    assert late.log == []
    registry.register(better, "better")
    with registry.open(source) as arrays:
        assert (arrays.format, late.log) == ("better", ["late"])
    registry.manager.unregister(late)
    registry.manager.unregister(better)
    with registry.open(source) as arrays:
        assert (arrays.format, late.log) == ("format", ["late"])


# --- wrappers that are wrong ----------------------------------------------------------------------

FAULTY: dict[str, tuple[str, str]] = {
    "before": (wrapper("claim", "1 / 0"), "ZeroDivisionError: division by zero"),
    "after": (wrapper("claim", after="1 / 0"), "ZeroDivisionError: division by zero"),
    "exits": (wrapper("claim", "exit(3)"), "SystemExit: 3"),
    "no_yield": (
        HEAD + "@hookimpl(wrapper=True)\ndef initreg_claim(source):\n    if 0: yield\n",
        "RuntimeError: wrap_controller at 'initreg_claim' made_for_a_test.py:4 did not yield",
    ),
    "two_yields": (
        HEAD + "@hookimpl(wrapper=True)\ndef initreg_claim(source):\n    yield\n    yield\n",
        "RuntimeError: wrap_controller at 'initreg_claim' made_for_a_test.py:4 has second yield",
    ),
}


@pytest.mark.parametrize("kind", FAULTY)
def test_wrapper_that_raises_is_named_and_the_formats_decide_without_it(
    source: Source, kind: str
) -> None:
    """The other wrapper still takes part, and a format that raises only fails itself."""
    text, reason = FAULTY[kind]
    broken = FORMAT.replace('log.append("claim")', "[][0]")
    registry, modules = registry_of(
        faulty=text, good=FORMAT, bad=broken, spy=wrapper("claim", after="log.append(result)")
    )
    probe = registry.probe(source)
    assert probe.winner == "good"
    assert probe.failed == {"bad": "IndexError: list index out of range", "faulty": reason}
    assert Claim(Confidence.CONTENT, "says so") in modules.spy.log
    with registry.open(source) as arrays:
        assert arrays.format == "good"


def test_wrapper_that_swallows_every_claim_is_named(source: Source) -> None:
    """A wrapper that forgets to return what it got declines for everybody, and the error says
    through whom the claims went."""
    forgets = HEAD + "@hookimpl(wrapper=True)\ndef initreg_claim(source):\n    yield\n"
    registry, _ = registry_of(good=FORMAT, forgets=forgets)
    with pytest.raises(UnknownFormat) as caught:
        registry.open(source)
    assert "no installed format claims it" in str(caught.value)
    assert "Claims pass through the wrappers forgets" in str(caught.value)
    raising, _ = registry_of(
        mute=FORMAT.replace("return Claim", "Claim"), faulty=FAULTY["after"][0]
    )
    with pytest.raises(UnknownFormat, match="Wrapper 'faulty' failed while claiming: ZeroDiv"):
        raising.open(source)


def test_wrapper_that_breaks_opening_is_named(source: Source) -> None:
    """The error has the file, the wrapper, and the reason; a format's own fault stays its own."""
    registry, _ = registry_of(
        good=FORMAT, faulty=wrapper("open", after="1 / 0"), spy=wrapper("open")
    )
    with pytest.raises(PluginError) as caught:
        registry.open(source)
    assert str(caught.value) == (
        f"{source.path}: wrapper 'faulty' of initreg_open failed: "
        "ZeroDivisionError: division by zero"
    )
    forgets = HEAD + "@hookimpl(wrapper=True)\ndef initreg_open(source, options):\n    yield\n"
    registry, _ = registry_of(good=FORMAT, forgets=forgets)
    with pytest.raises(PluginError) as caught:
        registry.open(source)
    assert str(caught.value) == (
        "format 'good': initreg_open returned a NoneType, not a mapping. The call has "
        "passed through the wrappers forgets"
    )
    registry, _ = registry_of(
        bad=FORMAT.replace('log.append("open")', "1 / 0"), spy=wrapper("open")
    )
    with pytest.raises(DamagedFile, match="format 'bad' could not open it: ZeroDivisionError"):
        registry.open(source)


def test_wrapper_that_breaks_targets_is_named() -> None:
    """A target is found without it; if none is, the error says what happened."""
    registry, _ = registry_of(sink=TARGET, faulty=wrapper("target", "1 / 0"))
    assert registry.target("sink").label == "sink"
    with pytest.raises(UnknownTarget, match="Wrapper 'faulty' failed: ZeroDivisionError"):
        registry.target("other")


def test_plugins_of_one_class_are_told_apart(source: Source) -> None:
    """The one whose method raised is named, though both have the same code."""

    class Faulty:
        def __init__(self, fails: bool) -> None:
            self.fails = fails

        @initreg.hookimpl(wrapper=True)
        def initreg_claim(self, source):  # type: ignore[no-untyped-def]
            if self.fails:
                raise ValueError("mine")
            return (yield)

    registry, _ = registry_of(good=FORMAT)
    registry.register(Faulty(False), "innocent")
    registry.register(Faulty(True), "guilty")
    assert registry.probe(source).failed == {"guilty": "ValueError: mine"}
    registry.register(Faulty(False), "outermost")
    assert registry.probe(source).failed == {"guilty": "ValueError: mine"}


# --- what a plugin may be -------------------------------------------------------------------------


def test_kinds_of_plugins_that_wrap() -> None:
    """A plugin may have wrappers alone, or beside hooks of its own."""
    registry, _ = registry_of(
        both=TARGET + wrapper("open"), wrapping=wrapper("open") + wrapper("claim", style=OLD)
    )
    found = {record.name: record.kinds for record in registry.records}
    assert found == {"both": ("target", "wrapper"), "wrapping": ("wrapper",)}
    assert registry.formats() == []


BROKEN: dict[str, tuple[str, str]] = {
    "mixed": (
        FORMAT + "@hookimpl(wrapper=True, specname='initreg_open')\ndef w(source):\n    yield\n",
        "it both implements and wraps initreg_open; put the wrapper into a module with an entry "
        "point of its own",
    ),
    "twice": (
        FORMAT + "@hookimpl(specname='initreg_open')\ndef again(source): pass\n",
        "it implements initreg_open 2 times",
    ),
    "no_generator": (
        HEAD + "@hookimpl(wrapper=True)\ndef initreg_open(source): pass\n",
        "Declared as wrapper=True or hookwrapper=True but function is not a generator function",
    ),
    "misspelt": (
        HEAD + "@hookimpl(wrapper=True)\ndef initreg_opne(source):\n    yield\n",
        "there is no hook 'initreg_opne'",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_wrapper_that_breaks_the_contract_is_recorded(source: Source, kind: str) -> None:
    """It takes no part, and the record says why."""
    registry, modules = registry_of(good=FORMAT)
    text, reason = BROKEN[kind]
    record = registry.register(module(text), kind)
    assert reason in (record.broken or "")
    assert record.kinds == ()
    with registry.open(source) as arrays:
        assert (arrays.format, modules.good.log) == ("good", ["claim", "open"])


def test_optional_hook_of_a_later_initreg_is_ignored() -> None:
    """``optionalhook=True`` says that a hook need not exist."""
    text = FORMAT + "@hookimpl(optionalhook=True)\ndef initreg_later(source): pass\n"
    registry, _ = registry_of(good=text)
    assert registry.formats() == ["good"]


def test_plugin_of_a_name_that_is_taken_leaves_the_first_one_in_place(source: Source) -> None:
    """The second is recorded as broken, and the first still opens."""
    registry, _ = registry_of(good=FORMAT)
    second = registry.register(module(OTHER), "good")
    assert "Plugin name already registered" in (second.broken or "")
    with registry.open(source) as arrays:
        assert arrays["w"].read().tolist() == [0, 1, 2]


def test_plugin_that_cannot_be_hashed_says_so() -> None:
    """pluggy keeps plugins in sets, and its own error would come at the first call."""
    plugin = types.SimpleNamespace(**vars(module(FORMAT)))
    record = Registry(()).register(plugin, "unhashable")
    assert "a plugin must be hashable, as modules are: unhashable type" in (record.broken or "")
