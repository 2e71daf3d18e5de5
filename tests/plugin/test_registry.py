"""Plugins that are right, rival, broken or greedy: what section 4 of the contract promises.

The plugins are real modules, written for each test, and come in as real entry points.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from initreg import (
    AmbiguousSource,
    Claim,
    Confidence,
    DamagedFile,
    InitregError,
    MissingLibrary,
    PluginError,
    SourceNotFound,
    UnknownFormat,
    UnknownTarget,
)
from initreg.plugin import loading
from initreg.plugin.registry import GROUP, Registry
from initreg.plugin.source import Source

HEAD = """
import numpy as np
from initreg import Claim, Confidence, Extent, hookimpl
"""

# A whole format; {claim} and {open} are what its hooks return.
FORMAT = (
    HEAD
    + """
@hookimpl
def initreg_claim(source):
    return {claim}

@hookimpl
def initreg_open(source, options):
    return {open}
"""
)

_numbers = itertools.count()

Install = Callable[..., list[metadata.EntryPoint]]


def a_format(
    claim: str = "Claim(Confidence.EXACT, 'says so')", open: str = "{'w': np.ones(2)}"
) -> str:
    """The text of a format's module."""
    return FORMAT.format(claim=claim, open=open)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write modules and a dist-info folder that names them; give the entry points of it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    made: list[str] = []

    def install(distribution: str = "stranger", **modules: str) -> list[metadata.EntryPoint]:
        lines = [f"[{GROUP}]"]
        for name, text in modules.items():
            module = f"plugin_{next(_numbers)}_{name}"
            made.append(module)
            (folder / f"{module}.py").write_text(text)
            lines.append(f"{name} = {module}")
        info = folder / f"{distribution}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n"
        )
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return list(metadata.PathDistribution(info).entry_points)

    yield install
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Any file; the plugins here claim it by what they are, not by what it is."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"any bytes")
    return Source(path)


def why_broken(registry: Registry, name: str) -> str:
    """Why the one plugin of that name takes no part."""
    (record,) = (r for r in registry.records if r.name == name)
    assert record.broken is not None
    assert record.kinds == ()
    assert name not in registry.formats()
    return record.broken


# --- claims are weighed -------------------------------------------------------------------------

RIVALS = {
    "weak": a_format("Claim(Confidence.NAME, 'by name')", "{'weak': np.ones(1)}"),
    "sure": a_format("Claim(Confidence.EXACT, 'by magic')", "{'sure': np.ones(1)}"),
    "fair": a_format("Claim(Confidence.CONTENT, 'by content')", "{'fair': np.ones(1)}"),
    "mute": a_format("None"),
}


def test_surest_claim_wins_in_any_order_of_registration(install: Install, source: Source) -> None:
    """All are asked, whoever was registered first; the surest opens, the others are told."""
    points = install(**RIVALS)
    for order in itertools.permutations(points):
        registry = Registry(())
        for point in order:
            registry.register(point.load(), point.name)
        probe = registry.probe(source)
        assert probe.winner == "sure"
        assert probe.claims == (
            ("sure", Claim(Confidence.EXACT, "by magic")),
            ("fair", Claim(Confidence.CONTENT, "by content")),
            ("weak", Claim(Confidence.NAME, "by name")),
        )
        assert probe.declined == ("mute",)
        with registry.open(source) as arrays:
            assert (arrays.format, list(arrays)) == ("sure", ["sure"])


def test_entry_points_are_loaded_in_name_order(install: Install) -> None:
    """What the installation lists first decides nothing."""
    points = install(**RIVALS)
    for order in (points, points[::-1]):
        assert [r.name for r in Registry(order).records] == ["fair", "mute", "sure", "weak"]


@pytest.mark.parametrize("level", ["NAME", "CONTENT", "EXACT"])
def test_tie_is_an_error_that_names_both_and_how_to_choose(
    install: Install, source: Source, level: str
) -> None:
    """Two claims of one confidence: both reasons are shown, and ``format=`` decides."""
    points = install(
        left=a_format(f"Claim(Confidence.{level}, 'it is left')", "{'l': np.ones(1)}"),
        right=a_format(f"Claim(Confidence.{level}, 'it is right')", "{'r': np.ones(1)}"),
    )
    for order in (points, points[::-1]):
        registry = Registry(order)
        assert registry.probe(source).tied == ("left", "right")
        assert registry.probe(source).winner is None
        with pytest.raises(AmbiguousSource) as caught:
            registry.open(source)
        assert str(caught.value) == (
            f"{source.path}: 2 formats claim it alike: 'left' ({level}: it is left); "
            f"'right' ({level}: it is right). Choose one: format='left'"
        )
        with registry.open(source, format="right") as arrays:
            assert list(arrays) == ["r"]


def test_tied_claims_of_a_folder_name_its_files(install: Install, tmp_path: Path) -> None:
    """If each claim says which file it means, the advice is to give one of these."""
    points = install(
        left=a_format("Claim(Confidence.CONTENT, 'l', file='a.l')", "{'l': np.ones(1)}"),
        right=a_format("Claim(Confidence.CONTENT, 'r', file='a.r')", "{'r': np.ones(1)}"),
    )
    with pytest.raises(AmbiguousSource) as caught:
        Registry(points).open(Source(tmp_path))
    assert str(caught.value).endswith(
        f"They may differ. Give the file that you mean: {tmp_path}/a.l or {tmp_path}/a.r. "
        "Or choose a format: format='left'"
    )


def test_format_that_is_asked_for_need_not_claim(install: Install, source: Source) -> None:
    """``format=`` overrules the claims, also where there is none."""
    registry = Registry(install(**RIVALS))
    with registry.open(source, format="mute") as arrays:
        assert list(arrays) == ["w"]
    with pytest.raises(UnknownFormat, match="no format is called 'nmae'; installed are fair, mute"):
        registry.open(source, format="nmae")


def test_missing_file_is_not_found_with_format_and_without(
    install: Install, tmp_path: Path
) -> None:
    """A plugin that is asked for by name does not get to open a path that names nothing."""
    registry = Registry(install(mute=a_format("None")))
    for choice in (None, "mute"):
        with pytest.raises(SourceNotFound, match=r"nothing\.bin: no such file"):
            registry.open(Source(tmp_path / "nothing.bin"), format=choice)


# --- greedy plugins -------------------------------------------------------------------------------


def test_claiming_everything_by_name_wins_nothing(install: Install, tmp_path: Path) -> None:
    """Beside a plugin that claims all by NAME, the installed formats open what they did."""
    np.savez(tmp_path / "m.npz", w=np.arange(3))
    greedy = install(greedy=a_format("Claim(Confidence.NAME, 'anything goes')"))
    registry = Registry([*metadata.entry_points(group=GROUP), *greedy])
    probe = registry.probe(Source(tmp_path / "m.npz"))
    assert probe.winner == "npz"
    assert ("greedy", Claim(Confidence.NAME, "anything goes")) in probe.claims


def test_claiming_everything_exactly_is_named_for_it(install: Install, tmp_path: Path) -> None:
    """With EXACT it makes every file ambiguous; the error says who, why, and what to type."""
    np.savez(tmp_path / "m.npz", w=np.arange(3))
    greedy = install(greedy=a_format("Claim(Confidence.EXACT, 'anything goes')"))
    registry = Registry([*metadata.entry_points(group=GROUP), *greedy])
    source = Source(tmp_path / "m.npz")
    with pytest.raises(AmbiguousSource) as caught:
        registry.open(source)
    assert "'greedy' (EXACT: anything goes); 'npz' (EXACT: zip archive" in str(caught.value)
    with registry.open(source, format="npz") as arrays:
        assert arrays["w"].read().tolist() == [0, 1, 2]


# --- broken plugins -------------------------------------------------------------------------------

BROKEN = {
    "lacks_a_module": (
        "import a_module_that_nobody_has",
        "cannot be imported: ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
    ),
    "syntax": ("def initreg_claim(:", "cannot be imported: SyntaxError: "),
    "raises": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "exits": ("import sys; sys.exit('bye')", "cannot be imported: SystemExit: bye"),
    "no_exception": (
        "import pytest; pytest.skip('no GPU', allow_module_level=True)",
        "cannot be imported: Skipped: no GPU",
    ),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "cannot be imported: Mute",
    ),
    "empty": ("", "breaks the contract: PluginError: it implements no hook; is @hookimpl missing?"),
    "unmarked": (
        "def initreg_claim(source): return None",
        "breaks the contract: PluginError: it implements no hook; is @hookimpl missing?",
    ),
    "no_open": (
        HEAD + "@hookimpl\ndef initreg_claim(source): return None",
        "breaks the contract: PluginError: it has initreg_claim, but no initreg_open",
    ),
    "no_claim": (
        HEAD + "@hookimpl\ndef initreg_open(source, options): return {}",
        "breaks the contract: PluginError: it has initreg_open, but no initreg_claim",
    ),
    "misspelt": (
        HEAD + "@hookimpl\ndef initreg_clam(source): return None",
        "breaks the contract: PluginError: there is no hook 'initreg_clam'; the hooks are "
        "['initreg_checkpoints', 'initreg_claim', 'initreg_inference', 'initreg_open', "
        "'initreg_save', 'initreg_slots', 'initreg_target', 'initreg_verbs']",
    ),
    "arguments": (
        HEAD + "@hookimpl\ndef initreg_claim(path): return None",
        "hook 'initreg_claim' hookimpl definition: initreg_claim(path)",
    ),
    "requires": (
        a_format() + "\ninitreg_requires = ['numpy']",
        "breaks the contract: PluginError: initreg_requires is ['numpy'], not a dict",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_plugin_is_recorded_and_breaks_no_other(
    install: Install, source: Source, kind: str
) -> None:
    """Its reason is kept, it takes no part, and the format beside it works."""
    text, reason = BROKEN[kind]
    registry = Registry(install(a_good_one=a_format(), **{kind: text}))
    assert reason in why_broken(registry, kind)
    assert registry.formats() == ["a_good_one"]
    assert registry.probe(source).winner == "a_good_one"
    assert [record.name for record in registry.probe(source).broken] == [kind]
    with registry.open(source) as arrays:
        assert arrays["w"].read().tolist() == [1.0, 1.0]
    with pytest.raises(UnknownFormat, match=f"format '{kind}' is installed, but "):
        registry.open(source, format=kind)


def test_ctrl_c_during_an_import_is_the_users(install: Install) -> None:
    """A KeyboardInterrupt is not a plugin's fault, and goes through."""
    points = install(slow="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry(points)


def test_an_import_that_does_not_end_keeps_nobody_waiting(
    install: Install, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up, its reason is kept, and the format beside it works."""
    monkeypatch.setattr(loading, "PATIENCE", 0.2)
    registry = Registry(install(good=a_format(), slow="import time; time.sleep(2)"))
    assert why_broken(registry, "slow") == (
        "cannot be imported: PluginError: its import has not ended for 0.2 s, and was given up"
    )
    assert registry.probe(source).winner == "good"
    for thread in threading.enumerate():
        if thread.name == "initreg-import-slow":
            thread.join()


BAD_CLAIMS = {
    "raising": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exiting": ("exit(3)", "SystemExit: 3"),
    "no_exception": ("__import__('pytest').skip('no GPU')", "Skipped: no GPU"),
    "true": ("True", "initreg_claim returned a bool, not a Claim"),
    "word": ("'mine'", "initreg_claim returned a str, not a Claim"),
    "number": (
        "Claim(3, 'why')",
        "initreg_claim returned Claim(confidence=3, reason='why', file=''); give a Confidence",
    ),
    "mixed": (
        "Claim('EXACT', None)",
        "initreg_claim returned Claim(confidence='EXACT', reason=None, file=''); give a Confidence",
    ),
    "file": (
        "Claim(Confidence.NAME, 'why', file=3)",
        "initreg_claim returned Claim(confidence=<Confidence.NAME: 1>, reason='why', file=3); give",
    ),
}


@pytest.mark.parametrize("kind", BAD_CLAIMS)
def test_bad_claim_is_recorded_and_the_others_decide(
    install: Install, source: Source, kind: str
) -> None:
    """What raises while claiming, or returns something else, has failed; the rest is weighed."""
    claim, reason = BAD_CLAIMS[kind]
    points = install(good=a_format("Claim(Confidence.NAME, 'modest')"), **{kind: a_format(claim)})
    registry = Registry(points)
    probe = registry.probe(source)
    assert (probe.winner, list(probe.failed)) == ("good", [kind])
    assert reason in probe.failed[kind]
    alone = Registry([point for point in points if point.name == kind])
    with pytest.raises(UnknownFormat) as caught:
        alone.open(source)
    assert f"Format {kind!r} failed while claiming: {reason}" in str(caught.value)


BAD_OPENS = {
    "nothing": ("None", PluginError, "initreg_open returned a NoneType, not a mapping"),
    "a list": ("[('w', np.ones(2))]", PluginError, "initreg_open returned a list, not a mapping"),
    "no arrays": (
        "{'w': 'text'}",
        DamagedFile,
        "array 'w' has no usable shape and dtype. It is an object of type str",
    ),
    "no names": ("{1: np.ones(2)}", InitregError, "a name must be a str, not 1"),
    "raising": ("1 / 0", DamagedFile, "format 'bad' could not open it: ZeroDivisionError"),
    "exiting": ("exit(3)", DamagedFile, "format 'bad' could not open it: SystemExit: 3"),
    "no exception": (
        "__import__('pytest').skip('no GPU')",
        DamagedFile,
        "format 'bad' could not open it: Skipped: no GPU",
    ),
    "memory": ("np.ones(1 << 60)", DamagedFile, "format 'bad' "),
    "cannot list": (
        "type('M', (dict,), {'items': lambda self: 1 / 0})()",
        DamagedFile,
        "format 'bad' could not list its arrays: ZeroDivisionError",
    ),
    "past the end": (
        "{'w': Extent(source.path, 4, 8, (2,), 'float32')}",
        DamagedFile,
        "array 'w' should end at byte 12 of model.bin, which has 9 bytes",
    ),
    "fraction": (
        "{'w': Extent(source.path, 0, 8, (2.0,), 'float32')}",
        DamagedFile,
        "array 'w' has a length that is not an integer",
    ),
    "checksum": (
        "{'w': Extent(source.path, 0, 8, (2,), 'float32', checksum=('md5', 0))}",
        DamagedFile,
        "array 'w': unknown checksum 'md5'",
    ),
}


@pytest.mark.parametrize("kind", BAD_OPENS)
def test_rubbish_from_open_is_one_clear_error(install: Install, source: Source, kind: str) -> None:
    """Whatever ``initreg_open`` returns or raises, the user gets an InitregError that tells."""
    text, category, reason = BAD_OPENS[kind]
    registry = Registry(install(bad=a_format(open=text)))
    with pytest.raises(category) as caught:
        registry.open(source)
    assert reason in str(caught.value)


LIES = {
    "shape": ("(3,)", "'float64'", "np.ones(2)", "as (3,) float64, but reads as (2,) float64"),
    "dtype": ("(2,)", "'float32'", "np.ones(2)", "as (2,) float32, but reads as (2,) float64"),
    "raise": ("(2,)", "'float32'", "1 / 0", "cannot be read: ZeroDivisionError"),
}


@pytest.mark.parametrize("kind", LIES)
def test_lie_about_an_array_is_found_when_it_is_read(
    install: Install, source: Source, kind: str
) -> None:
    """An array that is not what it was announced as never reaches anybody."""
    shape, dtype, value, reason = LIES[kind]
    array = (
        f"type('A', (), dict(shape={shape}, dtype={dtype}, "
        f"__array__=lambda self, dtype=None, copy=None: {value}))()"
    )
    registry = Registry(install(liar=a_format(open=f"{{'w': {array}}}")))
    with registry.open(source) as arrays:
        with pytest.raises(DamagedFile) as caught:
            arrays["w"].read()
    assert reason in str(caught.value)
    assert "array 'w'" in str(caught.value)


def test_shape_that_numpy_cannot_have_is_damage(install: Install, source: Source) -> None:
    """Sixty-five axes, or an empty array of 2**63 rows, take no bytes and pass every sum."""
    for shape in ("(1,) * 65 + (0,)", "(2**63, 0)"):
        extent = f"{{'w': Extent(source.path, 0, 0, {shape}, 'float32')}}"
        name = f"big{next(_numbers)}"
        registry = Registry(install(distribution=name, **{name: a_format(open=extent)}))
        with registry.open(source) as arrays:
            with pytest.raises(DamagedFile, match="cannot allocate"):
                arrays["w"].read()


def test_mapping_is_closed_when_its_arrays_are_refused(
    install: Install, source: Source, tmp_path: Path
) -> None:
    """A format's open file does not outlive the error that its arrays cause."""
    text = a_format(open="Map(w='no array')") + (
        "\nimport pathlib\n"
        "class Map(dict):\n"
        f"    def close(self): pathlib.Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    registry = Registry(install(closing=text))
    with pytest.raises(DamagedFile):
        registry.open(source)
    assert (tmp_path / "closed").exists()


# --- names and libraries --------------------------------------------------------------------------


def test_name_of_a_builtin_stays_with_the_builtin(install: Install, tmp_path: Path) -> None:
    """A stranger called npz is recorded as broken, with the reason; the built-in opens."""
    np.savez(tmp_path / "m.npz", w=np.arange(3))
    rival = install(distribution="aardvark", npz=a_format(open="{'stolen': np.ones(1)}"))
    ours = list(metadata.entry_points(group=GROUP))
    for points in ([*rival, *ours], [*ours, *rival]):
        registry = Registry(points)
        found = {r.distribution: r.broken for r in registry.records if r.name == "npz"}
        assert found == {"initreg": None, "aardvark": "another plugin is called 'npz' already"}
        with registry.open(Source(tmp_path / "m.npz")) as arrays:
            assert list(arrays) == ["w"]


def test_two_strangers_of_one_name_are_told_apart(install: Install, source: Source) -> None:
    """One takes part, whatever the order; the other is recorded with its distribution."""
    first = install(distribution="one", same=a_format(open="{'one': np.ones(1)}"))
    second = install(distribution="two", same=a_format(open="{'two': np.ones(1)}"))
    for points in ([*first, *second], [*second, *first]):
        registry = Registry(points)
        assert [(r.distribution, r.broken is None) for r in registry.records] == [
            ("one", True),
            ("two", False),
        ]
        with registry.open(source) as arrays:
            assert list(arrays) == ["one"]


def test_missing_library_names_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without h5py an HDF5 file is still claimed, and the error is the command that helps."""
    monkeypatch.setitem(sys.modules, "h5py", None)  # what Python takes for "not installed"
    path = tmp_path / "m.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    registry = Registry()
    assert registry.probe(Source(path)).winner == "h5"
    assert "h5" in [record.name for record in registry.probe(Source(path)).lacking]
    with pytest.raises(MissingLibrary) as caught:
        registry.open(Source(path))
    assert str(caught.value) == "format 'h5' needs h5py: pip install h5py"
    assert (caught.value.library, caught.value.remedy) == ("h5py", "pip install h5py")


def test_library_that_is_there_by_now_is_used(
    install: Install, source: Source, tmp_path: Path
) -> None:
    """Installing what was missing helps a running notebook, without a restart."""
    text = a_format() + "\ninitreg_requires = {'late_library': 'pip install late'}"
    registry = Registry(install(eager=text))
    with pytest.raises(MissingLibrary, match="format 'eager' needs late_library: pip install late"):
        registry.open(source)
    (tmp_path / "site" / "late_library.py").write_text("")
    importlib.invalidate_caches()
    with registry.open(source) as arrays:
        assert list(arrays) == ["w"]


# --- targets --------------------------------------------------------------------------------------

TARGET = """
from initreg import hookimpl

class Sink:
    label = "sink"
    def variables(self): return []
    def write(self, arrays): return iter(())

@hookimpl
def initreg_target(obj):
    return Sink() if obj == "sink" else None
"""


def test_target_of_a_plugin_is_found(install: Install) -> None:
    """A plugin that is a target alone is whole; two that want one object are an error."""
    registry = Registry(install(sink=TARGET))
    assert registry.records[0].kinds == ("target",)
    assert registry.formats() == []
    assert registry.target("sink").label == "sink"
    with pytest.raises(UnknownTarget, match=r"no installed target writes into a builtins\.int"):
        registry.target(1)
    both = Registry(install(distribution="more", drain=TARGET, sink=TARGET))
    with pytest.raises(PluginError, match=r"2 targets accept a .*: 'drain' and 'sink'"):
        both.target("sink")


def test_what_is_not_a_target_is_not_taken_for_one(install: Install) -> None:
    """The plugin that returned it is named, and the others are asked."""
    wrong = TARGET.replace("Sink() if", "5 if")
    with pytest.raises(UnknownTarget, match=r"'drain' failed: .*returned a int, not a Target"):
        Registry(install(drain=wrong)).target("sink")
    both = Registry(install(distribution="more", drain=wrong, sink=TARGET))
    assert both.target("sink").label == "sink"


def test_target_that_raises_breaks_no_other(install: Install) -> None:
    """A target's fault is told if nobody else takes the object."""
    faulty = "from initreg import hookimpl\n@hookimpl\ndef initreg_target(obj): return 1 / 0\n"
    registry = Registry(install(faulty=faulty, sink=TARGET))
    assert registry.target("sink").label == "sink"
    with pytest.raises(UnknownTarget, match="Target 'faulty' failed: ZeroDivisionError"):
        registry.target("other")


def test_targets_say_what_they_take(install: Install) -> None:
    """The error for an object that nobody takes lists it. Who does not say it is named."""
    one = TARGET + "\ninitreg_takes = 'the word sink'\n"
    two = TARGET.replace('"sink"', '"drain"') + "\ninitreg_takes = ['a drain', 'a pipe', 3]\n"
    registry = Registry(install(aaa=one, bbb=two, ccc=TARGET.replace('"sink"', '"none"')))
    with pytest.raises(UnknownTarget) as caught:
        registry.target(1)
    assert str(caught.value).endswith("Give the word sink, a drain, a pipe or what 'ccc' takes")
    with pytest.raises(UnknownTarget, match="Give what an installed target takes"):
        Registry([]).target(1)


# --- the command line -----------------------------------------------------------------------------


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m initreg`` with ``folder`` among the installed packages."""
    return subprocess.run(
        [sys.executable, "-m", "initreg", *arguments],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_line_shows_a_broken_plugin(install: Install, tmp_path: Path) -> None:
    """``plugins`` lists it with its distribution and exits with 1; ``probe`` works beside it."""
    install(distribution="shaky", typo=BROKEN["misspelt"][0], tiny=a_format("None"))
    shown = cli(tmp_path / "site", "plugins")
    assert shown.returncode == 1
    assert (
        "broken  typo (of shaky 2.0): breaks the contract: PluginError: there is no hook "
        "'initreg_clam'" in shown.stdout
    )
    records = json.loads(cli(tmp_path / "site", "plugins", "--json").stdout)
    (tiny,) = (record for record in records if record["name"] == "tiny")
    assert {k: tiny[k] for k in ("distribution", "version", "kinds", "broken", "missing")} == {
        "distribution": "shaky",
        "version": "2.0",
        "kinds": ["format"],
        "broken": None,
        "missing": {},
    }

    np.save(tmp_path / "a.npy", np.ones(2))
    probed = cli(tmp_path / "site", "probe", "--json", str(tmp_path / "a.npy"))
    answer = json.loads(probed.stdout)
    assert probed.returncode == 0
    assert set(answer) == {
        "source", "winner", "claims", "tied", "declined", "failed", "broken", "lacking", "hint",
        "wrappers",
    }  # fmt: skip
    assert answer["winner"] == "npy"
    assert answer["claims"] == [
        {
            "format": "npy",
            "confidence": "EXACT",
            "reason": "begins with numpy's magic '\\x93NUMPY'",
        }
    ]
    assert "tiny" in answer["declined"]
    assert [record["name"] for record in answer["broken"]] == ["typo"]
    assert (answer["failed"], answer["wrappers"]) == ({}, [])
    assert answer["source"] == str(tmp_path / "a.npy")


def test_command_line_says_that_a_source_is_ambiguous(install: Install, tmp_path: Path) -> None:
    """Two claims of one confidence: exit code 2, both reasons, and the error in the JSON."""
    install(greedy=a_format("Claim(Confidence.EXACT, 'anything goes')"))
    np.save(tmp_path / "a.npy", np.ones(2))
    probed = cli(tmp_path / "site", "probe", "--json", str(tmp_path / "a.npy"))
    answer = json.loads(probed.stdout)
    assert (probed.returncode, answer["winner"], answer["tied"]) == (2, None, ["greedy", "npy"])
    assert answer["error"] == "AmbiguousSource"
    assert "Choose one: --format greedy" in answer["message"]
