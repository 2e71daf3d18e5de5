"""initreg_jax.tree_target: pytrees of JAX, filled as Flax fills them from its own files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.serialization
import initreg
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze
from flax.training.train_state import TrainState
from initreg import SmartInit, TargetError
from initreg.testing import TargetContract

from initreg_jax import Tree

Array = np.ndarray[Any, Any]
STRICT = {"on_missing": "error", "on_unused": "error"}
WIDE = ("float64", "int64", "uint64", "complex128")  # JAX makes them only if it is told to
NARROW = tuple(name for name in TargetContract.dtypes if name not in WIDE)


class TestTree(TargetContract):
    """A dict of arrays of JAX, in a tree that is replaced."""

    target = "jax_tree"
    dtypes = (*NARROW, "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4")

    def make(self, values: dict[str, Array]) -> Any:
        return Tree({name: jnp.asarray(array) for name, array in values.items()})

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: np.asarray(array) for name, array in obj.value.items()}

    def change(self, obj: Any, name: str) -> None:
        obj.value = {**obj.value, name: obj.value[name] + 1}

    def strangers(self) -> Iterator[Any]:
        """Arrays of JAX by themselves, and the class."""
        yield jnp.zeros(3)
        yield Tree

    def unwritable(self) -> Iterator[Any]:
        """Two leaves that have the same name."""
        yield Tree({"a": {"b": jnp.zeros(3)}, "a/b": jnp.zeros(3)})

    def failing(self) -> Any:
        """JAX has no such array without jax_enable_x64, which shows when it is made."""
        old = {name: jnp.zeros(3, "f4") for name in ("alpha", "gamma")}
        obj = Tree({**old, "beta": jax.ShapeDtypeStruct((3,), np.dtype("f8"))})
        return obj, {name: np.ones(3, "f8" if name == "beta" else "f4") for name in obj.value}


class TestNumpyLeaves(TestTree):
    """Leaves of numpy stay those of numpy, of every dtype."""

    dtypes = (*TargetContract.dtypes, "bfloat16")

    def make(self, values: dict[str, Array]) -> Any:
        return Tree(dict(values))

    def failing(self) -> Any:
        return None


class TestOptimizerState(TestTree):
    """Named tuples in tuples: their keys are those of Flax's files."""

    def make(self, values: dict[str, Array]) -> Any:
        trace = {name: jnp.asarray(array) for name, array in values.items()}
        return Tree((optax.TraceState(trace), optax.EmptyState()))

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: np.asarray(array) for name, array in obj.value[0].trace.items()}

    def change(self, obj: Any, name: str) -> None:
        trace = obj.value[0].trace
        obj.value = (optax.TraceState({**trace, name: trace[name] + 1}), obj.value[1])

    def named(self, name: str) -> str:
        return f"0/trace/{name}"

    def failing(self) -> Any:
        return None


class TestStateOfNnx(TestTree):
    """Variables of flax.nnx are boxes, whose values are the leaves."""

    def make(self, values: dict[str, Array]) -> Any:
        return Tree(nnx.State({name: nnx.Param(jnp.asarray(v)) for name, v in values.items()}))

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: np.asarray(param[...]) for name, param in obj.value.items()}

    def change(self, obj: Any, name: str) -> None:
        obj.value = nnx.State({**obj.value, name: nnx.Param(obj.value[name][...] + 1)})

    def named(self, name: str) -> str:
        return f"{name}/value"

    def aliases(self, obj: Any) -> Mapping[str, str]:
        return {name: name for name in obj.value}

    def failing(self) -> Any:
        return None


class Net(nn.Module):
    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(5)(x)))
        return nn.Dense(2, param_dtype=jnp.bfloat16)(x)


X = np.ones((4, 3), "f4")


def variables(seed: int) -> Any:
    return Net().init(jax.random.key(seed), X)


def same(one: Any, other: Any) -> bool:
    """Whether structures, dtypes and bits are the same."""
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


@pytest.mark.parametrize("kind", [dict, freeze], ids=["dict", "FrozenDict"])
def test_as_flax_does(kind: Any, tmp_path: Path) -> None:
    """The tree is that of flax.serialization, and the model computes the same."""
    data = flax.serialization.to_bytes(variables(1))
    (tmp_path / "net.msgpack").write_bytes(data)
    given = kind(variables(2))
    before = jax.tree.map(np.array, given)
    tree = Tree(given)
    SmartInit(tmp_path / "net.msgpack", **STRICT).init(tree)
    assert same(tree.value, flax.serialization.from_bytes(kind(variables(2)), data))
    assert type(tree.value) is type(given)
    assert same(given, before)  # the tree that was given has its own arrays still
    assert (Net().apply(tree.value, X) == Net().apply(variables(1), X)).all()


def test_shapes_are_enough(tmp_path: Path) -> None:
    """jax.eval_shape allocates nothing, and its result can be restored into."""
    (tmp_path / "net.msgpack").write_bytes(flax.serialization.to_bytes(variables(1)))
    tree = Tree(jax.eval_shape(lambda: variables(0)))
    SmartInit(tmp_path / "net.msgpack", **STRICT).init(tree)
    assert same(tree.value, variables(1))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree.value))


def test_a_train_state(tmp_path: Path) -> None:
    """With its step, a number of Python, and the state of the optimizer, beside Flax."""

    def state(seed: int) -> TrainState:
        made = TrainState.create(
            apply_fn=Net().apply, params=variables(seed)["params"], tx=optax.adam(1e-3)
        )
        return made.apply_gradients(grads=made.params) if seed == 1 else made

    data = flax.serialization.to_bytes(state(1))
    (tmp_path / "state.msgpack").write_bytes(data)
    tree = Tree(state(2))
    SmartInit(tmp_path / "state.msgpack", **STRICT).init(tree)
    expected = flax.serialization.from_bytes(state(2), data)
    assert isinstance(tree.value, TrainState)
    assert (tree.value.step, type(tree.value.step)) == (1, int)
    assert same(tree.value.params, expected.params)
    assert same(tree.value.opt_state, expected.opt_state)


def test_the_state_of_nnx(tmp_path: Path) -> None:
    """Variables answer to their names without 'value'. Keys of random numbers are kept."""

    class Model(nnx.Module):
        def __init__(self, seed: int) -> None:
            rngs = nnx.Rngs(seed)
            self.fc = nnx.Linear(3, 2, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

    model = Model(0)
    source = {"fc/kernel": np.ones((3, 2), "f4"), "fc/bias": np.full(2, 3, "f4")}
    tree = Tree(nnx.state(model))
    plan = SmartInit(source, expect_missing="drop/*/count/*", **STRICT).init(tree)
    assert "a key of random numbers, which is kept" in plan.to_text()
    nnx.update(model, tree.value)
    model.eval()
    assert (model.fc(X) == 6).all()


def test_other_leaves_stay() -> None:
    """Functions and texts are no variables, and numbers stay numbers."""
    tree = Tree({"f": len, "name": "net", "scale": 0.5, "on": True, "n": np.float32(1)})
    SmartInit({"scale": 2.0, "on": False, "n": np.float32(7)}, **STRICT).init(tree)
    assert tree.value == {"f": len, "name": "net", "scale": 2.0, "on": False, "n": 7}
    assert type(tree.value["n"]) is np.float32


def test_arrays_are_where_the_old_ones_were() -> None:
    """A new array has the sharding of the leaf."""
    mesh = jax.make_mesh((1,), ("x",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    tree = Tree({"w": jax.device_put(jnp.zeros((2, 3)), sharding)})
    SmartInit({"w": np.ones((2, 3), "f4")}).init(tree)
    assert tree.value["w"].sharding == sharding


def test_a_plain_dict_of_jax_says_what_to_do() -> None:
    """initreg's own target for dicts cannot fill such arrays. The error names Tree."""
    with pytest.raises(initreg.TargetError, match=r"'w' is an array of JAX.*initreg_jax\.Tree"):
        SmartInit({"w": np.ones(2, "f4")}).init({"w": jnp.zeros(2)})


def test_jax_is_not_imported() -> None:
    """Neither by the format, nor by making a Tree, nor by asking the target."""
    code = (
        "import sys, numpy, initreg, initreg_jax; t = {'w': numpy.zeros(2)};"
        "initreg.SmartInit({'w': numpy.ones(2)}).init(t); initreg_jax.Tree({});"
        "print('jax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_a_pytree_is_a_source(tmp_path: Path) -> None:
    """The variables and the state of an optimizer are saved, and restored into a tree of their
    kind."""
    params = {"d": {"k": jnp.arange(6.0).reshape(2, 3), "h": jnp.ones(2, jnp.bfloat16)}}
    state = optax.adam(1e-3).init(params)
    path = initreg.save(tmp_path / "state.safetensors", state)
    with initreg.open(state) as opened:
        assert opened.format == "jax_tree"
        assert "0/mu/d/k" in opened
    zeros = Tree(jax.tree_util.tree_map(lambda leaf: leaf * 0 + 5, state))
    SmartInit(path, on_missing="error", on_unused="error").init(zeros)
    same = jax.tree_util.tree_map(lambda a, b: bool((a == b).all()), zeros.value, state)
    assert jax.tree_util.tree_all(same)
    tree = Tree(jax.tree_util.tree_map(jnp.zeros_like, params))
    SmartInit(Tree(params), on_missing="error", on_unused="error").init(tree)
    assert tree.value["d"]["k"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert initreg.diff(tree, params).is_same


def test_a_tree_without_values_is_no_source() -> None:
    """Shapes alone can be restored into, and not read."""
    tree = Tree({"w": jax.ShapeDtypeStruct((2,), jnp.float32)})
    with pytest.raises(TargetError, match="'w' is a ShapeDtypeStruct, which has no values"):
        initreg.open(tree)
