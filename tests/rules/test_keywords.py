"""initreg.rules: which arrays, under which names, changed in which way; on maps and in chains."""

import gc
import os
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit
from initreg.rules.keywords import Rules
from initreg.specs import ArraySpec
from initreg.text.wording import options_text


@pytest.fixture
def npz(tmp_path):
    arrays = {
        "model/fc/W": np.arange(6, dtype="f4").reshape(2, 3),
        "model/fc/b": np.arange(3, dtype="f4"),
        "model/emb": np.arange(8, dtype="f4").reshape(4, 2),
        "step": np.array(7, "i8"),
    }
    np.savez(tmp_path / "m.npz", **arrays)
    return tmp_path / "m.npz"


# --- which arrays -----------------------------------------------------------------------------


def test_drop_and_keep(npz):
    """Globs leave arrays out or keep them, and the order of the others stays."""
    assert list(initreg.load(npz, drop="model/fc/*")) == ["model/emb", "step"]
    assert list(initreg.load(npz, drop=["step", "*/b"])) == ["model/fc/W", "model/emb"]
    assert list(initreg.load(npz, keep=["step", "*/b"])) == ["model/fc/b", "step"]
    assert list(initreg.load(npz, keep="model/*", drop="*/emb")) == ["model/fc/W", "model/fc/b"]


def test_an_array_is_meant_by_any_of_its_names():
    """keep, drop and changes also match the aliases of an array."""
    spec = ArraySpec("key", (2, 3), "float32", ("full/name",))
    assert Rules.of(drop="full/*").apply([spec], "s").entries == []
    assert len(Rules.of(keep="full/*").apply([spec], "s").entries) == 1
    assert Rules.of(transpose="full/*").apply([spec], "s").entries[0].spec.shape == (3, 2)


def test_rules_are_applied_in_their_own_order(npz):
    """keep and drop see the names in the file, and changes see the final names."""
    found = initreg.load(
        npz,
        transpose="net/W",
        prefix="net/",
        rename={"fc/W": "W"},
        strip_prefix="model/",
        keep="model/fc/*",
        drop="model/fc/b",
    )
    assert list(found) == ["net/W"]
    assert found["net/W"].tolist() == [[0, 3], [1, 4], [2, 5]]


# --- what their values are --------------------------------------------------------------------


def test_changes_by_glob(npz):
    """permute, slice, pad and cast take globs, and give what numpy gives."""
    base = initreg.load(npz)
    found = initreg.load(
        npz,
        permute={"*/W": (1, 0)},
        slice={"*/b": (0, 1, None)},
        pad={"*/emb": (0, 6, "mean")},
        cast={"step": "int32"},
    )
    assert found["model/fc/W"].tobytes() == base["model/fc/W"].T.tobytes()
    assert found["model/fc/b"].tolist() == [1, 2]
    assert found["model/emb"][:4].tolist() == base["model/emb"].tolist()
    assert found["model/emb"][4:].tolist() == [[3, 4], [3, 4]]
    assert found["step"].dtype == "int32"


def test_a_cast_of_all_floats_leaves_integers_alone(npz):
    """cast="float16" does not change integers such as step counters."""
    dtypes = {name: str(a.dtype) for name, a in initreg.load(npz, cast="float16").items()}
    assert set(dtypes.values()) == {"float16", "int64"}
    assert dtypes["step"] == "int64"


@pytest.mark.parametrize("dtype", ["float16", np.float16, np.dtype("float16")], ids=repr)
def test_a_dtype_is_given_as_a_name_or_as_numpys(npz, dtype):
    """A dtype can be given as a name, as a type of numpy or as a numpy dtype."""
    assert initreg.load(npz, cast={"*/W": dtype})["model/fc/W"].dtype == "float16"


def test_of_two_globs_the_later_one_holds(npz):
    """If two globs match an array, the later one is used."""
    found = initreg.load(npz, cast={"*": "float64", "*/b": "float16", "step": "int64"})
    assert [str(array.dtype) for array in found.values()] == [
        "float64",
        "float16",
        "float64",
        "int64",
    ]


def test_vocabulary_growth(npz):
    """pad= makes a table of four rows fit a variable of six, with the fill value in the new
    rows."""
    table = {"emb": np.full((6, 2), 5, "f4")}
    plan = SmartInit(npz, strip_prefix="model/", keep="*/emb", pad={"emb": (0, 6, -1)}).init(table)
    assert table["emb"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [-1, -1], [-1, -1]]
    assert plan[0].changes == ("padded from (4, 2)",)


# --- in whatever types it is given ---------------------------------------------------------------


class Column:
    """Like a Series of pandas: iterates its values, and is looked up by keys."""

    def __init__(self, content):
        self._content = content

    def __iter__(self):
        return iter(self._content.values())

    def __array__(self, dtype=None, copy=None):
        return np.array(list(self._content.values()), dtype)

    def __getitem__(self, key):
        return self._content[key]

    def __bool__(self):
        raise ValueError("the truth value is ambiguous")

    def keys(self):
        return self._content.keys()


COLLECTIONS = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict.fromkeys,
    "keys": lambda names: dict.fromkeys(names).keys(),
    "generator": lambda names: (name for name in names),
    "numpy": np.array,
    "numpy of objects": lambda names: np.array(names, object),
    "numpy scalars": lambda names: list(np.array(names)),
    "column": lambda names: Column(dict(enumerate(names))),
}
collections = pytest.mark.parametrize("made", COLLECTIONS.values(), ids=COLLECTIONS)


def same_in_code(source, names, **rules):
    """The plan with these rules, which the code of a hint must give as well."""
    restored = {name: np.zeros(()) for name in names}
    init = SmartInit(source, **rules)
    plan = init.plan(restored)
    (code,) = (options_text(typed.options) for typed in init.links[0].typed)
    again = eval(f"SmartInit(source{code})", {"SmartInit": SmartInit, "source": source})
    assert again.plan(restored).to_dict() == plan.to_dict()
    return plan


@collections
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("option", ["drop", "keep", "transpose"])
def test_globs_in_any_collection(option, count, made):
    """Globs can be given in any iterable, and the code of a hint repeats them."""
    source = {name: np.zeros((2, 3)) for name in "abc"}
    names = ["a", "c"][:count]
    plan = same_in_code(source, "abc", **{option: made(names)})
    found = {row.name for row in plan if row.kind == "dropped"}
    if option == "transpose":
        found = {row.name for row in plan if row.array_shape == (3, 2)}
    assert found == (set("abc") - set(names) if option == "keep" else set(names))


@collections
def test_expected_and_ignored_names_in_any_collection(made):
    """ignore= and the expect options take any iterable, too."""
    source = {"a": np.zeros(()), "b": np.zeros(()), "c": np.zeros(())}
    target = {"a": np.zeros(()), "c": np.zeros(()), "d": np.zeros(())}
    plan = SmartInit(
        source, expect_unused=made(["b"]), expect_missing=made(["d"]), ignore=made(["c"])
    ).plan(target)
    assert {row.name for row in plan if row.expected} == {"b", "c", "d"}
    assert not plan.unmet


@pytest.mark.parametrize("empty", [(), [], set(), {}, np.array([]), iter(()), Column({}), ""])
def test_no_globs_in_any_collection(empty):
    """An empty collection of any type is no rule."""
    init = SmartInit({"a": np.zeros(())}, drop=empty, transpose=empty, ignore=empty)
    assert init.plan({"a": np.zeros(())}).ok
    assert init.links[0].typed == (("SmartInit", {}),)


@pytest.mark.parametrize(
    "cast",
    [
        "float16",
        np.str_("float16"),
        np.float16,
        np.dtype("float16"),
        np.dtype(">f2"),
        {"*": np.dtype("float16")},
        Column({"*": np.dtype("float16")}),
    ],
)
def test_a_dtype_in_any_type_stays_in_the_code(cast):
    """A dtype of any type is repeated in the code of a hint."""
    plan = same_in_code({"a": np.zeros(())}, "a", cast=cast)
    assert plan[0].array_dtype == "float16"


def test_the_code_of_a_hint_keeps_a_cast_to_float64():
    """The code keeps np.dtype("float64"), which numpy takes to be equal to None."""
    source, cast = {"model/w": np.ones(2, "f4")}, np.dtype("float64")
    (hint,) = SmartInit(source, cast=cast).plan({"w": np.zeros(2)}).hints
    assert hint.code == 'SmartInit(SmartInit(source, cast="float64"), strip_prefix="model/")'


@pytest.mark.parametrize(
    "rules",
    [
        {"permute": {"a": np.array([1, 0])}},
        {"permute": {"a": iter((1, 0))}},
        {"permute": {np.str_("a"): [np.int64(1), np.int8(0)]}},
        {"permute": Column({"a": (1, 0)})},
        {"slice": {"a": np.array([0, 0, 1])}, "transpose": "a"},
        {"slice": {"a": (np.int64(1), np.uint8(0), None)}},
        {"pad": {"a": (np.int32(0), np.int64(3), np.float32(0.5))}},
        {"pad": {"a": (1, 4, np.float64("inf"))}},
        {"pad": {"a": (1, 4, np.str_("mean"))}},
        {"rename": {np.str_("a"): np.str_("b")}, "prefix": np.str_("x/")},
        {"rename": np.array([["a", "b"]])},
        {"rename": (pair for pair in [("a", "b"), ("b", "c")])},
        {"rename": {"a": "b"}.items()},
        {"rename": Column({"a": "b"})},
        {"rename": [(re.compile("A", re.IGNORECASE), "b")]},
        {"rename": str.upper},
    ],
)
def test_values_of_rules_in_any_type(rules):
    """The values of rules can be of numpy's types, and the code of a hint repeats them."""
    same_in_code({"a": np.zeros((2, 3))}, ["a"], **rules)


@pytest.mark.parametrize(
    "given", [np.array([1.0]), np.array([b"a"]), [b"a"], [["a"]], Column({0: 1}), {1: 2}, 3]
)
@pytest.mark.parametrize("option", ["drop", "keep", "transpose", "ignore", "expect_missing"])
def test_what_is_no_glob_in_any_collection(option, given):
    """A value that is no glob is a RuleError that names the option."""
    with pytest.raises(RuleError, match=f"{option}=.*give a name or a glob as a str"):
        SmartInit({"a": np.zeros(())}, **{option: given})


def test_errors_of_rules_without_docstrings():
    """Under python -OO, which removes docstrings, errors still say what to give."""
    code = textwrap.dedent("""
        import initreg
        for rules in ({"permute": {"*": 3}}, {"slice": {"*": (0,)}}, {"pad": {"*": (0, 5, "x")}}):
            try:
                initreg.SmartInit("m.npz", **rules)
            except initreg.RuleError as error:
                print(error)
    """)
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "permute={'*': 3}: give the axes in their new order, as in (2, 3, 1, 0)",
        "slice={'*': (0,)}: give (axis, start, stop), where a stop of None is the end of the axis, "
        "or a slice for each axis, as in (slice(0, 2), slice(4, 8)) or '0:2, 4:8'",
        "pad={'*': (0, 5, 'x')}: give (axis, length) or (axis, length, fill), "
        "where fill is a number or 'mean'",
    ], done.stderr


# --- a rule that does nothing, or cannot be -----------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "clause", "near"),
    [
        ({"drop": "fcc/*"}, "drop='fcc/*'", ""),
        ({"drop": ["step", "stepp"]}, "drop='stepp'", "'step'"),
        ({"keep": ["step", "x"]}, "keep='x'", ""),
        ({"rename": {"step": "s", "model/fc/w": "w"}}, "rename={'model/fc/w': 'w'}", "model/fc/W"),
        ({"rename": [("step", "s"), ("^fc", "x")]}, "rename=('^fc', 'x')", ""),
        ({"rename": lambda name: name}, "rename=<lambda>", ""),
        ({"strip_prefix": "mdel/"}, "strip_prefix='mdel/'", ""),
        ({"transpose": "*/w"}, "transpose='*/w'", ""),
        ({"permute": {"*/w": (1, 0)}}, "permute={'*/w': (1, 0)}", ""),
        ({"slice": {"x": (0, 0, 1)}}, "slice={'x': (0, 0, 1)}", ""),
        ({"pad": {"x": (0, 9)}}, "pad={'x': (0, 9)}", ""),
        ({"cast": {"x": "int8"}}, "cast={'x': 'int8'}", ""),
        ({"cast": "float16", "keep": "step"}, "cast='float16'", ""),
    ],
)
def test_a_rule_that_touches_nothing_is_an_error(npz, rules, clause, near):
    """The error names the file, the pattern that matched nothing, and similar names."""
    variables = {"step": np.zeros((), "i8")}
    for attempt in (
        lambda: initreg.load(npz, **rules),
        lambda: initreg.open(npz, **rules),
        lambda: SmartInit(npz, **rules).plan(variables),
        lambda: SmartInit(npz, **rules).init(variables),
    ):
        with pytest.raises(RuleError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith(
            f"{npz}: {clause} matches no array (a rule must match at least one). "
        )
        assert near in message
    assert variables["step"] == 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"keep": ()}, "would keep no array"),
        ({"prefix": 3}, "prefix=3: give a str"),
        ({"strip_prefix": ["a"]}, "strip_prefix=.*give a str"),
        ({"permute": ["*"]}, "permute=.*give a dict"),
        ({"permute": {"*": "ab"}}, "permute={'.': 'ab'}: give the axes in their new order"),
        ({"permute": {"*": 3}}, "give the axes"),
        ({"slice": {"*": (0,)}}, r"slice=.*give \(axis, start, stop\)"),
        ({"slice": {"*": (0, 0.5, 1)}}, r"give \(axis, start, stop\)"),
        ({"pad": {"*": (0, 5, "mode")}}, "give .* where fill is a number or 'mean'"),
        ({"cast": "float33"}, "cast='float33': 'float33' is not a dtype"),
        ({"cast": {"*": 3}}, "cast={'.': 3}: 3 is not a dtype"),
    ],
)
def test_what_is_no_rule_is_an_error_before_anything_is_opened(rules, message):
    """SmartInit raises for a wrong value, and says what to give."""
    with pytest.raises(RuleError, match=message):
        SmartInit("no such file.npz", **rules)


def test_a_change_that_does_not_apply_names_the_array(npz):
    """The error names the source, the rule, the array and its shape."""
    with pytest.raises(RuleError) as caught:
        SmartInit(npz, permute={"*/b": (1, 0)}).plan({})
    assert str(caught.value) == (
        f"{npz}: permute={{'*/b': (1, 0)}}: array 'model/fc/b': "
        "(1, 0) are not the axes of shape (3,)"
    )


# --- on an open map ---------------------------------------------------------------------------


def test_a_map_can_be_given_rules_and_is_a_source(npz):
    """Rules on a map can be chained, read nothing, and leave the base map unchanged."""
    with initreg.open(npz) as base:
        ruled = base.strip_prefix("model/").rename({"fc/W": "fc/kernel"}).drop("step")
        assert list(ruled) == ["fc/kernel", "fc/b", "emb"]
        assert list(base) == ["model/fc/W", "model/fc/b", "model/emb", "step"]
        assert (ruled.label, ruled.format) == (base.label, base.format)
        variables = {"fc/kernel": np.zeros((2, 3), "f4"), "emb": np.zeros((4, 2), "f4")}
        plan = SmartInit(ruled, expect_unused="fc/b").init(variables)
    assert variables["fc/kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [(row.name, row.array) for row in plan.restored] == [
        ("fc/kernel", "model/fc/W"),
        ("emb", "model/emb"),
    ]


def test_every_rule_is_a_method_of_the_map(npz):
    """Each gives a map whose lazy arrays have the new names, shapes, dtypes and values."""
    with initreg.open(npz) as m:
        assert list(m.keep("step", "*/b")) == ["model/fc/b", "step"]
        assert list(m.prefix("x/"))[-1] == "x/step"
        assert m.transpose("*/W")["model/fc/W"].shape == (3, 2)
        assert m.permute("*/W", (1, 0))["model/fc/W"][0].tolist() == [0, 3]
        assert m.slice("*/emb", 0, 1, 3)["model/emb"].read().tolist() == [[2, 3], [4, 5]]
        assert m.pad("*/b", 0, 4, 9)["model/fc/b"].read().tolist() == [0, 1, 2, 9]
        half = m.cast("float16")["model/fc/b"]
        assert (half.dtype, half.read().dtype) == (np.dtype("f2"), np.dtype("f2"))
        assert m.cast("int32", "step", "*/b")["model/fc/b"].spec.dtype == "int32"
        assert len(m.apply(drop="step", prefix="x/")) == 3


def test_changes_add_up(npz):
    """The plan lists every change in order, and the name in the source is kept."""
    with initreg.open(npz) as m:
        spec = m.transpose("*/W").slice("*/W", 0, 0, 2).cast("float16")["model/fc/W"].spec
        ruled = m.transpose("*/W").slice("*/W", 0, 0, 2).prefix("a/")
        assert ruled["a/model/fc/W"].read().tolist() == [[0, 3], [1, 4]]
    assert (spec.shape, spec.dtype) == ((2, 2), "float16")
    assert spec.changes == (
        "permuted (1, 0) from (2, 3)",
        "sliced from (3, 2)",
        "cast from float32",
    )


def test_closing_either_map_closes_the_file(npz):
    """Closing the base map or the ruled map closes the file."""
    base = initreg.open(npz)
    with base.prefix("x/") as ruled:
        assert ruled["x/step"].read() == 7
    with pytest.raises(initreg.InitregError, match="is closed"):
        base["step"].read()
    with pytest.raises(initreg.InitregError, match="is closed"):
        ruled["x/step"].read()


def test_nobody_needs_to_close_a_map_that_was_given_away(npz):
    """SmartInit(initreg.open(...).drop(...)) leaves no open file and no ResourceWarning behind."""
    variables = {"step": np.zeros((), "i8")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SmartInit(initreg.open(npz).drop("model/*")).init(variables)
        gc.collect()
    assert variables["step"] == 7


def test_a_misspelt_keyword_is_a_type_error(npz):
    """An unknown rule is a TypeError."""
    for call in (SmartInit, initreg.open, initreg.load):
        with pytest.raises(TypeError, match="drp"):
            call(npz, drp="step")
    with initreg.open(npz) as m, pytest.raises(TypeError, match="drp"):
        m.apply(drp="step")


def files_held():
    """What this process has open."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if link.is_symlink()]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only Linux lists what is open")
def test_a_rule_that_fails_closes_what_open_opened(tmp_path):
    """open() with a wrong rule leaves no file open, and a map of the user stays open."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("step", data=np.full(100, 7), compression="gzip")
    with pytest.raises(RuleError) as caught:
        initreg.open(path, drop="nope")
    assert str(path) not in files_held()
    assert "nope" in str(caught.value)  # whose frames would keep alive what was not closed
    with initreg.open(path) as m:
        assert m["step"].read()[0] == 7  # the file is opened for the first array that is read
        assert str(path) in files_held()
        with pytest.raises(RuleError):
            m.drop("nope")
        assert str(path) in files_held()
        assert m["step"].read()[0] == 7
    assert str(path) not in files_held()


def test_a_damaged_array_is_told_by_the_name_that_the_file_has(tmp_path):
    """An error about a renamed array has the name that is in the file."""
    np.savez(tmp_path / "m.npz", a=np.full(64, 1.0))
    data = bytearray((tmp_path / "m.npz").read_bytes())
    data[data.index(np.float64(1).tobytes() * 8)] ^= 1
    (tmp_path / "m.npz").write_bytes(data)
    with initreg.open(tmp_path / "m.npz", rename={"a": "b"}) as m:
        with pytest.raises(initreg.DamagedFile, match="array 'a' fails its crc32"):
            m["b"].read()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"permute": {5: (1, 0)}}, r"permute=\{5: \(1, 0\)\}: 5 is not a name or a glob"),
        ({"pad": {5: (0, 9)}}, r"pad=\{5: \(0, 9\)\}: 5 is not a name or a glob"),
        ({"cast": {5: "float16"}}, r"cast=\{5: 'float16'\}: 5 is not a name or a glob"),
    ],
)
def test_a_glob_is_a_str(rules, message):
    """The error shows what was typed, and no class of ours."""
    with pytest.raises(RuleError, match=message):
        initreg.open({"a": np.ones((2, 2))}, **rules)


@pytest.mark.parametrize("length", [2**62, 10**30])
def test_a_length_that_no_memory_has(length):
    """It is one RuleError that names the array."""
    with pytest.raises(RuleError, match=r"array 'a': padded from \(2,\): "):
        initreg.load({"a": np.ones(2)}, pad={"a": (0, length)})


def test_apply_takes_rules_alone():
    """A misspelt one is a TypeError of apply(), as of any Python function."""
    with initreg.open({"a": np.ones(2)}) as arrays:
        with pytest.raises(TypeError, match=r"^apply\(\) got an .* 'dorp'"):
            arrays.apply(dorp="a")
