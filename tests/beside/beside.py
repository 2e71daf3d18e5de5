"""``make beside``: the tests of the installed Keras, with initreg beside everything that loads.

``run.py [--keras tf_keras --sources DIR] [--output DIR] [PATH ...]``

Whenever such a test loads weights into a model, saves a model or trains one, Keras loads the file
into the model once more, and then initreg loads it into the same model in the same state. The two
are compared bit for bit. The wheels of Keras 3 contain its tests. Those of tf_keras do not: pass
the folder ``tf_keras`` of its sources, at the version that is installed. ``PATH`` are folders or
files of tests, below ``keras/src`` or the sources; by default those that load and save.

It prints what was found, grouped. Exit code 1 if initreg and Keras both loaded a file and the
models differ without a warning, or if initreg failed with an error that is not its own.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEFAULT = {
    "keras": ("saving", "legacy/saving", "models", "callbacks/model_checkpoint_test.py",
              "callbacks/backup_and_restore_test.py", "callbacks/swap_ema_weights_test.py",
              "optimizers", "layers", "export/saved_model_test.py", "trainers"),
    "tf_keras": ("saving", "engine", "layers", "optimizers", "tests"),
}  # fmt: skip
BAD = ("differs", "fault", "harness")
SHOWN = 200  # characters of a detail


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keras", choices=DEFAULT, default="keras")
    parser.add_argument("--sources", type=Path, help="the folder tf_keras of its sources")
    parser.add_argument("--output", type=Path, help="where findings are kept, as JSON lines")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="beside-") as scratch:
        tests = _tests(options.keras, options.sources, Path(scratch))
        output = options.output or Path(scratch)
        output.mkdir(parents=True, exist_ok=True)
        found = output / "found.jsonl"
        found.write_text("")
        paths = [tests / path for path in options.paths or DEFAULT[options.keras]]
        lost = [str(path) for path in paths if not path.exists()]
        if lost:
            parser.error(f"there are no tests at {', '.join(lost)}")
        code = run(options.keras, tests, paths, found, output / "pytest.log")
        rows = [json.loads(line) for line in found.read_text().splitlines()]
    print(report(rows))
    if code not in (0, 1):  # 1: tests of Keras failed, as some do without initreg
        print(f"pytest ended with code {code}")
        return 2
    if not rows:
        print("nothing was loaded")
        return 2
    return 1 if any(row["outcome"] in BAD for row in rows) else 0


def run(keras: str, tests: Path, paths: list[Path], found: Path, log: Path) -> int:
    """Run the tests. Returns the exit code of pytest.

    Args:
        keras: ``"keras"`` or ``"tf_keras"``.
        tests: the folder that the names of tests begin at.
        paths: the folders and files of tests.
        found: the file that findings are appended to.
        log: the file for what pytest prints.
    """
    before = os.environ.get("PYTHONPATH")
    parts = [str(HERE), str(ROOT), str(ROOT / "plugins"), *([before] if before else [])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(parts),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-c", os.devnull]
    command += ["--rootdir", str(tests), "-p", "no:cacheprovider", "-p", "plugin"]
    command += ["--import-mode=importlib", "-W", "ignore"]
    command += [f"--beside={keras}", f"--beside-output={found}", *map(str, paths)]
    with log.open("w") as output, tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.returncode


def report(rows: list[dict[str, Any]]) -> str:
    """What was found: how often, and what is not equal, grouped by what is alike."""
    lines = []
    counts = collections.Counter((row["outcome"], row["loader"]) for row in rows)
    for (outcome, loader), count in sorted(counts.items()):
        lines.append(f"{count:6}  {outcome:20} {loader}")
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if not row["outcome"].startswith(("equal", "both refuse", "not compared", "Keras does")):
            alike = re.sub(r"\d+|/\S+", "", row["detail"])[:SHOWN]
            groups.setdefault((row["outcome"], row.get("model"), alike), []).append(row)
    for (outcome, model, _), members in sorted(groups.items(), key=str):
        first = members[0]
        detail = re.sub(r"\s+", " ", first["detail"])[:SHOWN]
        loaders = ", ".join(dict.fromkeys(row["loader"] for row in members))
        lines += ["", f"{outcome}: {model}, {len(members)} times: {loaders}", f"  {first['test']}"]
        lines += [f"  {detail}", *(f"  said: {each[:SHOWN]}" for each in first.get("warnings", ()))]
    return "\n".join(lines)


def _tests(keras: str, sources: Path | None, scratch: Path) -> Path:
    """The folder with the tests."""
    if keras == "tf_keras":
        if sources is None or not any(sources.rglob("*_test.py")):
            sys.exit("pass --sources=DIR, the folder tf_keras of the sources of tf_keras")
        return _rewritten(sources, scratch / "tests")
    spec = importlib.util.find_spec(keras)
    home = Path(spec.origin).parent / "src" if spec is not None and spec.origin else Path()
    tests = sources or home
    if not any(tests.rglob("*_test.py")):
        sys.exit(f"{tests} has no tests: pass --sources=DIR, the folder keras/src of its sources")
    return tests


def _rewritten(sources: Path, to: Path) -> Path:
    """Copies of the tests that import the installed ``tf_keras.src`` where they import
    ``tf_keras``. The wheel keeps its modules there."""
    for path in sources.rglob("*_test.py"):
        copy = to / path.relative_to(sources)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("\n".join(map(_import, path.read_text("utf-8").split("\n"))))
    return to


def _import(line: str) -> str:
    if "tf_keras.protobuf" in line:
        return line
    if line.strip() == "import tf_keras":
        return line.replace("import tf_keras", "import tf_keras.src as tf_keras")
    line = re.sub(r"\b(import|from) tf_keras\.(?!src)", r"\1 tf_keras.src.", line)
    line = line.replace("from tf_keras import", "from tf_keras.src import")
    return line.replace("import tf_keras as ", "import tf_keras.src as ")


if __name__ == "__main__":
    sys.exit(main())
