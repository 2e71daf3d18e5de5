"""Publish a model: write the variables of a checkpoint that belong to the model itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from initreg.api.opening_options import ReadingOptions, opening_of, spelt_out
from initreg.api.saving import convert
from initreg.arrays.array_map import ArrayMap, RuledMap
from initreg.arrays.saved import Progress
from initreg.errors import InitregError, MismatchError, MissingError, UnreadableFile
from initreg.option_spelling import either, join, option
from initreg.plugin.installed import default_registry
from initreg.plugin.source import Source
from initreg.plugin.training import inference, parameter_files
from initreg.rules.keywords import Rules
from initreg.rules.rule import Outcome
from initreg.specs import ArraySpec
from initreg.storage.locating import is_remote, locate, takes_options
from initreg.storage.paths import is_file, modified_at, names_in, which_are_there
from initreg.store_paths import FilePath, StorePath
from initreg.text.limits import checked_limit
from initreg.text.wording import code_text, names_text, plural, shape_text

if TYPE_CHECKING:
    from zipfile import Path as ZipPath


@dataclass(frozen=True, slots=True)
class Dumped:
    """What :func:`dump` wrote.

    Args:
        path: the path to open the result with.
        kept: the arrays in it.
        dropped: the names of the arrays that were left out, each with the reason.
        meta: the metagraph that says which arrays belong to the model, or None if there was none.
    """

    path: Path
    kept: tuple[ArraySpec, ...]
    dropped: Mapping[str, str]
    meta: FilePath | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings."""
        return {
            "path": str(self.path),
            "meta": None if self.meta is None else str(self.meta),
            "kept": [
                {
                    "name": spec.name,
                    "shape": list(spec.shape),
                    "dtype": spec.dtype,
                    "origin": spec.origin,
                }
                for spec in self.kept
            ],
            "dropped": [{"name": name, "reason": why} for name, why in self.dropped.items()],
        }

    def to_text(self, limit: int | None = 20) -> str:
        """What was kept and what was dropped, each in at most ``limit`` folded lines, None for all.

        Raises:
            RuleError: the limit is not a number of lines.
        """
        limit = checked_limit(limit)
        what = [(spec.name, _note(spec)) for spec in self.kept]
        lines = [f"  {len(self.kept):,} kept"]
        lines += ["    " + line for line in names_text(what, limit, more=_MORE)]
        if self.dropped:
            lines.append(f"  {len(self.dropped):,} dropped")
            lines += ["    " + line for line in names_text(self.dropped.items(), limit, more=_MORE)]
        return join("\n", lines)


def _note(spec: ArraySpec) -> str:
    note = f"{shape_text(spec.shape)} {spec.dtype}"
    return note if spec.name == spec.origin else f"{note}, under another name"


_MORE = either("they are in .kept and .dropped", "--all shows them all")


@spelt_out(ReadingOptions)
def dump(
    checkpoint: Any,
    out: str | os.PathLike[str] | BinaryIO | ZipPath,
    *,
    meta: str | os.PathLike[str] | None = None,
    inference: bool = False,
    to: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | bool | None = None,
    output_storage_options: Mapping[str, Any] | None = None,
    **options: Unpack[ReadingOptions],
) -> Dumped:
    """Write the model of a checkpoint, without the variables that only training needs.

    Args:
        checkpoint: any source that :func:`initreg.open` takes. If it is a folder, the newest
            checkpoint in it is used.
        out: where to write, as for :func:`initreg.save`: a path, a URL or an open file.
        meta: the path or the URL of the metagraph whose TRAINABLE and MODEL variables are the
            model. If ``checkpoint`` is a folder, the default is the newest ``*.meta`` in it.
        inference: work without a metagraph. Optimiser slots and the bookkeeping of training are
            recognised from the checkpoint itself and dropped. Everything else is kept, averages of
            weights too. A variable that is only a number in a list of an object-based checkpoint
            gets the name that its program had for it.
        to: as for :func:`initreg.convert`.
        compress: as for :func:`initreg.save`.
        shard_size: as for :func:`initreg.save`.
        manifest: as for :func:`initreg.save`.
        metadata: as for :func:`initreg.save`.
        progress: as for :func:`initreg.save`.
        output_storage_options: if ``out`` is a URL: what fsspec's file system is made with.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native`` and
            ``max_inflation``, as for :class:`initreg.SmartInit`. They are about the checkpoint.

    Returns:
        A :class:`Dumped`: the path, what was kept, and what was dropped and why.

    Raises:
        MissingError: the checkpoint lacks a parameter of the metagraph. Nothing is written.
        MismatchError: a parameter has another shape than in the metagraph. Nothing is written.
        InitregError: what :func:`initreg.open` and :func:`initreg.save` raise, or it is not known
            which arrays belong to the model. Nothing is written.

    >>> initreg.dump("train_log/run", "model.npz")  # doctest: +SKIP
    """
    opening = opening_of(options, "dump")
    if inference and meta is not None:
        raise InitregError(
            "meta= names the metagraph, and inference=True works without one. Pass one of them"
        )
    options_of = options.get("storage_options")
    graph = None if meta is None else _path_of(meta, options_of)
    if graph is None and not inference:
        graph = _newest_metagraph(checkpoint, options_of)
    with ExitStack() as stack:
        opened = checkpoint
        if not isinstance(checkpoint, ArrayMap):
            opened = stack.enter_context(opening.open(checkpoint))
        if graph is not None:
            kept, dropped = _by_metagraph(opened, graph)
        else:
            kept, dropped = _by_plugins(opened)
        if not kept:
            raise InitregError(
                f"{opened.label}: nothing would be left. All arrays ({len(opened):,}) belong to "
                f"the training{'' if graph is None else f', according to {graph}'}"
            )
        chosen = RuledMap(opened, Rules([_Chosen(kept)]))
        path = convert(
            chosen,
            out,
            to=to,
            compress=compress,
            shard_size=shard_size,
            manifest=manifest,
            metadata=metadata,
            progress=progress,
            output_storage_options=output_storage_options,
        )
        return Dumped(path, tuple(chosen.specs()), dropped, graph)


class _Chosen:
    """The rule that keeps these arrays, and gives them these names."""

    clauses: Sequence[str] = ()

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def apply(self, outcome: Outcome) -> None:
        kept = []
        for entry in outcome.entries:
            spec = entry.spec
            name = self._names.get(spec.name)
            if name is None:
                outcome.dropped.append(spec)
            else:
                named = ArraySpec(name, spec.shape, spec.dtype, (), spec.origin, spec.changes)
                kept.append(replace(entry, spec=named))
        outcome.entries = kept


def _by_plugins(opened: ArrayMap) -> tuple[dict[str, str], dict[str, str]]:
    """The same as :func:`_by_metagraph`, from what plugins know about optimisers and training."""
    found = inference(default_registry(), opened.specs())
    kept = {name: found.renamed.get(name, name) for name in opened if name not in found.dropped}
    for new, count in Counter(kept.values()).items():
        if count > 1:  # by two plugins, or by one that does not check
            names = ", ".join(repr(old) for old, name in kept.items() if name == new)
            raise InitregError(f"{opened.label}: {names} would all be published as {new!r}")
    return kept, dict(found.dropped)


def _by_metagraph(opened: ArrayMap, path: FilePath) -> tuple[dict[str, str], dict[str, str]]:
    """The arrays that are kept, each with its name in the graph, and those that are not.

    In an object-based checkpoint that was saved from a graph, the names of the graph are aliases.
    """
    parameters, shapes = _parameters(path)
    by_alias: dict[str, list[str]] = {}
    for spec in opened.specs():
        for alias in spec.aliases:
            by_alias.setdefault(alias, []).append(spec.name)
    kept: dict[str, str] = {}
    missing = []
    for name in parameters:
        found = [name] if name in opened else by_alias.get(name, [])
        if len(found) == 1 and found[0] not in kept:
            kept[found[0]] = name
        else:
            missing.append(name)
    if missing:
        lines = "".join(f"\n  {line}" for line in names_text([(n, "") for n in missing], None))
        raise MissingError(
            f"{opened.label}: lacks {plural(len(missing), 'parameter')} of {path}, and nothing was "
            f"written:{lines}\nIs it the metagraph of this checkpoint?"
        )
    wrong = [
        (name, f"shape {shape_text(opened[origin].shape)}, in the graph {shape_text(shapes[name])}")
        for origin, name in kept.items()
        if name in shapes and opened[origin].shape != shapes[name]
    ]
    if wrong:
        lines = "".join(f"\n  {line}" for line in names_text(wrong, None, gap=": "))
        raise MismatchError(
            f"{opened.label}: {plural(len(wrong), 'parameter')} with another shape than in {path}, "
            f"and nothing was written:{lines}\nIs it the metagraph of this checkpoint?"
        )
    others = {n: "neither TRAINABLE nor MODEL in the graph" for n in opened if n not in kept}
    return kept, others


def _parameters(path: FilePath) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """The names of the parameters in a metagraph, and the shapes of its variables.

    A checkpoint may have the name of the metagraph, so that its format claims the metagraph as one
    of its files. Each format that claims it is therefore asked, until one knows the parameters.
    """
    registry = default_registry()
    source = Source(path)
    probe = registry.probe(source)
    failure = probe.error() if not probe.claims else None
    for name, _ in probe.claims:
        try:
            with registry.open(source, format=name) as described:
                if described.parameters is not None:
                    shapes = {spec.name: spec.shape for spec in described.specs()}
                    return described.parameters, shapes
        except InitregError as error:
            failure = error
    if failure is not None:
        raise failure
    raise InitregError(
        f"{path}: does not say which variables belong to the model. It is not a metagraph, or it "
        "lacks the collections TRAINABLE_VARIABLES and MODEL_VARIABLES. Without a metagraph, pass "
        + option("inference", True)
    )


def _path_of(path: Any, storage_options: Mapping[str, Any] | None) -> FilePath:
    """A path on the disk as it is given, or the path in a store that a URL means."""
    if not is_remote(path):
        return Path(os.path.expanduser(os.fspath(path)))
    found = locate(path, storage_options if takes_options(path) else None)
    assert found is not None
    return found.path


def _is_folder(path: FilePath) -> bool:
    # Path.is_dir raises OSError for a name that is too long.
    return os.path.isdir(path) if isinstance(path, Path) else path.is_dir()


def _newest_metagraph(checkpoint: Any, storage_options: Mapping[str, Any] | None) -> FilePath:
    """The newest metagraph in a folder.

    Raises:
        InitregError: there is none, or ``checkpoint`` is not a folder.
    """
    is_path = isinstance(checkpoint, (str, os.PathLike)) or is_remote(checkpoint)
    path = _path_of(checkpoint, storage_options) if is_path else None
    folder = path if path is not None and _is_folder(path) else path.parent if path else None
    endings = parameter_files(default_registry())
    there = _files_with(endings, folder) if folder is not None else []
    label = checkpoint.label if isinstance(checkpoint, ArrayMap) else None
    if label is None:
        label = Source(checkpoint if path is None else path).label
    if there and folder == path:
        return there[-1]
    if path is not None and (error := default_registry().probe(Source(path)).error()) is not None:
        raise error
    example = "graph.meta"
    if there and path is not None:
        beside = [path.with_name(path.name + ending) for ending in endings]
        example = str(next((file for file in beside if file in there), there[-1]))
    raise InitregError(
        f"{label}: it is not known which arrays belong to the model. Pass the metagraph that was "
        "written with the checkpoint, "
        + option("meta", example, f"meta={code_text(example)}")
        + ", or pass "
        + option("inference", True)
        + " to drop the arrays that the checkpoint itself shows to belong to the optimiser and the "
        "training"
    )


def _files_with(endings: tuple[str, ...], folder: FilePath) -> list[FilePath]:
    """The files of a folder with one of these endings, the newest last."""
    if isinstance(folder, StorePath):
        names = [name for name in names_in(folder) or () if name.endswith(endings)]
        which_are_there(folder, names)  # looks all of them up at once
        listed = [(modified_at(folder / name), name) for name in names if is_file(folder / name)]
        return [folder / name for _, name in sorted(listed)]
    try:
        with os.scandir(folder) as entries:
            found = [
                (entry.stat().st_mtime_ns, entry.name)
                for entry in entries
                if entry.name.endswith(endings) and entry.is_file()
            ]
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the path
        return []
    except OSError as error:
        raise UnreadableFile(f"{folder}: cannot be listed: {error.strerror}") from error
    return [folder / name for _, name in sorted(found)]
