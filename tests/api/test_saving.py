"""initreg.api.saving: any source into any format, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregError, RuleError, UnknownFormat, UnwritableFile
from initreg.api.saving import saver_for, size_in_bytes

ENDINGS = [".npz", ".safetensors", ".h5", ".ckpt"]
WEIGHTS = {
    "fc/W": np.arange(12, dtype="f4").reshape(3, 4),
    "fc/b": np.ones(4, "f4"),
    "step": np.array(7, "i8"),
}


def equal(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return set(found) == set(wanted) and all(
        np.array_equal(found[name], wanted[name]) and found[name].dtype == wanted[name].dtype
        for name in wanted
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_saved_is_loaded(tmp_path: Path, ending: str) -> None:
    """By the path that it returns, which is the user's own."""
    path = initreg.save(tmp_path / f"m{ending}", WEIGHTS)
    assert path == tmp_path / f"m{ending}"
    assert equal(initreg.load(path), WEIGHTS)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("source", ENDINGS)
def test_any_format_becomes_any_other(tmp_path: Path, source: str, ending: str) -> None:
    """With the names, dtypes and values that it has."""
    first = initreg.save(tmp_path / f"a{source}", WEIGHTS)
    second = initreg.convert(first, tmp_path / f"b{ending}")
    assert equal(initreg.load(second), WEIGHTS)


def test_nothing_but_the_file_is_there(tmp_path: Path) -> None:
    """No temporary file stays."""
    initreg.save(tmp_path / "m.npz", WEIGHTS)
    initreg.save(tmp_path / "m.npz", WEIGHTS)
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_dict_may_be_nested_and_hold_anything_like_an_array(tmp_path: Path) -> None:
    """Lists, scalars, Fortran order, tensors; names are normalised."""
    given = {
        "fc": {"W:0": np.asfortranarray(WEIGHTS["fc/W"]), "b": tf.constant(WEIGHTS["fc/b"])},
        "list": [1.0, 2.0],
        "scalar": np.float32(3),
    }
    found = initreg.load(initreg.save(tmp_path / "m.npz", given))
    assert found["fc/W"].tolist() == WEIGHTS["fc/W"].tolist()
    assert found["fc/b"].tolist() == [1, 1, 1, 1]
    assert found["list"].tolist() == [1, 2]
    assert found["scalar"].shape == ()


def test_an_open_map_is_saved_as_its_rules_leave_it(tmp_path: Path) -> None:
    """And stays open."""
    path = initreg.save(tmp_path / "m.npz", WEIGHTS)
    with initreg.open(path) as opened:
        initreg.save(tmp_path / "half.npz", opened.keep("fc/*").cast("float16").prefix("net/"))
        assert opened["step"].read() == 7
    found = initreg.load(tmp_path / "half.npz")
    assert sorted(found) == ["net/fc/W", "net/fc/b"]
    assert found["net/fc/W"].dtype == np.float16


def test_a_chain_is_merged_on_the_way(tmp_path: Path) -> None:
    """The last source that has a name supplies it; rules are for all of them."""
    base = initreg.save(tmp_path / "base.safetensors", WEIGHTS)
    head = {"fc/b": np.zeros(4, "f4"), "new": np.ones(1)}
    path = initreg.convert([base, head], tmp_path / "m.h5", drop="step")
    found = initreg.load(path)
    assert sorted(found) == ["fc/W", "fc/b", "new"]
    assert found["fc/b"].tolist() == [0, 0, 0, 0]


def test_a_file_may_be_converted_into_itself(tmp_path: Path) -> None:
    """It is read from what stood there, although the new file takes its place."""
    path = initreg.save(tmp_path / "m.npz", WEIGHTS)
    initreg.convert(path, path, cast="float16")
    assert initreg.load(path)["fc/W"].dtype == np.float16


def test_what_fails_midway_leaves_the_old(tmp_path: Path) -> None:
    """A damaged source, found while it is read: one error, and the file that stood there."""
    good = initreg.save(tmp_path / "good.npz", WEIGHTS)
    bad = initreg.save(tmp_path / "bad.npz", {"a": np.zeros(1000), "b": np.ones(1000)})
    content = bytearray(bad.read_bytes())
    content[content.rindex(np.ones(1000).tobytes()) + 500] ^= 1
    bad.write_bytes(content)
    with pytest.raises(initreg.DamagedFile, match="array 'b' fails its crc32"):
        initreg.convert(bad, good)
    assert equal(initreg.load(good), WEIGHTS)
    assert sorted(os.listdir(tmp_path)) == ["bad.npz", "good.npz"]


def test_a_rule_that_touches_nothing_writes_nothing(tmp_path: Path) -> None:
    """As it restores nothing."""
    path = initreg.save(tmp_path / "m.npz", WEIGHTS)
    with pytest.raises(RuleError):
        initreg.convert(path, tmp_path / "n.npz", drop="nothing/*")
    assert os.listdir(tmp_path) == ["m.npz"]


def test_an_ending_that_no_format_has(tmp_path: Path) -> None:
    """The error lists the endings, and the formats that can be named instead."""
    with pytest.raises(UnknownFormat, match=r"m\.pt: no format .*\.npz or .*safetensors"):
        initreg.save(tmp_path / "m.pt", WEIGHTS)
    with pytest.raises(UnknownFormat, match="format 'mapping' is not saved; those that are: h5"):
        initreg.save(tmp_path / "m.npz", WEIGHTS, format="mapping")
    assert os.listdir(tmp_path) == []


def test_the_step_of_a_checkpoint_is_no_part_of_its_ending() -> None:
    """Nor does case matter; of two endings the longer counts."""
    assert saver_for("run/model.ckpt-1000") == "tf_checkpoint"
    assert saver_for("MODEL.NPZ") == "npz"
    with pytest.raises(UnknownFormat):
        saver_for("model-1000")


def test_a_format_that_is_named_takes_any_path(tmp_path: Path) -> None:
    """As training names its checkpoints."""
    path = initreg.save(tmp_path / "model-1000", WEIGHTS, format="tf_checkpoint")
    assert path == tmp_path / "model-1000"
    assert tf.train.load_checkpoint(str(path)).get_tensor("step") == 7


def test_no_such_folder(tmp_path: Path) -> None:
    """It is not made: the path may be misspelt."""
    with pytest.raises(UnwritableFile, match=r"folder .* does not exist"):
        initreg.save(tmp_path / "no/m.npz", WEIGHTS)


def test_progress_is_told_to_the_last_byte(tmp_path: Path) -> None:
    """Bytes done begin at none, never go back, and end at all of them."""
    seen: list[tuple[int, int]] = []
    arrays = {f"x{i}": np.zeros(1000, "f4") for i in range(10)}
    initreg.save(tmp_path / "m.npz", arrays, progress=lambda *done: seen.append(done))
    assert [total for _, total in seen] == [40_000] * 11
    assert [done for done, _ in seen] == list(range(0, 44_000, 4000))


@pytest.mark.parametrize(
    ("given", "size"),
    [(None, None), (7, 7), ("7", 7), ("5GB", 5 * 10**9), ("1.5 kB", 1500), ("2GiB", 2 << 30),
     ("300M", 3 * 10**8)],
)  # fmt: skip
def test_sizes(given: Any, size: int | None) -> None:
    """Numbers of bytes, decimal and binary units."""
    assert size_in_bytes(given) == size


@pytest.mark.parametrize("given", ["", "5XB", "-1", "0", 0, -5, "GB", "1e9", "5 apples", True])
def test_sizes_that_are_none(given: Any) -> None:
    """They are an error, not a guess."""
    with pytest.raises(InitregError, match="is not a size"):
        size_in_bytes(given)


# Large arrays are mappings, which tracemalloc does not see: the system says what they take.
_MEASURED = """
import sys
import numpy as np
import initreg

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) << 10

def measured(call):
    call(first)  # what a first save imports
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # VmHWM begins anew
    call(second)
    print(memory("VmHWM") - before)

out = sys.argv[1]
"""
measures_memory = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux does it"
)


def measured(code: str, *arguments: Path) -> int:
    """The memory that a program takes for its second save, beyond what it has before."""
    command = [sys.executable, "-c", _MEASURED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@measures_memory
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_model_is_never_in_memory_as_a_whole(tmp_path: Path, ending: str) -> None:
    """40 arrays of 4 MB are converted within less than a quarter of what they take together."""
    first = initreg.save(tmp_path / f"first{ending}", {"x": np.ones(100, "f4")})
    arrays = {f"x{i:02}": np.full((1000, 1000), i, "f4") for i in range(40)}
    second = initreg.save(tmp_path / f"second{ending}", arrays)
    code = "first, second = sys.argv[2:]\nmeasured(lambda path: initreg.convert(path, out))"
    assert measured(code, tmp_path / f"b{ending}", first, second) < 40 << 20
    with initreg.open(tmp_path / f"b{ending}") as opened:
        assert [float(opened[f"x{i:02}"][0, 3]) for i in range(40)] == list(range(40))


@measures_memory
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_users_array_is_not_copied_to_be_written(tmp_path: Path, ending: str) -> None:
    """It is written from where it lies: 32 MB take less than 4 MB more."""
    code = "first, second = np.ones(9, 'u1'), np.ones(32 << 20, 'u1')\n"
    code += "measured(lambda array: initreg.save(out, {'x': array}))"
    assert measured(code, tmp_path / f"m{ending}") < 4 << 20
    with initreg.open(tmp_path / f"m{ending}") as opened:
        assert opened["x"].shape == (32 << 20,)


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_a_model_too(tmp_path: Path, ending: str) -> None:
    """A source without arrays makes a file without arrays."""
    path = initreg.convert(initreg.open({}), tmp_path / f"m{ending}")
    assert initreg.load(path) == {}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_name_that_could_be_normalised_once_more(tmp_path: Path, ending: str) -> None:
    """It is another name than what is left then, in a file, too, and after every round trip."""
    arrays = {"a:0:0": np.ones(2), "a:0": np.zeros(2), "x/y:0:0": np.full(2, 2.0)}
    with initreg.open(arrays) as opened:
        assert [array.name for array in opened.values()] == ["a:0:0", "a", "x/y:0:0"]
        assert opened["a:0:0"].read().tolist() == [1, 1]
        assert opened["a:0"].read().tolist() == opened["a"].read().tolist() == [0, 0]
    path = initreg.save(tmp_path / f"m{ending}", arrays)
    again = initreg.save(tmp_path / f"again{ending}", initreg.load(path))
    for file in (path, again):
        found = {name: array.tolist() for name, array in initreg.load(file).items()}
        assert found == {"a:0:0": [1, 1], "a": [0, 0], "x/y:0:0": [2, 2]}


# --- who is to blame -----------------------------------------------------------------------------


def test_progress_that_raises_is_the_users_own(tmp_path: Path) -> None:
    """Its exception is passed on as it is, the format is not blamed, and nothing is written."""

    def progress(done: int, total: int) -> None:
        raise KeyError("mine")

    for name in ("m.npz", "m.safetensors", "m.h5", "m.ckpt"):
        with pytest.raises(KeyError, match="mine"):
            initreg.save(tmp_path / name, {"w": np.ones(2)}, progress=progress)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def manager() -> Any:
    """The plugin manager of the process; what a test registers is removed again."""
    found = initreg.plugin_manager()
    before = set(found.get_plugins())
    yield found
    for plugin in set(found.get_plugins()) - before:
        found.unregister(plugin)


def test_a_save_that_writes_no_file_is_an_error(tmp_path: Path, manager: Any) -> None:
    """A wrapper may swallow what the format raised. The old file stays, without a new manifest."""

    class Swallow:
        @initreg.hookimpl(wrapper=True)
        def initreg_save(self, arrays: Any, output: Any, options: Any) -> Any:
            try:
                return (yield)
            except InitregError:
                return None

    initreg.save(tmp_path / "m.npz", {"w": np.zeros(2)})
    manager.register(Swallow(), name="swallow")
    with pytest.raises(initreg.PluginError, match=r"'npz' wrote no file.* the wrappers swallow"):
        initreg.save(tmp_path / "m.npz", {"w": np.ones(2)}, shard_size=1, manifest=True)
    assert os.listdir(tmp_path) == ["m.npz"]
    assert initreg.load(tmp_path / "m.npz")["w"].tolist() == [0, 0]


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5"])
def test_no_model_is_saved_as_one_part_of_several(tmp_path: Path, ending: str) -> None:
    """Nothing could open it by that name. The error says which name to use, and that works."""
    name = f"m-00001-of-00002{ending}"
    with pytest.raises(UnwritableFile, match=rf"{name}: .* one part of 2, .* Call it m{ending}\."):
        initreg.save(tmp_path / name, WEIGHTS)
    assert not [*tmp_path.iterdir()]
    assert equal(initreg.load(initreg.save(tmp_path / f"m{ending}", WEIGHTS)), WEIGHTS)


def test_the_only_part_and_a_prefix_are_saved(tmp_path: Path) -> None:
    """Both can be opened by their names."""
    for name in ("m-00001-of-00001.npz", "m-00001-of-00002.ckpt"):
        assert equal(initreg.load(initreg.save(tmp_path / name, WEIGHTS)), WEIGHTS)
