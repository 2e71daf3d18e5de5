"""initreg.plugin.training: what plugins know about training, of TensorFlow and of others."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import ArraySpec, Inference, InitregError, PluginError, hookimpl
from initreg.plugin import training, training_hookspecs
from initreg.plugin.installed import default_registry
from initreg.plugin.registry import Registry


def plugin_of(**hooks) -> types.SimpleNamespace:
    """A plugin with these hooks."""
    return types.SimpleNamespace(
        **{name: hookimpl(hook) if callable(hook) else hook for name, hook in hooks.items()}
    )


class _Plugin:
    """Hashable, as modules are."""

    def __init__(self, **hooks) -> None:
        vars(self).update(vars(plugin_of(**hooks)))


@pytest.fixture
def installed() -> Iterator[Registry]:
    """The registry of the installed plugins; what a test adds is taken away again."""
    registry = default_registry()
    before = list(registry.records)
    yield registry
    for record in [r for r in registry.records if r not in before]:
        if registry.manager.has_plugin(record.name):
            registry.manager.unregister(name=record.name)
    registry.records[:] = before


def test_hooks_have_the_arguments_that_the_guide_shows() -> None:
    """Names of arguments are part of the contract: pluggy passes them by name."""
    found = inspect.getmembers(training_hookspecs, inspect.isfunction)
    assert {n: list(inspect.signature(f).parameters) for n, f in found if "initreg_" in n} == {
        "initreg_checkpoints": ["names"],
        "initreg_inference": ["arrays"],
        "initreg_slots": ["names", "variables"],
    }


def test_a_plugin_may_know_of_training_alone() -> None:
    """It is neither a format nor a target, and it is listed as what it is."""
    registry = Registry(())
    record = registry.register(_Plugin(initreg_slots=lambda names, variables: {}), "optax")
    assert (record.broken, record.kinds) == (None, ("training",))
    assert registry.formats() == []


def test_slots_of_another_library_are_counted_as_such(installed: Registry) -> None:
    """A plan puts them on the line of TensorFlow's, and does not warn of them."""

    def mine(names, variables):
        return {n: n.removesuffix(".mu") for n in names if n.removesuffix(".mu") in variables}

    source = {"w": np.ones(2, "f4"), "w.mu": np.ones(2, "f4"), "w/Adam": np.ones(2, "f4")}
    model = {"w": np.zeros(2, "f4")}
    before = initreg.SmartInit(source).plan(model)
    assert [row.name for row in before.of("optimiser slot")] == ["w/Adam"]
    installed.register(_Plugin(initreg_slots=mine), "optax")
    plan = initreg.SmartInit(source).init(model)
    assert {row.name for row in plan.of("optimiser slot")} == {"w/Adam", "w.mu"}
    assert model["w"].tolist() == [1, 1]


def test_a_plugin_that_fails_to_tell_slots_is_logged(
    installed: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """The plan is as it would be without that plugin; the others' answers count."""
    installed.register(_Plugin(initreg_slots=lambda names, variables: 1 / 0), "bad")
    installed.register(_Plugin(initreg_slots=lambda names, variables: ["w"]), "odd")
    source = {"w": np.ones(2, "f4"), "w/Adam": np.ones(2, "f4")}
    with caplog.at_level(logging.WARNING, "initreg"):
        plan = initreg.SmartInit(source).plan({"w": np.zeros(2, "f4")})
    assert [row.name for row in plan.of("optimiser slot")] == ["w/Adam"]
    assert sorted(r.message for r in caplog.records) == [
        "plugin 'bad' failed to tell slots apart: ZeroDivisionError: division by zero",
        "plugin 'odd' failed to tell slots apart: it returned ['w'], not a dict of str",
    ]


def test_slots_that_are_made_up_are_left_out() -> None:
    """A name that nobody asked about, or a variable that is not there, is no slot."""
    registry = Registry(())
    answer = {"a": "w", "b": "w", "c": "nowhere"}
    registry.register(_Plugin(initreg_slots=lambda names, variables: answer), "p")
    assert training.slots(registry, {"a", "c"}, {"w"}) == {"a": "w"}


def test_of_two_answers_the_first_plugin_by_name_counts() -> None:
    """Whatever the order of registration."""
    for names in (("a", "b"), ("b", "a")):
        registry = Registry(())
        for name in names:
            registry.register(
                _Plugin(
                    initreg_slots=lambda names, variables, name=name: {"x": f"w{name}"},
                    initreg_inference=lambda arrays, name=name: Inference({"x": name}),
                ),
                name,
            )
        assert training.slots(registry, {"x"}, {"wa", "wb"}) == {"x": "wa"}
        specs = [ArraySpec("x", (2,), "float32")]
        assert training.inference(registry, specs).dropped == {"x": "a"}


def test_dump_drops_and_renames_what_another_plugin_knows(
    installed: Registry, tmp_path: Path
) -> None:
    """With its reason; what no plugin knows is kept."""

    def mine(arrays):
        return Inference({"w.mu": "momentum of optax"}, {"params/w": "w"})

    initreg.save(tmp_path / "a.npz", {"params/w": np.ones(2), "w.mu": np.ones(2), "b": np.ones(1)})
    installed.register(_Plugin(initreg_inference=mine), "optax")
    done = initreg.dump(tmp_path / "a.npz", tmp_path / "b.npz", inference=True)
    assert done.dropped == {"w.mu": "momentum of optax"}
    assert sorted(initreg.load(tmp_path / "b.npz")) == ["b", "w"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda arrays: 1 / 0, "plugin 'bad' failed in initreg_inference: ZeroDivisionError"),
        (lambda arrays: {"w": "x"}, "it returned a dict, not an Inference"),
        (lambda arrays: Inference({}, {"w": "b"}), "'w', 'b' would all be published as 'b'"),
    ],
)
def test_dump_publishes_nothing_when_a_plugin_fails(
    installed: Registry, tmp_path: Path, answer, message: str
) -> None:
    """It might have dropped what must not be published."""
    initreg.save(tmp_path / "a.npz", {"w": np.ones(2), "b": np.ones(1)})
    installed.register(_Plugin(initreg_inference=answer), "bad")
    with pytest.raises(InitregError, match=message):
        initreg.dump(tmp_path / "a.npz", tmp_path / "b.npz", inference=True)
    assert not (tmp_path / "b.npz").exists()


def test_the_files_that_name_parameters_are_those_of_plugins(installed: Registry) -> None:
    """TensorFlow's metagraph, and what others add."""
    assert ".meta" in training.parameter_files(installed)
    installed.register(
        _Plugin(initreg_slots=lambda names, variables: {}, initreg_parameter_files=(".params",)),
        "other",
    )
    assert ".params" in training.parameter_files(installed)


def test_a_run_resumes_from_checkpoints_of_another_library(
    installed: Registry, tmp_path: Path
) -> None:
    """A plugin says which checkpoints there are, and by which file each was completed."""
    arrays = {"w": np.ones(2)}
    for step in (1, 2):
        initreg.save(tmp_path / f"model-{step}.npz", arrays)
    assert initreg.resume(tmp_path) is None  # a name that ends in no number is not a step

    def mine(names):
        return {n.removesuffix(".done"): n for n in names if n.endswith(".done")}

    class Folder(dict):
        pass

    def claim(source):
        is_mine = source.path is not None and source.path.with_suffix(".done").exists()
        return initreg.Claim(initreg.Confidence.EXACT, "has .done beside it") if is_mine else None

    installed.register(
        _Plugin(
            initreg_checkpoints=mine,
            initreg_claim=claim,
            initreg_open=lambda source, options: Folder(w=np.ones(2)),
        ),
        "mine",
    )
    (tmp_path / "ckpt-7.done").touch()
    point = initreg.resume(tmp_path)
    assert (point.path, point.step) == (tmp_path / "ckpt-7", 7)


def test_a_plugin_that_fails_to_list_checkpoints_is_an_error(
    installed: Registry, tmp_path: Path
) -> None:
    """A run must not go on from an older checkpoint than it has."""
    installed.register(_Plugin(initreg_checkpoints=lambda names: 1 / 0), "bad")
    with pytest.raises(PluginError, match="plugin 'bad' failed in initreg_checkpoints: Zero"):
        initreg.resume(tmp_path)


def test_tensorflow_is_known_by_its_plugin_alone() -> None:
    """The kernel of a registry without plugins knows no optimiser and no checkpoint."""
    empty = Registry(())
    assert training.slots(empty, {"w/Adam"}, {"w"}) == {}
    assert training.checkpoints(empty, ["model-1.index"]) == {}
    specs = [ArraySpec("w", (2,), "float32"), ArraySpec("w/Adam", (2,), "float32")]
    assert training.inference(empty, specs) == Inference()
    full = default_registry()
    assert training.slots(full, {"w/Adam"}, {"w"}) == {"w/Adam": "w"}
    assert training.checkpoints(full, ["model-1.index"]) == {"model-1": "model-1.index"}
    assert training.inference(full, specs).dropped == {"w/Adam": "optimiser slot"}
