"""What ``dump(..., inference=True)`` leaves out: the state of optimisers, by library.

Where a library is installed, its optimiser is run, and its checkpoint is dumped."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import SmartInit
from initreg_formats.tf_checkpoint.slots import fits, slots, variable_of_slot

K = "bert/encoder/layer_0/output/dense/kernel"
SHAPE = (4, 3)


def kept(path: Path, arrays: dict[str, Any]) -> set[str]:
    """The names that a dump keeps of a checkpoint with these arrays."""
    initreg.save(path / "in.npz", arrays)
    done = initreg.dump(path / "in.npz", path / "out.npz", inference=True)
    assert {spec.name for spec in done.kept} | set(done.dropped) == set(arrays)
    return {spec.name for spec in done.kept}


def ones(*shape: int) -> Any:
    return np.ones(shape, "f4")


SLOTS: dict[str, dict[str, tuple[int, ...]]] = {
    "BERT, ALBERT, ELECTRA": {f"{K}/adam_m": SHAPE, f"{K}/adam_v": SHAPE},
    "BERT's LAMB": {f"{K}/lamb_m": SHAPE, f"{K}/lamb_v": SHAPE},
    "LAMB": {f"{K}/LAMB": SHAPE, f"{K}/LAMB_1": SHAPE},
    "LAMBOptimizer": {f"{K}/LAMBOptimizer": SHAPE, f"{K}/LAMBOptimizer_1": SHAPE},
    "LARS": {f"{K}/LARSOptimizer": SHAPE},
    "AdamW of contrib": {f"{K}/AdamW": SHAPE, f"{K}/AdamW_1": SHAPE},
    "AdamW of XLNet": {f"{K}/AdamWeightDecayOptimizer_1": SHAPE},
    "Nadam, AdaMax": {f"{K}/Nadam": SHAPE, f"{K}/Nadam_1": SHAPE, f"{K}/AdaMax_1": SHAPE},
    "optimize_loss": {
        f"OptimizeLoss/{K}/Adam": SHAPE,
        f"OptimizeLoss/{K}/Adam_1": SHAPE,
        "OptimizeLoss/beta1_power": (),
        "OptimizeLoss/learning_rate": (),
    },
    "tensor2tensor": {f"training/{K}/Adafactor": (4,), f"training/{K}/Adafactor_1": (3,)},
    "Adafactor that is not factored": {f"{K}/Adafactor": SHAPE},
    "T5": {f"{K}_slot_vr": (4,), f"{K}_slot_vc": (3,), f"{K}_slot_m": SHAPE},
    "T5, not factored": {f"{K}_slot_v": SHAPE},
    "SM3": {f"{K}/SM3": (4, 1), f"{K}/SM3_1": (1, 3)},
    "an object-based slot": {f"{K}/.OPTIMIZER_SLOT/optimizer/v": ()},
    "a loss scale": {"current_loss_scale": (), "good_steps": ()},
    "a loss scale of contrib": {"x/loss_scale": (), "x/num_good_steps": (), "x/num_bad_steps": ()},
}


@pytest.mark.parametrize("given", SLOTS.values(), ids=SLOTS)
def test_slots_are_dropped(given: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    """Also in a model whose names are in a scope of their own, and whatever else is there."""
    integers = {"global_step", "good_steps", "x/num_good_steps", "x/num_bad_steps"}
    arrays: dict[str, Any] = {K: ones(*SHAPE), "global_step": np.int64(5)}
    for name, shape in given.items():
        arrays[name] = np.int64(3) if name in integers else ones(*shape)
    assert kept(tmp_path, arrays) == {K}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (f"{K}/adam_m", (4, 4)),  # another shape
        (f"{K}/Adam", (4,)),  # a sum over an axis is Adafactor's
        (f"{K}_slot_vr", (5,)),
        (f"{K}_slot_vr", ()),
        (f"{K}/Adafactor", (4, 3, 1)),
        (f"{K}/SM3", (2, 3)),
        (f"{K}/dense_v", SHAPE),
        (f"{K}/mask", SHAPE),
        (f"{K}/shadow", SHAPE),
        (f"{K}/Adaptive", SHAPE),
        ("bert/other/adam_m", SHAPE),  # there is no bert/other
        ("head_slot_v", SHAPE),
        ("adam_m", SHAPE),
        ("m/other", SHAPE),
        (f"{K}/ExponentialMovingAverage", SHAPE),  # many models are published with them
        (f"OptimizeLoss/{K}/ExponentialMovingAverage", SHAPE),
        ("head/learning_rate", ()),
        ("head/loss_scale", ()),
    ],
)
def test_what_may_be_the_models_own_is_kept(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """An array without its variable, of a shape that does not fit, or of a name that nobody
    gives."""
    arrays = {K: ones(*SHAPE), "b": ones(3), name: ones(*shape)}
    assert kept(tmp_path, arrays) == set(arrays)


def test_which_shapes_fit() -> None:
    """Of Adafactor every axis may be the one that is summed over."""
    for shape in ((4, 3), (4, 2), (3, 2), (4, 3, 2)):
        assert fits("w/Adafactor", shape, (4, 3, 2))
        assert fits("w_slot_vc", shape, (4, 3, 2))
        assert fits("w/Adam", shape, (4, 3, 2)) == (shape == (4, 3, 2))
    assert not fits("w/Adafactor", (4,), (4, 3, 2))
    assert not fits("w", (4,), (4,))


def test_the_variable_of_a_slot() -> None:
    """A longer name goes first, and a scope is looked for only a few parts deep."""
    names = {"w", "a/w", "OptimizeLoss/a/w"}
    assert variable_of_slot("OptimizeLoss/a/w/Adam", names) == "OptimizeLoss/a/w"
    assert variable_of_slot("b/a/w/Adam", names) == "a/w"
    assert variable_of_slot("x/y/z/w/Adam", names) == "w"
    assert variable_of_slot("x/y/z/t/u/w/Adam", names) is None
    assert slots(["x/w_slot_v", "w/nothing"], names) == {"x/w_slot_v": "w"}


def test_a_plan_counts_them_as_slots() -> None:
    """On a line of their own, without a warning."""
    source = {K: ones(*SHAPE), f"{K}/adam_m": ones(*SHAPE), f"{K}_slot_vr": ones(4)}
    source |= {f"OptimizeLoss/{K}/Adam": ones(*SHAPE)}
    plan = SmartInit(source).init({K: 0 * ones(*SHAPE)})
    assert {row.name for row in plan.of("optimiser slot")} == set(source) - {K}
    text = plan.to_text()
    assert "3 optimiser slots of matched variables" in text
    for line in (".../adam_m  only in", "..._slot_vr  only in", ".../Adam  only in"):
        assert line in text


# --- optimisers that are run --------------------------------------------------------------------

TF1: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda t: t.AdamOptimizer(),
    "Momentum": lambda t: t.MomentumOptimizer(0.1, 0.9),
    "RMSProp": lambda t: t.RMSPropOptimizer(0.1, momentum=0.9, centered=True),
    "Adagrad": lambda t: t.AdagradOptimizer(0.1),
    "AdagradDA": lambda t: t.AdagradDAOptimizer(0.1, t.get_global_step()),
    "Adadelta": lambda t: t.AdadeltaOptimizer(),
    "Ftrl": lambda t: t.FtrlOptimizer(0.1),
    "ProximalAdagrad": lambda t: t.ProximalAdagradOptimizer(0.1),
    "a name of one's own": lambda t: t.AdamOptimizer(name="AdamOptimizer"),
}


@pytest.mark.framework
@pytest.mark.parametrize("scope", ["", "OptimizeLoss", "training/inner"])
@pytest.mark.parametrize("name", TF1)
def test_optimisers_of_tensorflow_1(name: str, scope: str, tmp_path: Path) -> None:
    """In a scope and without one, also of a partitioned variable."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.train.get_or_create_global_step()
        w = v1.get_variable("net/w", [3, 2])
        # In a scope, TensorFlow saves the slots of parts as slices of arrays that are incomplete.
        parts = v1.get_variable(
            "net/parts", [4, 2], partitioner=None if scope else v1.fixed_size_partitioner(2)
        )
        loss = tf.reduce_sum(w) + tf.reduce_sum(tf.convert_to_tensor(parts))
        with v1.variable_scope(scope) if scope else v1.name_scope("x"):
            op = TF1[name](v1.train).minimize(loss, step)
        session.run(v1.global_variables_initializer())
        session.run(op)
        path = v1.train.Saver().save(session, str(tmp_path / "model"), write_meta_graph=False)
    assert len(initreg.load(path)) > 3
    done = initreg.dump(path, tmp_path / "out.npz", inference=True)
    assert {spec.name for spec in done.kept} == {"net/w", "net/parts"}


def _optimizers() -> list[tuple[str, str]]:
    """Every optimiser class of the installed Keras libraries."""
    found = []
    for library in ("keras.optimizers", "tf_keras.optimizers", "tf_keras.optimizers.legacy"):
        try:
            module = importlib.import_module(library)
        except ImportError:  # make quick
            continue
        base = module.Optimizer
        for name, kind in sorted(vars(module).items()):
            if isinstance(kind, type) and issubclass(kind, base) and kind is not base:
                found.append((library, name))
    return found


def _made(library: str, name: str) -> Any:
    module = importlib.import_module(library)
    kind = getattr(module, name)
    if name == "LossScaleOptimizer":
        return kind(module.Adam())
    if name == "MultiOptimizer":
        inner = module.Adam()
        return kind(lambda variable: inner)
    return kind(0.1)


@pytest.fixture(scope="module", params=_optimizers() or [("keras", "")], ids="-".join)
def trained(request: pytest.FixtureRequest) -> Any:
    """A small model after a step of an optimiser, and its library."""
    library, name = request.param
    keras = pytest.importorskip(library.split(".")[0])
    try:
        optimizer = _made(library, name)
    except TypeError as error:
        pytest.skip(f"{name} has arguments of its own: {error}")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    model.compile(optimizer, "mse")
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0)
    return keras, model


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
@pytest.mark.parametrize("how", ["object-based", "h5", "by name"])
def test_every_optimizer_of_keras(trained: Any, how: str, tmp_path: Path) -> None:
    """What is kept are the weights of the model, in every bit."""
    import tensorflow as tf

    _, model = trained
    if how == "object-based":
        source: Any = tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(
            str(tmp_path / "ck")
        )
    elif how == "h5":
        source = tmp_path / "m.weights.h5"
        model.save_weights(str(source))
    else:  # as a script that saves all variables by their names writes it
        variables = model.optimizer.variables
        variables = variables() if callable(variables) else variables
        named = {getattr(v, "path", v.name): v.numpy() for v in (*variables, *model.weights)}
        if len(named) < len(variables) + len(model.weights):
            pytest.skip("two variables of this optimizer have the same name")
        source = initreg.save(tmp_path / "in.npz", named)
    done = initreg.dump(source, tmp_path / "out.npz", inference=True)
    found = sorted(array.tobytes() for array in initreg.load(done.path).values())
    assert found == sorted(np.asarray(weight).tobytes() for weight in model.get_weights())
