"""Restores into a TF1 session what a ``tf.compat.v1.train.Saver`` saves, under the names that it
saves under: variables, tables, iterators, and every other ``SaveableObject``.

All arrays are planned together. initreg writes the variables as it does in every session. For
everything else it runs the ops of the Saver, and feeds them the arrays, so that nothing is added to
the graph. Only what is not an array, the state of an iterator, is read by TensorFlow.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from initreg.api.smart_init import SmartInit
from initreg.errors import MismatchError, MissingWarning, TargetError, warn
from initreg.names import normalise
from initreg.plugin.installed import default_registry
from initreg.specs import VariableSpec
from initreg.storage.paths import listed
from initreg.storage.uploading import downloaded
from initreg.store_paths import FilePath
from initreg.text.wording import names_text, plural
from initreg.trainers.tf1.saved import (
    Read,
    Taker,
    saved_shapes,
    table_value_shape,
    takers,
    variable_name,
)

logger = logging.getLogger("initreg")


class Restoration:
    """Restores a checkpoint into a session as a Saver does, or changes nothing.

    Args:
        session: a plain ``tf.compat.v1.Session``.
        saver_def: what ``as_saver_def()`` of the Saver returns.
        apart: the same of another Saver, of those objects of the first one whose states are not
            arrays. ``RestoreV2`` reads everything that its Saver saves, the variables too, so it is
            better not to run that of the first one.
        found: what :func:`initreg.trainers.tf1.saved.takers` returns for the first one, if it is
            known.

    Attributes:
        variables: the names of the global variables that :meth:`run` has restored.

    Raises:
        TargetError: the Saver does not say in the graph which arrays it reads.

    >>> Restoration(session, saver.as_saver_def()).run("run/model-1000")  # doctest: +SKIP
    """

    def __init__(
        self,
        session: Any,
        saver_def: Any,
        apart: Any = None,
        found: Sequence[Taker] | None = None,
    ) -> None:
        graph = session.graph
        defs = [saver_def] if apart is None else [saver_def, apart]
        found = list(takers(graph, saver_def) if found is None else found)
        if apart is not None:
            special = takers(graph, apart)
            keys = {read.key for taker in special for read in taker.reads}
            found = [t for t in found if keys.isdisjoint(r.key for r in t.reads)] + special
        self.variables: set[str] = set()
        self._session = session
        self._target = _Target(session, found, saved_shapes(graph, saver_def))
        self._filenames = [each.filename_tensor_name for each in defs]
        self._copy = contextlib.ExitStack()  # of a checkpoint in a store, for TensorFlow

    def run(self, path: str | FilePath, *, is_last: bool = True) -> None:
        """Restore a checkpoint. Variables and tables that it does not have stay as they are, with a
        MissingWarning.

        Args:
            path: the checkpoint.
            is_last: False if :meth:`again` follows. Iterators, which ``local_init_op`` initialises,
                are left to that.

        Raises:
            MismatchError: an array does not fit, or a table or other object is there in part.
            InitregError: what :meth:`initreg.SmartInit.init` raises.
        """
        try:
            self._run(Path(path) if isinstance(path, str) else path, is_last)
        except BaseException:
            self._copy.close()
            raise
        if is_last:
            self._copy.close()

    def _run(self, path: FilePath, is_last: bool) -> None:
        target = self._target
        start = SmartInit(path)
        restored: set[str] = set()
        if target.specs:
            plan = start.plan(target)
            error = plan.error()
            if error is not None:
                raise error
            restored = {target.key_of(row.name) for row in plan.restored}
        opaque = target.opaque
        # What is not an array is read by TensorFlow itself, which needs files.
        local = self._local(path) if opaque else None
        there = _keys(local) if local is not None else frozenset()
        self._choose(restored | (opaque & there), there, path)
        self.variables = target.filled(restored)
        target.begin(dict.fromkeys(self._filenames, str(local or path)), is_last=is_last)
        if restored:
            start.init(target)
        else:
            target.run()
        missing = sorted(opaque - there)
        if missing:
            names = "; ".join(names_text((name, "") for name in missing))
            warn(
                f"{path} -> {target.label}: {len(missing)} only in the target, left unchanged: "
                f"{names}",
                MissingWarning,
            )
        if target.others:
            names = "; ".join(names_text((name, "") for name in target.others))
            count = plural(len(target.others), "variable")
            logger.warning(
                "%s: %s not among those that are saved, and starts afresh: %s", path, count, names
            )

    def again(self) -> None:
        """Restore once more what is not a global variable. Ops that ran in between, such as
        ``local_init_op``, may have initialised it."""
        with self._copy:
            self._target.again()

    def _local(self, path: FilePath) -> Path:
        """A checkpoint on the disk. One in a store is copied there until the restore ends."""
        if isinstance(path, Path):
            return path
        folder = Path(tempfile.mkdtemp(prefix="initreg-"))
        # Also if no session is created, so that again() is not called.
        self._copy.callback(weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True))
        parts = [each for each in listed(path.parent) if _is_part(each, path.name)]
        for each in parts:
            downloaded(path.with_name(each), folder)
        return folder / path.name

    def _choose(self, present: set[str], there: frozenset[str], path: FilePath) -> None:
        """Choose the objects to restore: those that the checkpoint has.

        Raises:
            MismatchError: it has only a part of one, or TensorFlow could not read one.
        """
        problems = []
        for taker in self._target.objects:
            lacking = [read.key for read in taker.reads if read.key not in present]
            if lacking and len(lacking) < len(taker.reads):
                has = next(read.key for read in taker.reads if read.key in present)
                problems.append(f"it has {has!r}, but not {lacking[0]!r}, of {taker.destination!r}")
        if not problems:
            for taker in self._target.chosen(present):
                for read in taker.reads if there else ():
                    names = _read_with(read) if read.is_opaque else ()
                    lacking = [name for name in names if name not in there]
                    if lacking:
                        problems.append(
                            f"TensorFlow reads {read.key!r} only together with {lacking[0]!r}, "
                            "which it does not have. Leave that out of the Saver of the Scaffold"
                        )
        if problems:
            raise MismatchError(
                f"{path}: this is not a complete checkpoint of the graph, and nothing was "
                "restored: " + "; ".join(problems)
            )


class _Target:
    """What a Saver restores, as a target, under the names that it saves under.

    Attributes:
        specs: what is an array in a checkpoint.
        opaque: the names of what is not.
        objects: the ops for all that is not a global variable.
        others: the global variables that the Saver does not restore.
    """

    def __init__(
        self, session: Any, found: Sequence[Taker], shapes: Mapping[str, tuple[int | None, ...]]
    ) -> None:
        self._session = session
        self._inner = default_registry().target(session)
        self.label = self._inner.label
        inner = {spec.name: spec for spec in self._inner.variables()}
        self._variables = _variables(session.graph, found, inner)  # by key
        taken = {spec.name for each in self._variables.values() for spec in each}
        self.others = sorted(inner.keys() - taken - _assigned(session.graph, found))
        self.objects = [t for t in found if not all(r.key in self._variables for r in t.reads)]
        self.objects += [taker for taker in found if not taker.reads]
        self._reads: dict[str, list[Read]] = defaultdict(list)
        specs = {key: (specs[0].shape, specs[0].dtype) for key, specs in self._variables.items()}
        regions: dict[str, set[str]] = defaultdict(set)
        for read in itertools.chain(*(taker.reads for taker in found)):
            regions[read.key].add(read.region)
        self._alone = {key for key, known in regions.items() if len(known) == 1}
        for taker in self.objects:
            last = table_value_shape(taker)
            for read in taker.reads:
                self._reads[read.key].append(read)
                shape = read.full_shape or shapes.get(read.key)
                if read.key in self._alone and read.part_shape is not None:
                    shape = read.part_shape  # an array of its own in the checkpoint, too
                if last is not None and read is taker.reads[-1]:
                    shape = last
                specs.setdefault(read.key, (shape, read.dtype))
        self.opaque = {k for k, reads in self._reads.items() if any(r.is_opaque for r in reads)}
        self.specs = [VariableSpec(k, *s) for k, s in specs.items() if k not in self.opaque]
        self._keys = {normalise(spec.name): spec.name for spec in self.specs}
        self._files: dict[str, str] = {}
        self._feeds: dict[Any, Any] = {}
        self._chosen: list[Taker] = []
        self._is_last = True

    def chosen(self, present: set[str]) -> list[Taker]:
        """Choose the objects whose arrays are all present, for :meth:`run`.

        Ops that take no array belong to an object as a whole, which the graph does not show. They
        run only if nothing is missing.
        """
        found = [t for t in self.objects if all(r.key in present for r in t.reads)]
        if len(found) < len(self.objects):
            found = [taker for taker in found if taker.reads]
        self._chosen = found
        return found

    def filled(self, present: set[str]) -> set[str]:
        """The names of the global variables that are filled from these keys and what is chosen."""
        taken = {spec.name for key in present for spec in self._variables.get(key, ())}
        return taken | _assigned(self._session.graph, self._chosen)

    def key_of(self, name: str) -> str:
        """The key of an array, by its normalised name in a plan."""
        return self._keys[name]

    def begin(self, files: Mapping[str, str], *, is_last: bool) -> None:
        """Get ready to write. ``files`` are what the Savers' tensors for the file name are fed."""
        self._files = dict(files)
        self._feeds = {}
        self._is_last = is_last

    def variables(self) -> Sequence[VariableSpec]:
        return self.specs

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        key_of = {spec.name: key for key, specs in self._variables.items() for spec in specs}
        left = {key: len(specs) for key, specs in self._variables.items()}
        held: list[str] = []
        for name in self._inner.write(self._of_variables(arrays, held)):
            key = key_of[normalise(name)]
            left[key] -= 1
            if not left[key]:
                yield key
        self.run()
        yield from held

    def _of_variables(
        self, arrays: Iterable[tuple[VariableSpec, Any]], held: list[str]
    ) -> Iterator[tuple[VariableSpec, Any]]:
        """The arrays of variables. Those of other objects are kept for :meth:`run`."""
        for spec, array in arrays:
            key = self._keys[normalise(spec.name)]
            if key in self._variables:
                first, *copies = self._variables[key]
                for each in copies:  # one on each device
                    yield each, array.copy()
                pair = first, array
                del array
                yield pair
                del pair
                continue
            held.append(key)
            for read in self._reads[key]:
                is_part = read.region and key not in self._alone
                self._feeds[read.tensor] = array[read.box].copy() if is_part else array

    def run(self) -> None:
        """Run the ops of the objects."""
        now = [t for t in self._chosen if self._is_last or not any(r.is_opaque for r in t.reads)]
        # The session may keep what it is fed as the value of a variable, and change it later.
        self._run(now, {tensor: array.copy() for tensor, array in self._feeds.items()})

    def again(self) -> None:
        """Run the ops again, and forget the arrays."""
        feeds, self._feeds = self._feeds, {}
        self._run(self._chosen, feeds)
        self._chosen = []

    def _run(self, chosen: Sequence[Taker], feeds: Mapping[Any, Any]) -> None:
        if not chosen:
            return
        try:
            self._session.run([taker.op for taker in chosen], {**feeds, **self._files})
        except (RuntimeError, TypeError, ValueError, tf.errors.OpError) as error:
            names = ", ".join(sorted({taker.destination for taker in chosen})[:20])
            raise TargetError(
                f"{self.label}: restoring {names} failed: {reason_of(error)}"
            ) from error


def reason_of(error: Exception) -> str:
    """The line of TensorFlow's message that gives the reason. Others say where the op was made."""
    if not isinstance(error, tf.errors.OpError):
        return str(error)
    text = str(error.message)
    lines = [each.strip() for each in text.splitlines() if each.strip()]
    nodes = [number for number, line in enumerate(lines) if line.startswith("Node: ")]
    if nodes and nodes[0] + 1 < len(lines):
        return lines[nodes[0] + 1]
    lines = [line for line in lines if "[[" not in line]
    return lines[-1] if lines else type(error).__name__


def _variables(
    graph: Any, found: Sequence[Taker], inner: Mapping[str, VariableSpec]
) -> dict[str, list[VariableSpec]]:
    """The global variables that initreg writes itself, by the key under which they are saved.

    A key has several if a variable has copies. A partitioned variable counts as one, if all of its
    parts are saved as such.
    """
    parts: dict[str, dict[str, str]] = defaultdict(dict)  # by variable: the op and region of each
    for variable in graph.get_collection("variables"):
        info = getattr(variable, "_save_slice_info", None)
        parts[variable_name(variable)][variable.op.name] = "" if info is None else info.spec
    owner = {op: name for name, ops in parts.items() for op in ops}
    keys: dict[str, list[Taker]] = defaultdict(list)
    for taker in found:
        for key in {read.key for read in taker.reads}:
            keys[key].append(taker)
    answer: dict[str, list[VariableSpec]] = {}
    for key, given in keys.items():
        ops = {t.variable: t.reads[0].region for t in given if t.variable is not None}
        names = list(dict.fromkeys(owner.get(op, "") for op in ops))
        wanted = {op: region for name in names for op, region in parts.get(name, {}).items()}
        if len(ops) == len(given) and ops == wanted and all(name in inner for name in names):
            answer[key] = [inner[name] for name in names]
    return answer


def _assigned(graph: Any, found: Sequence[Taker]) -> set[str]:
    """The names of the global variables that any of the ops fills, in part or as a whole."""
    filled = {taker.destination for taker in found}
    names = set()
    for variable in graph.get_collection("variables"):
        if variable.op.name in filled:
            names.add(variable_name(variable))
    return names


def _is_part(name: str, prefix: str) -> bool:
    """Whether a file is one of a checkpoint."""
    return name == f"{prefix}.index" or name.startswith(f"{prefix}.data-")


def _keys(path: Path) -> frozenset[str]:
    """The names of everything in a checkpoint, also of what is not an array."""
    try:
        return frozenset(tf.train.load_checkpoint(os.fspath(path)).get_variable_to_dtype_map())
    except (tf.errors.OpError, RuntimeError, ValueError):  # it is in another format
        return frozenset()


def _read_with(read: Read) -> list[str]:
    """The names of all that is read when this one is."""
    return [name.decode() for name in tf.get_static_value(read.tensor.op.inputs[1])]
