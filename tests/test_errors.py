"""initreg.errors: one class per kind, all of them InitregError."""

import ast
import inspect
import io
import os
import resource
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import Claim, Confidence, Source, errors
from initreg.plugin.registry import Registry

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__
]
ERRORS = [c for c in CLASSES if not issubclass(c, Warning)]
WARNINGS = [c for c in CLASSES if issubclass(c, Warning)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda c: c.__name__)
def test_every_error_is_an_initreg_error(kind):
    """'except InitregError' catches everything that initreg raises on purpose."""
    assert issubclass(kind, initreg.InitregError)


@pytest.mark.parametrize("kind", WARNINGS, ids=lambda c: c.__name__)
def test_every_warning_is_an_initreg_warning(kind):
    """One filter silences, or turns into errors, everything that initreg warns of."""
    assert issubclass(kind, initreg.InitregWarning)
    assert issubclass(kind, UserWarning)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_every_class_is_public_and_documented(kind):
    """Every error and warning is a public name of initreg with a docstring."""
    assert getattr(initreg, kind.__name__) is kind
    assert kind.__doc__


def test_python_knows_some_of_them_too():
    """A missing file is a FileNotFoundError, a missing library an ImportError."""
    assert issubclass(errors.SourceNotFound, FileNotFoundError)
    assert issubclass(errors.UnreadableFile, OSError)
    assert issubclass(errors.MissingLibrary, ImportError)
    assert issubclass(errors.NotEnoughMemory, MemoryError)
    assert str(errors.SourceNotFound("x: no such file")) == "x: no such file"


def test_a_missing_library_ends_in_the_command_that_installs_it():
    """The message ends with the install command."""
    error = errors.MissingLibrary("format 'h5'", "h5py", "pip install h5py")
    assert str(error) == "format 'h5' needs h5py: pip install h5py"
    assert (error.library, error.remedy) == ("h5py", "pip install h5py")


# --- each of them, as a user meets it -------------------------------------------------------------

ONES = np.ones(3, "f4")
SQUARE = np.ones((3, 3))


def module(**names):
    """A module with a variable under each attribute, by its name."""
    import tensorflow as tf

    found = tf.Module()
    for attribute, name in names.items():
        setattr(found, attribute, tf.Variable(ONES, name=name))
    return found


def checkpoint(**names):
    """A checkpoint of such a module."""
    import tensorflow as tf

    return tf.train.Checkpoint(module(**names)).write(os.path.join(tempfile.mkdtemp(), "ckpt"))


class Format:
    """A plugin that claims everything and does what it is told."""

    def __init__(self, opened):
        self._opened = opened

    @initreg.hookimpl
    def initreg_claim(self, source):
        return Claim(Confidence.EXACT, "says so")

    @initreg.hookimpl
    def initreg_open(self, source, options):
        return self._opened


def asked(source, *opened):
    registry = Registry([])
    for number, each in enumerate(opened):
        registry.register(Format(each), f"format{number}")
    return registry.open(Source(source))


def cut(folder, count=-20, name="m.npz"):
    path = initreg.save(folder / name, {"fc/W": np.ones((3, 4)), "fc/b": ONES})
    path.write_bytes(path.read_bytes()[:count])
    return path


def compiled(optimizer):
    """A model whose optimizer is built."""
    import keras

    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="fc")])
    made.compile(optimizer, "mse")
    made.optimizer.build(made.trainable_variables)
    return made


def trained(optimizer):
    """A file of such a model."""
    path = os.path.join(tempfile.mkdtemp(), "m.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras, about HDF5
        compiled(optimizer).save(path)
    return path


def merged(**values):
    """A save of two files that have different metadata."""
    folder = Path(tempfile.mkdtemp())
    for name, value in values.items():
        initreg.save(folder / f"{name}.safetensors", {name: ONES}, metadata={"format": value})
    sources = [folder / f"{name}.safetensors" for name in values]
    initreg.convert(sources, folder / "m.safetensors")


def variables(count):
    import tensorflow as tf

    return [tf.Variable(np.zeros(count, "f4"), name=name) for name in ("fc/W", "fc/b")]


def flipped(folder, count=3):
    ones = np.ones(count, "f4")
    path = initreg.save(folder / "m.npz", {"fc/W": ones, "fc/b": ones})
    with initreg.open(path) as opened:
        at = opened["fc/b"].value.offset + opened["fc/b"].value.skip
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    return path


def lacking(folder, monkeypatch):
    monkeypatch.setattr("initreg.plugin.registry.is_installed", lambda library: False)
    plugin = Format({})
    plugin.initreg_requires = {"zarr": "pip install initreg-zarr"}
    registry = Registry([])
    registry.register(plugin, "zarr").missing = plugin.initreg_requires
    registry.open(Source({"a": 1}))


def unreadable(folder, monkeypatch):
    path = initreg.save(folder / "m.npz", {"fc/W": ONES})

    def fail(*arguments):
        raise PermissionError(13, "Permission denied")

    with initreg.open(path) as opened:
        monkeypatch.setattr(os, "preadv", fail)
        opened["fc/W"].read()


def too_large(folder):
    """A sparse file of 4 TiB, which no process of this limit can hold."""
    with open(folder / "m.npy", "wb") as file:
        header = {"shape": (1 << 42,), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + (1 << 42))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 41, before[1]))
    try:
        initreg.load(folder / "m.npy")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def pickled(folder):
    np.save(folder / "zoo.npy", {"fc/W": ONES})
    initreg.open(folder / "zoo.npy")


def init(source, target, **options):
    return initreg.SmartInit(source, **options).init(target)


def target(**arrays):
    return {name: np.zeros(shape, "f4") for name, shape in arrays.items()}


def frozen():
    array = np.zeros(3, "f4")
    array.flags.writeable = False
    return array


# By class: what raises it, and what its message has to say: where, what, and what to do.
RAISED = {
    "InitregError": (
        lambda f, m: initreg.save(f / "m.npz", {"a": ONES}, shard_size="5 apples"),
        ["shard_size='5 apples'", "give a number of bytes, or '5GB'"],
    ),
    "SourceNotFound": (
        lambda f, m: (cut(f), initreg.open(f / "n.npz")),
        ["n.npz", "no such file", "Similar names: m.npz"],
    ),
    "LocalOnly": (
        lambda f, m: initreg.open(io.BytesIO(cut(f, None).read_bytes()), mmap=True),
        ["BytesIO", "only a local file"],
    ),
    "UnreadableFile": (unreadable, ["m.npz", "'fc/W'", "Permission denied"]),
    "UnwritableFile": (
        lambda f, m: initreg.save(f / "no" / "m.npz", {"a": ONES}),
        ["no/m.npz", "does not exist", "Create it first", "Nothing was changed"],
    ),
    "UnknownFormat": (
        lambda f, m: ((f / "m.pt").write_bytes(b"\x80\x02}q."), initreg.open(f / "m.pt")),
        ["m.pt", "no installed format claims it", "PyTorch", "convert it", "initreg plugins"],
    ),
    "AmbiguousSource": (
        lambda f, m: asked(cut(f), {}, {}),
        ["m.npz", "'format0'", "'format1'", "format='format0'"],
    ),
    "DamagedFile": (
        lambda f, m: initreg.load(flipped(f)),
        ["m.npz", "'fc/b'", "fails its crc32: the file says", "download or copy it again"],
    ),
    "RefusedFile": (lambda f, m: pickled(f), ["zoo.npy", "can run", "allow_pickle=True"]),
    "MissingLibrary": (lacking, ["format 'zarr' needs zarr", "pip install initreg-zarr"]),
    "NotEnoughMemory": (
        lambda f, m: too_large(f),
        ["m.npy", "array 'm'", "shape (4398046511104,)", "needs more memory", "ulimit -v"],
    ),
    "PluginError": (
        lambda f, m: asked(cut(f), 7),
        ["format 'format0'", "initreg_open returned a int, not a mapping"],
    ),
    "DuplicateName": (
        lambda f, m: initreg.load({"fc/W": ONES, "fc/W:0": ONES}),
        ["dict of 2", "'fc/W'", "'fc/W:0'", "Rename or drop one of them"],
    ),
    "AmbiguousNames": (
        lambda f, m: init(checkpoint(v="a", w="b"), module(v="b", w="a")),
        ["ckpt", "a: by name 'v', by place 'w'", "nothing was written", "by='name'", "by='place'"],
    ),
    "UnknownTarget": (
        lambda f, m: init({"a": ONES}, 7),
        ["no installed target writes into a builtins.int", "Give a Keras model", "or an optimizer"],
    ),
    "TargetError": (
        lambda f, m: init({"a": ONES}, {"a": frozen()}),
        ["'a'", "read-only"],
    ),
    "MismatchError": (
        lambda f, m: init({"fc/W": ONES, "b": ONES}, target(**{"fc/W": (4,), "b": (3,)})),
        ["fc/W", "shape (3,) does not fit (4,)", 'ignore=["fc/W"]', "ignore_mismatch=True"],
    ),
    "MergeError": (
        lambda f, m: initreg.merge([{"a": np.int64(1)}, {"a": np.int64(2)}], f / "new.npz"),
        ["a  int64, not floats, and the values differ", "Nothing was written", "on_conflict="],
    ),
    "NothingMatched": (
        lambda f, m: init({"net/w": ONES, "net/b": np.ones(2)}, target(w=(3,), b=(2,))),
        ["no array in dict of 2 has the name of", "nothing was written", 'strip_prefix="net/"'],
    ),
    "MissingError": (
        lambda f, m: init({"a": ONES}, target(a=(3,), b=(2,)), on_missing="error"),
        ["dict of 1", "b", "(2,)", "nothing was written"],
    ),
    "UnusedError": (
        lambda f, m: init({"a": ONES, "b": ONES}, target(a=(3,)), on_unused="error"),
        ["dict of 2", "b", "(3,)", "nothing was written"],
    ),
    "RuleError": (
        lambda f, m: initreg.open({"fc/W": ONES}, drop="fc/X"),
        ["dict of 1", "fc/X", "fc/W"],
    ),
    "PartialRestoreError": (
        lambda f, m: init(flipped(f, 200_000), variables(200_000)),
        ["m.npz", "'fc/b'", "crc32", "Not written: fc/b", "With atomic=True, all is read before"],
    ),
}
WARNED = {
    "AxesWarning": (
        lambda: init(
            {"a": np.ones((3, 2)), "b": SQUARE},
            {"a": np.ones((2, 3)), "b": SQUARE.copy()},
            transpose="a",
        ),
        ["b", "maybe with axes in another order"],
    ),
    "NamingWarning": (
        lambda: init(checkpoint(v="old"), module(v="new")),
        ["ckpt", "matched by place, although people gave them other names", "new  (3,) float32"],
    ),
    "StateWarning": (
        lambda: init(trained("Adam"), compiled("RMSprop")),
        ["m.h5", "the state of RMSprop is not restored", "Adam"],
    ),
    "MissingWarning": (lambda: init({"a": ONES}, target(a=(3,), b=(2,))), ["dict of 1", "b  (2,)"]),
    "UnusedWarning": (lambda: init({"a": ONES, "b": ONES}, target(a=(3,))), ["b  (3,) float32"]),
    "ReshapeWarning": (lambda: init({"a": ONES}, target(a=(1, 3))), ["a  (3,) float32 -> (1, 3)"]),
    "CastWarning": (lambda: init({"a": np.ones(3)}, target(a=(3,))), ["float64 -> float32"]),
    "MetadataWarning": (
        lambda: merged(a="pt", b="tf"),
        ["a.safetensors + ", "'format' is 'tf', not 'pt'", "pass metadata={'format': 'pt'}"],
    ),
    "MismatchWarning": (
        lambda: init({"a": ONES, "b": ONES}, target(a=(4,), b=(3,)), ignore_mismatch=True),
        ["a  shape (3,) does not fit (4,)"],
    ),
    "MergeWarning": (
        lambda: initreg.merge(
            [{"a": ONES}, {"a": np.full(3, np.nan, "f4")}],
            os.path.join(tempfile.mkdtemp(), "new.npz"),
        ),
        ["new.npz: 1 merged array", "a  3 NaN, 0 infinite in dict of 1"],
    ),
    "UnmetWarning": (
        lambda: init({"a": ONES}, target(a=(3,)), expect_missing="head/*"),
        ["head/*", "expect_missing"],
    ),
}
WITH_TENSORFLOW = {"PartialRestoreError", "AmbiguousNames", "NamingWarning", "StateWarning"}
BASES = {"PlanError", "InitregWarning"}  # of those that follow; neither is raised by itself


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.framework) if name in WITH_TENSORFLOW else name
        for name in RAISED
    ],
)
def test_each_error_says_where_what_and_what_to_do(tmp_path, monkeypatch, name):
    """Each error, really raised, names the file or source, what was found and what helps."""
    provoke, said = RAISED[name]
    with pytest.raises(initreg.InitregError) as caught:
        provoke(tmp_path, monkeypatch)
    assert type(caught.value).__name__ == name
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.framework) if name in WITH_TENSORFLOW else name
        for name in WARNED
    ],
)
def test_each_warning_says_of_what(name):
    """Each warning names the source, the variable or the rule."""
    provoke, said = WARNED[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        provoke()
    (warning,) = (each for each in caught if each.category.__name__ == name)
    for words in said:
        assert words in str(warning.message)


def test_every_class_is_raised_and_documented():
    """Each class is raised above, and has a row in docs/matching.md."""
    root = Path(__file__).parents[1]
    names = {kind.__name__ for kind in CLASSES} - BASES
    assert names - {*RAISED, *WARNED} == {"ResumeWarning"}  # that takes a training: test_resuming
    page = (root / "docs" / "matching.md").read_text(encoding="utf-8")
    table = page[page.index("## Errors and warnings") :]
    assert [name for name in names if f"`{name}`" not in table] == []


def test_only_these_are_raised():
    """The code raises only classes of errors.py, and what an API of Python asks for."""
    root = Path(__file__).parents[1]
    ours = {kind.__name__ for kind in CLASSES}
    pythons = {"IndexError", "TypeError", "AttributeError", "ValueError", "OSError"}
    pythons |= {"NoSuchName"}  # a KeyError that shows what may have been meant
    pythons |= {"NotImplementedError"}  # of initreg.testing, whose user is the author of a plugin
    inner = {"BadStream", "Fault", "Malformed", "NoFile"}  # which a caller turns into a DamagedFile
    inner |= {"Bad", "TooDeep", "Unknown"}  # of HDF5, which a caller turns into one of ours
    inner |= {"OtherName"}  # of a zip archive, a DamagedFile
    inner |= {"NoRanges", "Replaced", "Silent", "StoreError", "Transient"}  # of a store
    inner |= {"NotPlainError"}  # of entry points, which importlib.metadata is asked for then
    inner |= {"Refused"}  # state, whose reason becomes a StateWarning
    found = set()
    for folder in ("initreg", "plugins/initreg_formats", "plugins/initreg_targets"):
        for file in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise):
                    kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                    name = getattr(kind, "attr", getattr(kind, "id", "")).lstrip("_")
                    if name[:1].isupper():
                        found.add((name, file.relative_to(root).as_posix()))
    found -= {("ImportError", "initreg/__init__.py")}  # where initreg cannot be imported at all
    # What the command line makes of a stdout that cannot be written, and of bad usage.
    found -= {("OutputFailed", "initreg/cli/printing.py")}
    found -= {(name, "initreg/cli/parser.py") for name in ("ArgumentError", "BadUsage")}
    # An OSError, as of a socket. A record cannot be changed, as a frozen dataclass cannot.
    found -= {("TimeoutError", "initreg/storage/http_client.py")}
    found -= {("FrozenInstanceError", "initreg/records.py")}
    # Ends a save that is only tried, once the format has checked the arrays.
    found -= {("Enough", "initreg/storage/rehearsal.py")}
    # A stranger's object of the kit for targets raises it, so that a target can be seen to decline.
    found -= {("RuntimeError", "initreg/testing/targets/asking.py")}
    assert {(n, f) for n, f in found if n not in ours | pythons | inner} == set()
    assert pythons | inner <= {name for name, _ in found}  # or what is allowed is out of date
