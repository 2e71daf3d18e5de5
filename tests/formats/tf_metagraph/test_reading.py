"""Metagraphs that TensorFlow writes, and damaged ones."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import DamagedFile, InitregError, UnknownFormat
from initreg.plugin.installed import default_registry

v1 = tf.compat.v1
Edit = Callable[[Any], None]


def build() -> Any:
    """A graph with every kind of variable that TF1 has, and a trained loss. Returns the loss."""
    w = v1.get_variable("fc/w", [4, 3], use_resource=False)
    b = v1.get_variable("fc/b", [3], use_resource=True)
    parts = v1.get_variable("parts", [6, 3], partitioner=v1.fixed_size_partitioner(2))
    mean = v1.get_variable(
        "bn/mean", [3], trainable=False, collections=["variables", "model_variables"]
    )
    v1.get_variable("seen", [], trainable=False, collections=["local_variables", "model_variables"])
    v1.get_variable("names", [2], tf.string, v1.constant_initializer("x"), trainable=False)
    v1.get_variable("half", [2, 0], tf.bfloat16, v1.zeros_initializer(), trainable=False)
    x = v1.placeholder(tf.float32, [None, 4], "x")
    y = tf.nn.bias_add(tf.matmul(x, w), b) + mean + tf.reduce_sum(tf.convert_to_tensor(parts))
    loss = tf.reduce_mean(y)
    v1.train.AdamOptimizer().minimize(loss, v1.train.get_or_create_global_step())
    return loss


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A checkpoint and its metagraph in one folder, and the graph: ``(folder, graph)``."""
    folder = tmp_path_factory.mktemp("graph")
    with tf.Graph().as_default() as graph, v1.Session() as session:
        build()
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model"), global_step=7)
        v1.train.export_meta_graph(str(folder / "graph.meta"))
    return folder, graph


@pytest.fixture
def edited(exported: tuple[Path, Any], tmp_path: Path) -> Callable[[Edit], Path]:
    """Write the metagraph again after ``edit`` has changed it."""

    def write(edit: Edit) -> Path:
        proto = v1.MetaGraphDef.FromString((exported[0] / "graph.meta").read_bytes())
        edit(proto)
        (tmp_path / "edited.meta").write_bytes(proto.SerializeToString())
        return tmp_path / "edited.meta"

    return write


def node(proto: Any, name: str) -> Any:
    return next(each for each in proto.graph_def.node if each.name == name)


def specs(path: Path, **options: Any) -> list[tuple[str, tuple[int, ...], str]]:
    with initreg.open(path, **options) as opened:
        return [(spec.name, spec.shape, spec.dtype) for spec in opened.specs()]


def test_it_has_the_variables_of_its_graph(exported: tuple[Path, Any]) -> None:
    """Names, shapes and dtypes are those that a session of the graph has. Parts are joined."""
    folder, graph = exported
    wanted = [(v.name, v.shape, v.dtype) for v in default_registry().target(graph).variables()]
    assert specs(folder / "graph.meta") == wanted
    assert ("parts", (6, 3), "float32") in wanted
    assert ("half", (2, 0), "bfloat16") in wanted
    assert ("names", (2,), "string") in wanted


def test_parameters_are_the_trainable_and_the_model_variables(exported: tuple[Path, Any]) -> None:
    """These are the global variables in both collections. Rules rename and drop them, too."""
    with initreg.open(exported[0] / "graph.meta") as opened:
        assert opened.parameters == ("fc/w", "fc/b", "parts", "bn/mean")
        ruled = opened.drop("parts", "*/Adam*").rename({"fc/w": "w"}).prefix("net/")
        assert ruled.parameters == ("net/w", "net/fc/b", "net/bn/mean")
    with initreg.open({"w": np.zeros(2)}) as plain:
        assert plain.parameters is None
        assert plain.prefix("net/").parameters is None


def test_values_cannot_be_read(exported: tuple[Path, Any]) -> None:
    """Reading one is an error that says where the values are."""
    with initreg.open(exported[0] / "graph.meta") as opened:
        with pytest.raises(InitregError, match=r"graph\.meta: a metagraph holds no values"):
            opened["fc/w"].read()
        with pytest.raises(InitregError, match=r"'fc/b' cannot be read\. Open the checkpoint"):
            opened["fc/b"][:2]
    with pytest.raises(InitregError, match="holds no values"):
        initreg.load(exported[0] / "graph.meta")


def test_a_checkpoint_is_planned_onto_it(exported: tuple[Path, Any]) -> None:
    """A checkpoint of the graph has every variable of the metagraph."""
    folder, _ = exported
    with initreg.open(folder / "graph.meta") as target:
        plan = initreg.SmartInit(folder / "model-7").plan(target)
        assert plan.error() is None
        assert {row.name for row in plan.restored} == set(target)


def test_unknown_ops_do_not_matter(edited: Callable[[Edit], Path], exported: Any) -> None:
    """Ops that are not installed are ignored, in the graph and in a variable."""

    def edit(proto: Any) -> None:
        node(proto, "MatMul").op = "MatMulOfSomebodyElse"
        node(proto, "fc/b").op = "HandleOfSomebodyElse"

    path = edited(edit)
    with tf.Graph().as_default(), pytest.raises((KeyError, ValueError, tf.errors.NotFoundError)):
        v1.train.import_meta_graph(str(path))
    assert specs(path) == specs(exported[0] / "graph.meta")
    with initreg.open(path) as opened:
        assert opened.parameters == ("fc/w", "fc/b", "parts", "bn/mean")


def test_without_collections_the_nodes_are_listed(edited: Callable[[Edit], Path]) -> None:
    """Local variables and parts are then listed as in the graph, and no parameters are known."""
    path = edited(lambda proto: proto.ClearField("collection_def"))
    with initreg.open(path) as opened:
        assert opened.parameters is None
        assert {"fc/w", "seen", "parts/part_0", "parts/part_1"} <= set(opened)
        assert opened["parts/part_1"].shape == (3, 3)
    path = edited(lambda proto: proto.collection_def.pop("trainable_variables"))
    with initreg.open(path) as opened:
        assert opened.parameters == ("bn/mean",)


def test_a_collection_of_names(edited: Callable[[Edit], Path]) -> None:
    """A collection may list the names of tensors instead of variables."""

    def edit(proto: Any) -> None:
        proto.collection_def["model_variables"].Clear()
        proto.collection_def["model_variables"].node_list.value.append("fc/b:0")
        proto.collection_def["trainable_variables"].Clear()

    with initreg.open(edited(edit)) as opened:
        assert opened.parameters == ("fc/b",)


def test_unknown_shapes_and_handles_are_left_out(edited: Callable[[Edit], Path]) -> None:
    """A variable of unknown shape is not listed, but may be a parameter. Handles are not arrays."""

    def edit(proto: Any) -> None:
        node(proto, "fc/w").attr["shape"].shape.dim[0].size = -1
        node(proto, "fc/b").attr["shape"].shape.Clear()
        node(proto, "fc/b").attr["shape"].shape.unknown_rank = True
        node(proto, "half").attr["dtype"].type = 20  # DT_RESOURCE

    with initreg.open(edited(edit)) as opened:
        assert not {"fc/w", "fc/b", "half"} & set(opened)
        assert opened.parameters == ("fc/w", "fc/b", "parts", "bn/mean")


def test_beside_a_checkpoint_of_its_name_it_means_the_checkpoint(exported: Any) -> None:
    """``format=`` opens the metagraph instead, and a file of any name."""
    folder, _ = exported
    probe = initreg.probe(folder / "model-7.meta")
    assert probe.winner == "tf_checkpoint"
    assert "tf_metagraph" in dict(probe.claims)
    assert initreg.probe(folder / "graph.meta").winner == "tf_metagraph"
    wanted = specs(folder / "graph.meta")
    assert specs(folder / "model-7.meta", format="tf_metagraph") == wanted
    (folder / "renamed").write_bytes((folder / "graph.meta").read_bytes())
    assert specs(folder / "renamed", format="tf_metagraph") == wanted


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\n\x00graph",
        b"fileFormatVersion: 2\n",
        b"\x12",
        b"\n\xff\xff",
        b"\x0a\x80" * 9,
    ],
)
def test_other_files_of_that_ending_are_declined(content: bytes, tmp_path: Path) -> None:
    """The bytes decide, not the name. With ``format=`` the error says that it is not one."""
    (tmp_path / "a.meta").write_bytes(content)
    with pytest.raises(UnknownFormat):
        initreg.open(tmp_path / "a.meta")
    with pytest.raises(DamagedFile, match="not a MetaGraphDef"):
        initreg.open(tmp_path / "a.meta", format="tf_metagraph")


def test_text_form_is_named(tmp_path: Path) -> None:
    """A file from ``as_text=True`` is refused with a remedy."""
    with tf.Graph().as_default():
        v1.get_variable("w", [2])
        v1.train.export_meta_graph(str(tmp_path / "a.meta"), as_text=True)
    with pytest.raises(DamagedFile, match=r"text form\. Export it again without as_text"):
        initreg.open(tmp_path / "a.meta", format="tf_metagraph")


def test_folders_are_refused(tmp_path: Path) -> None:
    """A folder is not a metagraph."""
    (tmp_path / "a.meta").mkdir()
    with pytest.raises(initreg.InitregError, match="this is a folder"):
        initreg.open(tmp_path / "a.meta", format="tf_metagraph")


def test_claiming_imports_no_library(exported: tuple[Path, Any]) -> None:
    """Neither numpy nor TensorFlow is needed to recognise one, nor TensorFlow to list it."""
    code = (
        "import sys\nfrom initreg.cli import main\n"
        "assert main(['probe', sys.argv[1]]) == 0 and 'numpy' not in sys.modules\n"
        "assert main(['ls', sys.argv[1]]) == 0 and 'tensorflow' not in sys.modules\n"
    )
    path = str(exported[0] / "graph.meta")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fc/w" in done.stdout


# --- damage -------------------------------------------------------------------------------------


def shape_of(proto: Any, *sizes: int) -> None:
    shape = node(proto, "fc/w").attr["shape"].shape
    shape.Clear()
    for size in sizes:
        shape.dim.add().size = size


def twice(proto: Any) -> None:
    proto.graph_def.node.append(node(proto, "fc/w"))


def contradict(proto: Any) -> None:
    node(proto, "parts/part_1").attr["dtype"].type = 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: shape_of(p, *[1] * 33), "33 axes"),
        (lambda p: shape_of(p, -2), r"shape \(-2,\)"),
        (lambda p: shape_of(p, 2**40, 2**40), "shape"),
        (lambda p: node(p, "fc/w").attr["dtype"].Clear(), "'fc/w' has no dtype"),
        (lambda p: setattr(node(p, "fc/w").attr["dtype"], "type", 99), "dtype number 99"),
        (lambda p: setattr(node(p, "fc/w"), "name", "gone"), "'fc/w' is in its collections, but"),
        (lambda p: p.ClearField("graph_def"), "no graph"),
        (twice, "two nodes 'fc/w'"),
        (contradict, "'parts' occurs with two shapes or dtypes"),
    ],
)
def test_contradictions_are_damage(
    edit: Edit, message: str, edited: Callable[[Edit], Path]
) -> None:
    """Contents that no graph has are one error, with the file and what is wrong."""
    path = edited(edit)
    with pytest.raises(DamagedFile, match=message) as caught:
        initreg.open(path, format="tf_metagraph")
    assert str(path) in str(caught.value)


def test_names_that_are_no_text(exported: tuple[Path, Any], tmp_path: Path) -> None:
    """A name must be UTF-8."""
    data = (exported[0] / "graph.meta").read_bytes()
    (tmp_path / "a.meta").write_bytes(data.replace(b"fc/w", b"fc/\xff"))
    with pytest.raises(DamagedFile, match="not UTF-8"):
        initreg.open(tmp_path / "a.meta")


def test_truncated(exported: tuple[Path, Any], tmp_path: Path) -> None:
    """Cut anywhere, it is an error, or (between two fields) has only names that it had before."""
    data = (exported[0] / "graph.meta").read_bytes()
    names = {name for name, _, _ in specs(exported[0] / "graph.meta")}
    names |= {"seen", "parts/part_0", "parts/part_1"}  # without collections
    names |= {f"parts/parts/part_{i}/Adam{n}" for i in range(2) for n in ("", "_1")}
    damaged = 0
    for size in range(0, len(data), 97):
        (tmp_path / "a.meta").write_bytes(data[:size])
        try:
            with initreg.open(tmp_path / "a.meta", format="tf_metagraph") as opened:
                assert set(opened) <= names
        except DamagedFile:
            damaged += 1
    assert damaged > len(data) / 97 * 0.9


def test_changed_bytes(exported: tuple[Path, Any], tmp_path: Path) -> None:
    """Whatever bits change, it opens or is one InitregError."""
    data = (exported[0] / "graph.meta").read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 8))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "a.meta").write_bytes(changed)
        try:
            initreg.open(tmp_path / "a.meta", format="tf_metagraph").close()
        except InitregError:
            refused += 1
    assert 0 < refused < 200
