"""initreg's objects for tensorpack, compared with tensorpack's own: TrainConfig, PredictConfig and
trainings that are really run."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregError, MismatchError, MismatchWarning, MissingWarning

with warnings.catch_warnings():
    # It imports pkg_resources, and uses escapes and TensorFlow names of 2019.
    warnings.simplefilter("ignore")
    import tensorpack as tp
    from tensorpack.callbacks import Callback, ObjAttrParam, PeriodicTrigger, StatMonitorParamSetter
    from tensorpack.dataflow import FakeData
    from tensorpack.tfutils import sessinit
    from tensorpack.utils import logger as tensorpack_logger

    from initreg.trainers import tensorpack as ours
    from initreg.trainers.tensorpack import AutoResumeTrainConfig, MaxSaver, MinSaver, ModelSaver

v1 = tf.compat.v1
Values = dict[str, Any]

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:tensorpack",  # of names that TensorFlow and Python gave up
    "ignore::DeprecationWarning:distutils",
)


@pytest.fixture(autouse=True)
def log(tmp_path: Path) -> Iterator[Path]:
    """tensorpack's log folder. A process has only one."""
    folder = tmp_path / "log"
    tensorpack_logger.set_logger_dir(str(folder), action="k")
    yield folder
    handler = tensorpack_logger._FILE_HANDLER
    handler.close()
    tensorpack_logger._logger.removeHandler(handler)
    tensorpack_logger._FILE_HANDLER = None
    tensorpack_logger.LOG_DIR = None


# --- starting from weights ----------------------------------------------------------------------


def started(init: Any, *names: str) -> Values:
    """The values of variables a, b, ..., of three zeros each, after ``init`` has run."""
    with tf.Graph().as_default():
        for name in names or ("a", "b"):
            v1.get_variable(name, initializer=np.zeros(3, "f4"))
        init._setup_graph()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            init._run_init(session)
            return {v.op.name: session.run(v).tolist() for v in v1.global_variables()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a, all 1, and b, all 2."""
    values = {"a": np.full(3, 1, "f4"), "b": np.full(3, 2, "f4")}
    return initreg.save(tmp_path / "model.ckpt", values)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda m, p: m.SaverRestore(str(p)), ("a", "b")),
        (lambda m, p: m.SaverRestore(str(p), ignore=["b"]), ("a", "b")),
        (lambda m, p: m.SaverRestore(str(p), ignore=["b:0"]), ("a", "b")),
        (lambda m, p: m.SaverRestore(str(p), prefix="net"), ("net/a", "net/b")),
        (lambda m, p: m.SaverRestore(str(p), prefix="net", ignore=["b"]), ("net/a", "net/b")),
        (lambda m, p: m.SaverRestoreRelaxed(str(p)), ("a", "b")),
        (lambda m, p: m.DictRestore({"a": np.ones(3, "f4"), "b:0": np.ones(3, "f4")}), ("a", "b")),
        (lambda m, p: m.SmartInit(str(p)), ("a", "b")),
        (lambda m, p: m.get_model_loader(str(p)), ("a", "b")),
        (lambda m, p: m.SmartInit(""), ("a", "b")),
        (lambda m, p: m.SmartInit(None), ("a", "b")),
        (lambda m, p: m.SmartInit([]), ("a", "b")),
        (
            lambda m, p: m.SmartInit([str(p), {"b": np.full(3, 7, "f4"), "a": np.zeros(3, "f4")}]),
            ("a", "b"),
        ),
        (
            lambda m, p: m.ChainInit(
                [
                    m.SaverRestore(str(p)),
                    m.JustCurrentSession(),
                    m.DictRestore({"a": np.full(3, 7, "f4"), "b": np.full(3, 8, "f4")}),
                ]
            ),
            ("a", "b"),
        ),
    ],
)
def test_the_values_of_tensorpack(
    make: Callable[[Any, Path], Any], names: tuple[str, ...], checkpoint: Path
) -> None:
    """An object with a name of tensorpack restores the values that tensorpack's restores."""
    assert started(make(ours, checkpoint), *names) == started(make(sessinit, checkpoint), *names)


def test_shapes_that_differ(tmp_path: Path) -> None:
    """Strict ones raise and write nothing. Relaxed ones leave the variable as it is, and warn."""
    path = initreg.save(tmp_path / "model.ckpt", {"a": np.ones(3, "f4"), "b": np.ones(4, "f4")})
    for strict in (ours.SaverRestore(path), ours.DictRestore({"b": np.ones(4)})):
        with pytest.raises(MismatchError):
            started(strict)
    with pytest.warns(MismatchWarning):
        assert started(ours.SaverRestoreRelaxed(path)) == {"a": [1, 1, 1], "b": [0, 0, 0]}
    with pytest.warns(MismatchWarning):
        assert started(ours.SmartInit(path, ignore_mismatch=True))["a"] == [1, 1, 1]


def test_a_chain_is_planned_as_one(checkpoint: Path) -> None:
    """Nothing is written if the last source does not fit. tensorpack notices that too late."""
    values: Values = {}
    with tf.Graph().as_default(), v1.Session() as session:
        a = v1.get_variable("a", initializer=np.zeros(3, "f4"))
        v1.get_variable("b", initializer=np.zeros(3, "f4"))
        session.run(v1.global_variables_initializer())
        chain = ours.ChainInit([ours.SaverRestore(checkpoint), ours.DictRestore({"b": np.ones(9)})])
        with pytest.raises(MismatchError):
            chain.init(session)
        values["a"] = session.run(a).tolist()
    assert values == {"a": [0, 0, 0]}


def test_a_chain_with_a_part_of_tensorpack(checkpoint: Path) -> None:
    """Its parts are run one by one."""
    chain = ours.ChainInit(
        [ours.SaverRestore(checkpoint), sessinit.DictRestore({"b": np.ones(3, "f4")})]
    )
    assert started(chain) == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_any_format_and_any_rule(tmp_path: Path) -> None:
    """Every source and option of initreg.SmartInit works here."""
    path = initreg.save(tmp_path / "w.safetensors", {"m.a": np.ones(3, "f4")})
    init = ours.SmartInit(path, strip_prefix="m.", on_missing="ignore")
    assert started(init) == {"a": [1, 1, 1], "b": [0, 0, 0]}


def test_a_prediction(tmp_path: Path) -> None:
    """An OfflinePredictor of a PredictConfig predicts with the weights of a file."""
    rng = np.random.default_rng(0)
    w, b, x = rng.random((4, 2), "f4"), rng.random(2, "f4"), rng.random((5, 4), "f4")
    path = initreg.save(tmp_path / "w.npz", {"fc/W": w, "fc/b": b})

    def tower(x: Any) -> Any:
        weights = v1.get_variable("fc/W", [4, 2])
        return tf.add(tf.matmul(x, weights), v1.get_variable("fc/b", [2]), name="out")

    config = tp.PredictConfig(
        session_init=ours.SmartInit(path),
        tower_func=tower,
        input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")],
        input_names=["x"],
        output_names=["out"],
    )
    (found,) = tp.OfflinePredictor(config)(x)
    np.testing.assert_allclose(found, x @ w + b, rtol=1e-6)


# --- training -----------------------------------------------------------------------------------


class Model(tp.ModelDesc):  # type: ignore[misc]
    """A variable w, 2 at first, from which 0.25 is subtracted in each step; another of ``size``."""

    def __init__(self, size: int = 1) -> None:
        self._size = size

    def inputs(self) -> Any:
        return [tf.TensorSpec([1], tf.float32, "x")]

    def build_graph(self, x: Any) -> Any:
        w = v1.get_variable("w", initializer=np.float32(2))
        bulk = v1.get_variable("bulk", [self._size], initializer=v1.zeros_initializer())
        return tf.add(w + 0 * tf.reduce_sum(x), 0 * tf.reduce_sum(bulk), name="cost")

    def optimizer(self) -> Any:
        rate = v1.get_variable("learning_rate", initializer=0.25, trainable=False)
        return v1.train.GradientDescentOptimizer(rate)


class Stat(Callback):  # type: ignore[misc]
    """A statistic whose values are given."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def _trigger(self) -> None:
        self.trainer.monitors.put_scalar("score", self.values[self.epoch_num - 1])


class Final(Callback):  # type: ignore[misc]
    """w in the end."""

    w = float("nan")

    def _after_train(self) -> None:
        self.w = float(self.trainer.sess.run("w/Read/ReadVariableOp:0"))


def train(config: Any, model: Model | None = None) -> float:
    """Train as launch_train_with_config does, but in a graph of its own, with TensorFlow 2 left on.
    Returns w."""
    model, final = model or Model(), Final()
    with tf.Graph().as_default():
        trainer = tp.SimpleTrainer()
        data = tp.FeedInput(FakeData([[1]], 1000, random=False))
        signature = model.get_input_signature()
        trainer.setup_graph(signature, data, model.build_graph, model.get_optimizer)
        trainer.train_with_defaults(
            callbacks=config.callbacks,
            monitors=config.monitors,
            session_init=config.session_init,
            steps_per_epoch=config.steps_per_epoch,
            starting_epoch=config.starting_epoch,
            max_epoch=config.max_epoch,
            extra_callbacks=[final],
        )
    return final.w


def config_of(callbacks: list[Any], kind: Any = AutoResumeTrainConfig, **options: Any) -> Any:
    given = {"model": Model(), "data": tp.FeedInput(FakeData([[1]], 1000)), "steps_per_epoch": 2}
    return kind(**{**given, "max_epoch": 2, "callbacks": callbacks, **options})


def value(path: Path, name: str = "w") -> float:
    """Read with TensorFlow."""
    return float(tf.train.load_checkpoint(str(path)).get_tensor(name))


def test_training_from_a_file(tmp_path: Path) -> None:
    """A TrainConfig starts from a SmartInit: 4 steps of 0.25 away from where the file left it."""
    path = initreg.save(tmp_path / "base.npz", {"w": np.float32(10)})
    init = ours.SmartInit(path, on_missing="ignore")
    train(config_of([ModelSaver()], tp.TrainConfig, session_init=init))
    assert value(tmp_path / "log/model-4") == 9.0


def test_what_a_saver_writes(tmp_path: Path, log: Path) -> None:
    """TensorFlow reads the checkpoints, the state file and the graph. The sidecars are there."""
    train(config_of([ModelSaver(max_to_keep=2), Stat(1, 2, 3)], max_epoch=3))
    assert tf.train.latest_checkpoint(str(log)) == str(log / "model-6")
    assert {p.name for p in log.glob("model-*.index")} == {"model-4.index", "model-6.index"}
    assert {p.name for p in log.glob("*.resume.json")} == {
        "model-4.resume.json",
        "model-6.resume.json",
    }
    assert [value(log / f"model-{step}") for step in (4, 6)] == [1.0, 0.5]
    (graph,) = log.glob("graph-*.meta")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(str(graph)).restore(session, str(log / "model-4"))
        assert session.run("w/Read/ReadVariableOp:0") == 1.0
    point = initreg.resume(log, verify=True)
    assert point is not None
    assert (point.epoch, point.step) == (3, 6)
    assert point.states["statistics"]["score"] == [[2, 1.0], [4, 2.0], [6, 3.0]]


def test_a_folder_and_collections_of_ones_own(tmp_path: Path) -> None:
    """checkpoint_dir is used, and only the variables of the collections are saved."""
    saver = ModelSaver(checkpoint_dir=tmp_path / "mine", var_collections="trainable_variables")
    train(config_of([saver], max_epoch=1))
    assert set(initreg.load(tmp_path / "mine/model-2")) == {"w", "bulk"}
    assert not list((tmp_path / "log").glob("model-*"))


def test_a_saver_needs_a_folder() -> None:
    """Without one, and without a log folder, the error says what to do."""
    handler = tensorpack_logger.LOG_DIR
    tensorpack_logger.LOG_DIR = None
    try:
        for saver in (ModelSaver(), MinSaver("score"), MaxSaver("score")):
            with pytest.raises(InitregError, match=r"pass checkpoint_dir, or call logger\.set_"):
                saver._setup_graph()
    finally:
        tensorpack_logger.LOG_DIR = handler


def test_saved_every_so_many_steps(log: Path) -> None:
    """A save within an epoch does not count it as done: it starts again when the run is resumed."""
    train(config_of([PeriodicTrigger(ModelSaver(), every_k_steps=3)], max_epoch=2))
    point = initreg.resume(log)
    assert point is not None
    assert (point.epoch, point.step) == (1, 3)
    train(config_of([PeriodicTrigger(ModelSaver(), every_k_steps=3)], max_epoch=2))
    assert value(log / "model-3") == 1.25


def test_saved_before_training(log: Path) -> None:
    """PeriodicTrigger(before_train=True) saves the initial values, with no epoch done."""
    trigger = PeriodicTrigger(ModelSaver(), every_k_epochs=2, before_train=True)
    train(config_of([trigger], max_epoch=1))
    point = initreg.resume(log)
    assert point is not None
    assert (point.epoch, point.step, value(point.path)) == (0, 0, 2.0)


def test_the_best_are_kept(log: Path) -> None:
    """The models with the smallest and the largest score stay, whatever comes later."""
    callbacks = [Stat(3, 1, float("nan"), 5, 2), MinSaver("score"), MaxSaver("score", "top/score")]
    train(config_of(callbacks, tp.TrainConfig, max_epoch=5))
    assert value(log / "min-score") == 1.0  # after 2 epochs of 2 steps
    assert value(log / "top-score") == 0.0  # after 4
    assert (callbacks[1].best, callbacks[2].best) == ((4, 1.0), (8, 5.0))


def test_the_best_is_remembered(log: Path) -> None:
    """A resumed run compares with the best value so far: 2 is not a new minimum after 1."""
    make = lambda *scores: [Stat(*scores), MinSaver("score"), ModelSaver()]  # noqa: E731
    train(config_of(make(3, 1)))
    callbacks = make(3, 1, 2, 1.5)
    train(config_of(callbacks, max_epoch=4))
    assert callbacks[1].best == (4, 1.0)
    assert value(log / "min-score") == 1.0  # w after the second epoch, and not after the fourth
    assert value(log / "model-8") == 0.0


def test_a_full_disk(
    log: Path,
    caplog: pytest.LogCaptureFixture,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Training goes on, the old checkpoint stays, nothing is left over, and the log says so."""
    train(config_of([ModelSaver()], max_epoch=1), Model(size=100_000))
    caplog.clear()
    with full_disk(200_000), caplog.at_level(logging.WARNING, "initreg"):
        callbacks = [Stat(5, 4, 3), ModelSaver(), MinSaver("score")]
        w = train(config_of(callbacks, max_epoch=3), Model(size=100_000))
    assert w == 0.5  # 6 steps were made
    said = [r.getMessage() for r in caplog.records if "was not saved" in r.getMessage()]
    assert len(said) == 4
    assert all("and training goes on: " in text for text in said)
    assert all("File too large" in text for text in said)
    assert callbacks[2].best is None
    assert {p.name for p in log.glob("*.index")} == {"model-2.index"}
    assert not list(log.glob(".*"))
    point = initreg.resume(log, verify=True)
    assert point is not None
    assert (point.epoch, point.skipped) == (1, ())


# --- resuming -----------------------------------------------------------------------------------


def test_the_users_weights_on_a_first_start(tmp_path: Path) -> None:
    """tensorpack#1304: without a checkpoint, session_init is what the user passes, even if there is
    an old stats.json."""
    (tmp_path / "log/stats.json").write_text('[{"epoch_num": 7, "global_step": 14}]')
    init = ours.SmartInit({"w": np.float32(1)}, on_missing="ignore")
    for always in (True, False):
        config = config_of([ModelSaver()], always_resume=always, session_init=init)
        assert config.session_init is init
        assert config.starting_epoch == 1


@pytest.mark.parametrize("given", [{}, {"session_init": None}])
def test_nothing_given_and_nothing_found(given: Values) -> None:
    """The variables get the values of their initialisers."""
    config = config_of([ModelSaver()], **given)
    assert isinstance(config.session_init, ours.JustCurrentSession | type(None))
    assert config.starting_epoch == 1


def test_the_savers_own_folder(tmp_path: Path) -> None:
    """The checkpoint is found there, where tensorpack does not look."""
    where = tmp_path / "mine"
    make = lambda: [PeriodicTrigger(ModelSaver(checkpoint_dir=where), every_k_epochs=1)]  # noqa: E731
    train(config_of(make()))
    config = config_of(make(), max_epoch=3)
    assert (config.session_init.path, config.starting_epoch) == (str(where / "model-4"), 3)
    train(config)
    assert value(where / "model-6") == 0.5


def test_never_mind_what_is_found(log: Path) -> None:
    """always_resume=False: what the user passes comes first. What is not passed is taken from the
    checkpoint."""
    train(config_of([ModelSaver()]))
    init = ours.SmartInit({"w": np.float32(1)}, on_missing="ignore")
    config = config_of([ModelSaver()], always_resume=False, session_init=init)
    assert (config.session_init, config.starting_epoch) == (init, 1)
    config = config_of([ModelSaver()], always_resume=False, starting_epoch=9)
    assert (config.session_init.path, config.starting_epoch) == (str(log / "model-4"), 9)
    config = config_of([ModelSaver()], session_init=init, starting_epoch=9)
    assert (config.session_init.path, config.starting_epoch) == (str(log / "model-4"), 3)


def test_an_incomplete_checkpoint_is_skipped(log: Path) -> None:
    """The one before it is taken, the log says why, and the statistics of the lost epoch are
    removed."""
    train(config_of([ModelSaver(), Stat(1, 2)], monitors=[tp.JSONWriter()]))
    rows = json.loads((log / "stats.json").read_text())
    assert [row["epoch_num"] for row in rows] == [1, 2]
    (data,) = log.glob("model-4.data*")
    data.write_bytes(data.read_bytes()[:-3])
    config = config_of([ModelSaver(), Stat(1, 2, 3)], monitors=[tp.JSONWriter()], max_epoch=3)
    assert (config.session_init.path, config.starting_epoch) == (str(log / "model-2"), 2)
    said = (log / "log.log").read_text()
    assert "1 incomplete checkpoint skipped, continuing from" in said
    train(config)
    rows = json.loads((log / "stats.json").read_text())
    assert [(row["epoch_num"], row["global_step"]) for row in rows] == [(1, 2), (2, 4), (3, 6)]
    assert value(log / "model-6") == 0.5


def test_a_run_that_tensorpack_saved(log: Path) -> None:
    """Its checkpoints have no sidecars, so the epoch comes from stats.json."""
    train(config_of([tp.ModelSaver(), Stat(1, 2)], tp.TrainConfig, monitors=[tp.JSONWriter()]))
    config = config_of([ModelSaver(), Stat(1, 2, 3)], monitors=[tp.JSONWriter()], max_epoch=3)
    assert (config.session_init.path, config.starting_epoch) == (str(log / "model-4"), 3)
    train(config)
    assert value(log / "model-6") == 0.5


def test_states_of_known_callbacks_and_objects(tmp_path: Path) -> None:
    """The history of a StatMonitorParamSetter, its parameter if that is not a variable, and the
    objects get their states back."""

    class Holder:
        rate = 8.0

    def make(holder: Holder, rng: Any) -> list[Any]:
        setter = StatMonitorParamSetter(ObjAttrParam(holder, "rate"), "score", half, 0, 3)
        objects = {"random": initreg.RandomStates(data=rng)}
        return [Stat(1, 1, 1, 1, 1, 1, 1), setter, ModelSaver(objects=objects)]

    half = lambda value: value / 2  # noqa: E731
    holder, rng = Holder(), np.random.default_rng(1)
    rng.random(5)
    callbacks = make(holder, rng)
    train(config_of(callbacks, max_epoch=5))
    assert (holder.rate, len(callbacks[1].history)) == (4.0, 2)
    resumed, other = Holder(), np.random.default_rng(2)
    callbacks = make(resumed, other)
    train(config_of(callbacks, max_epoch=6))
    assert (resumed.rate, len(callbacks[1].history)) == (2.0, 0)
    assert other.random() == rng.random()


def test_names_that_are_taken() -> None:
    """An object may not have the name of a callback, or of the statistics."""
    state = initreg.RandomStates()
    for callbacks, name in (([MinSaver("score")], "MinSaver"), ([], "statistics")):
        with pytest.raises(InitregError, match="the name is taken"):
            train(config_of([*callbacks, ModelSaver(objects={name: state})]))


def test_a_callback_without_a_state_starts_afresh(
    log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names a callback that was added after the checkpoint was saved."""
    train(config_of([ModelSaver()]))
    with caplog.at_level(logging.WARNING, "initreg"):
        train(config_of([Stat(1, 2, 3), MinSaver("score"), ModelSaver()], max_epoch=3))
    assert f"{log}/model-4 has no state of 'MinSaver', which starts afresh" in caplog.text


class WithTable(Model):
    """A table, which gets an entry in each step, and says how many it has."""

    def build_graph(self, x: Any) -> Any:
        table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, -1, name="seen")
        with tf.control_dependencies([table.insert(table.size()[None], [7])]):
            return tf.identity(super().build_graph(x))


def test_tables_go_on(log: Path) -> None:
    """A ModelSaver that saves tables restores them, as the Saver that it saves with does."""
    sizes = []

    class Size(Callback):  # type: ignore[misc]
        def _before_train(self) -> None:
            ops = self.graph.get_operations()
            keys = next(op.outputs[0] for op in ops if op.type == "LookupTableExportV2")
            sizes.append(len(self.trainer.sess.run(keys)))

    keys = [v1.GraphKeys.GLOBAL_VARIABLES, v1.GraphKeys.SAVEABLE_OBJECTS]
    for epochs in (2, 3):
        config = config_of([Size(), ModelSaver(var_collections=keys)], max_epoch=epochs)
        train(config, WithTable())
    assert sizes == [0, 4]
    assert initreg.load(log / "model-6")["seen-values"].tolist() == [7] * 6


class WithAverage(Model):
    """The cost as a statistic: its average over the steps. Each update of w reads w before."""

    def build_graph(self, x: Any) -> Any:
        w = v1.get_variable("w", initializer=np.float32(2))
        cost = tf.square(w + 0 * tf.reduce_sum(x), name="cost")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that TensorFlow gave up
            tp.tfutils.summary.add_moving_summary(cost)
        return cost


def test_averages_of_statistics_go_on(tmp_path: Path) -> None:
    """They are local variables. If they are saved, the statistics of a run in two parts are those
    of an uninterrupted one."""

    class Costs(Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.values: list[float] = []

        def _trigger_epoch(self) -> None:
            self.values.append(self.trainer.monitors.get_latest("cost"))

    def run(folder: str, epochs: int) -> list[float]:
        keys = [v1.GraphKeys.GLOBAL_VARIABLES, v1.GraphKeys.LOCAL_VARIABLES]
        saver, costs = ModelSaver(checkpoint_dir=tmp_path / folder, var_collections=keys), Costs()
        summaries = [tp.MovingAverageSummary(), tp.MergeAllSummaries()]
        train(config_of([saver, *summaries, costs], max_epoch=epochs), WithAverage())
        return costs.values

    whole = run("whole", 3)
    assert run("parts", 2) + run("parts", 3) == whole
    assert len(set(whole)) == 3


def test_a_model_that_grew(log: Path) -> None:
    """Resuming from a checkpoint of a smaller model warns of what is missing, and trains."""
    train(config_of([ModelSaver(var_collections="trainable_variables")]))
    with pytest.warns(MissingWarning, match="learning_rate|global_step"):
        train(config_of([ModelSaver()], max_epoch=3))
