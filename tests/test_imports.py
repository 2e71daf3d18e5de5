"""Which way imports go, and what is not imported: the rest of what 'make lint' checks.

import-linter (pyproject.toml) sees modules; here are the rules about names, and about what a
process has really imported by the time it is done.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg

ROOT = Path(__file__).parents[1]
KERNEL = sorted((ROOT / "initreg").rglob("*.py"))
PACKAGES = {
    path.parent
    for pattern in ("*/__init__.py", "*/src/*/__init__.py")
    for path in (ROOT / "plugins").glob(pattern)
}
PLUGINS = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "torch", "tensorpack"}
HEAVY = FRAMEWORKS | {"h5py", "safetensors", "gguf", "rich", "numpy", "ml_dtypes"}

# What the ground floor may import of ours. import-linter holds the rooms above it.
GROUND_FLOOR = {
    "records": set[str](),
    "text.near": set[str](),
    "option_spelling": {"records"},
    "errors": {"option_spelling"},
    "dtypes": set[str](),
    "names": {"errors", "option_spelling"},
    "folding": {"errors", "records"},
    "state_specs": {"records"},
    "specs": {"dtypes", "records", "state_specs"},
    "text.tables": set[str](),
    "text.wording": {
        *("dtypes", "errors", "folding", "names", "option_spelling", "records", "specs"),
        "store_paths",
    },
    "text.markup": {"errors", "text.wording"},
    "plugin.claim": {"records"},
    "plugin.source": {
        *(
            "errors",
            "text.near",
            "plugin.foreign",
            "plugin.part_names",
            "storage.locating",
            "storage.paths",
        ),
        *("storage.stamps", "storage.stand_ins", "storage.store_files", "store_paths"),
    },
}
# What `initreg probe` must not pay for: rooms, and the modules on the ground floor, by name.
NOT_FOR_PROBE = ("rules", "plan", "api", "text.wording", "folding")
NOT_FOR_PROBE += tuple(f"storage.{name}" for name in ("output", "journals", "locking", "manifests"))


def runtime_imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """``(module, name)`` of every import of a file but those under ``if TYPE_CHECKING``; name is
    None for a plain ``import module``."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield child
            yield from walk(child)

    for node in walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield from ((node.module, alias.name) for alias in node.names)


def kernel_imports(path: Path) -> set[str]:
    """The modules of the kernel that a file imports: ``{"errors", "cli.probe"}``."""
    found = set()
    for module, name in runtime_imports(path):
        if module == "initreg" and name is not None and _is_kernel_module(name):
            found.add(name)
        elif module.startswith("initreg."):
            inner = module.removeprefix("initreg.")
            deeper = f"{inner}.{name}"
            found.add(deeper if name is not None and _is_kernel_module(deeper) else inner)
    return found


def _is_kernel_module(dotted: str) -> bool:
    path = ROOT / "initreg" / dotted.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT / "initreg").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", KERNEL, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_kernel_imports_no_plugin_and_no_framework(path: Path) -> None:
    """Not even inside a function; of all modules only trainers/ may import a framework."""
    tops = {module.partition(".")[0] for module, _ in runtime_imports(path)}
    assert not tops & {package.name for package in PACKAGES}
    if "trainers" not in path.parts:
        assert not tops & (FRAMEWORKS | {"h5py", "safetensors", "gguf"})


def test_every_plugin_is_looked_at() -> None:
    """Those in the wheel, and each that has a distribution of its own."""
    names = {package.name for package in PACKAGES}
    assert {"initreg_formats", "initreg_targets"} <= names
    separate = {project.parent.name for project in (ROOT / "plugins").glob("*/pyproject.toml")}
    assert {name.replace("-", "_") for name in separate} <= names


@pytest.mark.parametrize(
    "path",
    [path for path in KERNEL if "testing" not in path.parts],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_kernel_imports_no_conformance_kit(path: Path) -> None:
    """initreg.testing needs pytest, which no user has to have."""
    assert _is_kernel_module("testing")
    assert "testing" not in {module.partition(".")[0] for module in kernel_imports(path)}


@pytest.mark.parametrize("name", GROUND_FLOOR)
def test_the_ground_floor_imports_nothing_above_it(name: str) -> None:
    """Each of these modules imports of ours exactly what is named here."""
    path = ROOT / "initreg" / f"{name.replace('.', '/')}.py"
    assert kernel_imports(path) == GROUND_FLOOR[name]


def test_the_kernel_has_no_import_cycle() -> None:
    """Its modules can be put in an order in which each imports only those before it."""
    graph = {_dotted(path): kernel_imports(path) for path in KERNEL if _dotted(path)}
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("errors") < order.index("api.smart_init") < order.index("cli.verbs.plan")


@pytest.mark.parametrize(
    "path",
    [path for path in KERNEL if "testing" not in path.parts],  # the kit makes files of strangers
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_the_kernel_names_no_format(path: Path) -> None:
    """No string of the kernel's code is the name of a format in the wheel, but that of numpy's own
    files, which `initreg show` writes for other programs."""
    points = metadata.entry_points(group="initreg")
    formats = {p.name for p in points if p.value.startswith("initreg_formats.")}
    tree = ast.parse(path.read_text("utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert len(formats) == 7
    assert strings & formats <= ({"npy"} if path.name in ("showing.py", "show.py") else set())


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: str(p.relative_to(ROOT / "plugins")))
def test_a_plugin_imports_public_names_only(path: Path) -> None:
    """Of initreg: its public names, and the five modules that are public."""
    modules = ("dtypes", "format_tools", "option_spelling", "testing", "verb_tools")
    public = {*initreg.__all__, *modules}
    for module, name in runtime_imports(path):
        if module == "initreg":
            assert name is None or name in public, f"{name} is not public"
        elif module.startswith("initreg."):
            assert module.split(".")[1] in modules, f"{module} is not public"


# --- what a process has imported -----------------------------------------------------------------


def imported_by(code: str, *arguments: str) -> set[str]:
    """The heavy packages that a new Python process has imported after running ``code``."""
    program = (
        f"import sys\n{code}\n"
        "import json\n"
        "found = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "print('MODULES', json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("MODULES "))
    return set(json.loads(line.removeprefix("MODULES "))) & HEAVY


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A path of every kind that a format in the wheel claims."""
    import tensorflow as tf
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("samples")
    array = np.arange(6, dtype="float32").reshape(2, 3)
    np.save(folder / "a.npy", array)
    np.savez(folder / "a.npz", w=array)
    save_file({"w": array}, folder / "a.safetensors")
    with h5py.File(folder / "a.h5", "w") as file:
        file["w"] = array
    checkpoint = tf.train.Checkpoint(w=tf.Variable(array)).write(str(folder / "model"))
    found = [str(folder / name) for name in ("a.npy", "a.npz", "a.safetensors", "a.h5")]
    return [*found, checkpoint, f"{checkpoint}.index"]


def test_import_initreg_is_light() -> None:
    """import initreg, and its contract for plugins, import no library of arrays at all."""
    assert imported_by("import initreg; initreg.hookimpl, initreg.Claim, initreg.Source") == set()


@pytest.mark.framework
def test_probe_imports_no_numpy(samples: list[str]) -> None:
    """'initreg probe' finds the winner of every kind of file without numpy or any framework."""
    code = (
        "from initreg.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    assert main(['probe', path]) == 0, path"
    )
    assert imported_by(code, *samples) == set()


@pytest.mark.framework
@pytest.mark.parametrize("name", NOT_FOR_PROBE)
def test_probe_pays_for_nothing_that_it_does_not_need(name: str, samples: list[str]) -> None:
    """What restoring and saving need, and claiming does not, is not imported by 'initreg probe'."""
    assert _is_kernel_module(name), f"there is no initreg.{name} any more"
    code = (
        "from initreg.cli import main\n"
        "assert main(['probe', sys.argv[1]]) == 0\n"
        f"name = 'initreg.{name}'\n"
        "found = [m for m in sys.modules if m == name or m.startswith(name + '.')]\n"
        "assert not found, found"
    )
    imported_by(code, samples[0])


@pytest.mark.framework
def test_probe_reads_no_arrays(samples: list[str]) -> None:
    """Of the room in which bytes become arrays, only the map and what it says is imported."""
    code = (
        "from initreg.cli import main\n"
        "assert main(['probe', sys.argv[1]]) == 0\n"
        "found = {m for m in sys.modules if m.startswith('initreg.arrays.')}\n"
        "wanted = {'lazy_array', 'array_map', 'describing', 'notes'}\n"
        "assert found == {'initreg.arrays.' + name for name in wanted}, found"
    )
    imported_by(code, samples[0])


def test_plugins_imports_no_numpy() -> None:
    """'initreg plugins' loads every plugin that is installed, and none loads its library."""
    assert imported_by("from initreg.cli import main\nassert main(['plugins']) == 0") == set()


@pytest.mark.framework
def test_ls_imports_no_framework(samples: list[str]) -> None:
    """'initreg ls' lists every kind of file; of the libraries it needs h5py and numpy at most."""
    code = (
        "from initreg.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    assert main(['ls', path]) == 0, path"
    )
    assert imported_by(code, *samples) <= {"h5py", "numpy", "ml_dtypes"}
