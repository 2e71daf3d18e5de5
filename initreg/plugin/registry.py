"""The registry: finds plugins, weighs their claims, opens sources, saves, and finds targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pluggy

from initreg.arrays.array_map import ArrayMap, close_source, listed
from initreg.errors import (
    DamagedFile,
    InitregError,
    LocalOnly,
    MissingLibrary,
    NotEnoughMemory,
    PluginError,
    UnknownFormat,
    UnknownTarget,
    brief,
    is_fault,
)
from initreg.option_spelling import said
from initreg.plugin import hookspecs, parts, training_hookspecs, verb_hookspecs
from initreg.plugin.calling import Calls, Manager
from initreg.plugin.entry_points import Point, entry_points, point_of
from initreg.plugin.hookspecs import OpenOptions, SaveOptions
from initreg.plugin.loading import (
    HOME,
    PluginRecord,
    check_parameter_files,
    checked_claim,
    checked_kinds,
    checked_target,
    endings,
    is_installed,
    is_target,
    keeps_metadata,
    loaded,
    missing,
)
from initreg.plugin.probing import Probe
from initreg.plugin.source import Source
from initreg.plugin.target import Blueprint, Target
from initreg.records import replace
from initreg.specs import VariableSpec

if TYPE_CHECKING:
    from importlib import metadata

    from initreg.arrays.saved import Saved
    from initreg.storage.output import Output

GROUP = "initreg"


class Registry:
    """The plugins of one process, and the calls of their hooks.

    Attributes:
        manager: the :class:`pluggy.PluginManager` that makes every call. Use it to monitor or trace
            calls, and to add wrappers. Add formats and targets with :meth:`register`, which checks
            them.
        calls: calls the hooks of one plugin at a time.
        records: a record of every plugin, broken ones included, in the order of names.

    Args:
        points: the entry points of the plugins to load. The default is all that are installed.
    """

    def __init__(self, points: Iterable[metadata.EntryPoint] | None = None) -> None:
        self.manager: pluggy.PluginManager = Manager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.manager.add_hookspecs(training_hookspecs)
        self.manager.add_hookspecs(verb_hookspecs)
        self.records: list[PluginRecord] = []
        self.calls = Calls(self.manager)
        found = entry_points(GROUP) if points is None else [point_of(each) for each in points]
        # By name, and ours first among plugins of one name, so that the order of installation
        # decides nothing. pluggy calls last what was registered first, hence from the last name.
        found.sort(key=lambda each: (each.name, each.distribution != HOME, each.value))
        for _, namesakes in reversed([(k, [*v]) for k, v in groupby(found, lambda e: e.name)]):
            for point in namesakes:
                self._load(point)
        self.records.sort(key=lambda record: record.name)

    def _load(self, point: Point) -> None:
        record = PluginRecord(point.name, point.distribution, point.version, point.value)
        if any(r.name == point.name and r.broken is None for r in self.records):
            record.broken = f"another plugin is called {point.name!r} already"
            self.records.append(record)
            return
        try:
            plugin = loaded(point)
        except BaseException as error:
            if not is_fault(error):
                raise
            record.broken = f"cannot be imported: {brief(error)}"
            self.records.append(record)
            return
        self.register(plugin, record)

    def register(self, plugin: object, record: PluginRecord | str) -> PluginRecord:
        """Add a plugin: a module, or another object, with hooks.

        It takes part in every call from now on, before those that are registered already. A plugin
        that breaks the contract is not added. Its record says why, and nothing is raised.

        Args:
            plugin: the module or object.
            record: the name of the plugin, or a record that has it.
        """
        if isinstance(record, str):
            record = PluginRecord(record, "", "", getattr(plugin, "__name__", repr(plugin)))
        try:
            try:
                hash(plugin)
            except TypeError as error:
                raise PluginError(f"a plugin must be hashable, as modules are: {error}") from None
            self.manager.register(plugin, name=record.name)
            impls = {
                caller.name: [i for i in caller.get_hookimpls() if i.plugin is plugin]
                for caller in self.manager.get_hookcallers(plugin) or ()
            }
            kinds = checked_kinds(plugin, impls)
            check_parameter_files(plugin)
            record.missing = missing(plugin)
            record.kinds = kinds
        except BaseException as error:
            if not is_fault(error):
                raise
            # pluggy's message has the signature that does not fit.
            record.broken = f"breaks the contract: {brief(error)}"
            if self.manager.get_plugin(record.name) is plugin:
                self.manager.unregister(name=record.name)
        self.records.append(record)
        return record

    def formats(self) -> list[str]:
        """The names of the formats that work, in order."""
        return [r.name for r in self.records if r.broken is None and "format" in r.kinds]

    def probe(self, source: Source) -> Probe:
        """Ask every format whether it claims ``source``.

        Raises:
            UnreadableFile, RefusedFile: the file cannot be looked at.
            SourceNotFound: no format claims a path that does not exist.
        """
        return self._probed(source)[0]

    def _probed(self, source: Source) -> tuple[Probe, Source]:
        """What :meth:`probe` returns, and the source that the winner is to open."""
        _ = source.head, source.names  # an unreadable file is our error, not each plugin's
        failed: dict[str, str] = {}
        answers = self.calls.ask_each("initreg_claim", failed, checked_claim, source=source)
        claims = [(name, claim) for name, claim in answers.items() if claim is not None]
        claims.sort(key=lambda item: (-item[1].confidence, item[0]))
        top = [name for name, claim in claims if claim.confidence == claims[0][1].confidence]
        if not claims and (first := parts.entry(source)) is not None:
            probe, first = self._probed(first)
            return replace(probe, source=source.label), first
        if not claims and source.path is not None and not source.exists:
            raise source.not_found()
        probe = Probe(
            source=source.label,
            winner=top[0] if len(top) == 1 else None,
            claims=tuple(claims),
            declined=tuple(name for name, claim in answers.items() if claim is None),
            failed=dict(sorted(failed.items())),
            broken=tuple(r for r in self.records if r.broken is not None),
            lacking=tuple(r for r in self.records if r.broken is None and r.missing),
            tied=tuple(top) if len(top) > 1 else (),
            hint=source.looks_like() if not claims else "",
            wrappers=tuple(self.calls.wrappers("initreg_claim")),
        )
        return probe, source

    def open(
        self, source: Source, options: OpenOptions | None = None, format: str | None = None
    ) -> ArrayMap:
        """Open ``source`` with the format that claims it, or with the one called ``format``.

        Raises:
            UnknownFormat: no format claims it, or none is called ``format``.
            AmbiguousSource: two formats claim it with the same confidence.
            MissingLibrary: the format needs a library that is not installed.
            PluginError: the format breaks the contract, or a wrapper failed.
            InitregError: what :meth:`probe` raises, and what the format says about the file.
        """
        from initreg.arrays import extent_checks, reader

        options = options or OpenOptions()
        label = source.label
        if options.mmap and source.path is not None and not source.is_local:
            raise LocalOnly(
                f"{label}: only a local file can be mapped into memory (mmap). Leave that option "
                "out, or download the file"
            )
        name, source = self._chosen(source, format)
        if what := source.stand_in():
            raise DamagedFile(f"{label}: {what}")
        arrays = self._open_parts(name, source, options)
        if source.path is None and isinstance(own := getattr(arrays, "label", None), str):
            label = own
        try:
            _refuse_stand_ins(source, label)
            stamps = extent_checks.check(
                listed(arrays), label, options.max_inflation, source.stamps()
            )
            reads = reader.Reader(label, verify=options.verify, mmap=options.mmap, stamps=stamps)
            return ArrayMap(arrays, label=label, format=name, reader=reads)
        except BaseException as error:
            close_source(arrays, label, name)
            if isinstance(error, PluginError):
                raise PluginError(f"{label}: format {name!r}: {said(error)}") from error
            if isinstance(error, InitregError) or not is_fault(error):
                raise
            raise DamagedFile(
                f"{label}: format {name!r} could not list its arrays: {brief(error)}"
            ) from error

    def choose(self, source: Source, format: str | None = None) -> str:
        """The name of the format that opens ``source``: the one that claims it, or ``format``.

        Raises:
            UnknownFormat, AmbiguousSource: as :meth:`open` does. The source is not opened.
            InitregError: what :meth:`probe` raises.
        """
        return self._chosen(source, format)[0]

    def _chosen(self, source: Source, format: str | None) -> tuple[str, Source]:
        """What :meth:`choose` returns, and what that format is to open: for a folder or a pattern
        that no format opens itself, the first of the parts that it means."""
        if format is None:
            probe, source = self._probed(source)
            if probe.winner is None:
                error = probe.error()
                assert error is not None
                raise error
            return probe.winner, source
        _ = source.head
        if source.path is not None and not source.exists:
            source = self._probed(source)[1]  # raises SourceNotFound, unless it is a prefix
        elif source.is_dir and not self._finds_parts(format):
            source = parts.entry(source) or source
        if format not in self.formats():
            broken = [r.broken for r in self.records if r.name == format and r.broken]
            if broken:
                raise UnknownFormat(f"format {format!r} is installed, but {broken[0]}")
            raise UnknownFormat(
                f"no format is called {format!r}; installed are {', '.join(self.formats())}"
            )
        return format, source

    def _finds_parts(self, name: str) -> bool:
        """Whether the format itself finds the other parts of a set."""
        return getattr(self.manager.get_plugin(name), "initreg_finds_parts", False) is True

    def _open_parts(self, name: str, source: Source, options: OpenOptions) -> Mapping[str, Any]:
        """Open a source, or all parts of the set that it is one part of."""
        try:
            found = () if self._finds_parts(name) else source.set_of_parts()
            if not found:
                return self._open_with(name, source, options)
            return parts.open_all(found, lambda part: self._open_with(name, part, options))
        except InitregError:
            _refuse_stand_ins(source, source.label)  # a better reason than what came of it
            raise

    def savers(self) -> list[str]:
        """The names of the formats that can be saved, in order."""
        return sorted(self.calls.callers("initreg_save"))

    def endings(self) -> dict[str, str]:
        """The file extensions that formats save under, each with the format's name. If two formats
        have the same one, the built-in format gets it, or else the first by name."""
        found: dict[str, str] = {}
        ours = {r.name for r in self.records if r.distribution == HOME}
        impls = self.calls.implementations("initreg_save")
        for impl in sorted(impls, key=lambda i: (i.plugin_name not in ours, i.plugin_name)):
            for ending in endings(impl.plugin):
                found.setdefault(ending, impl.plugin_name)
        return found

    def keeping_metadata(self) -> list[str]:
        """The names of the formats that save metadata, in order."""
        impls = self.calls.implementations("initreg_save")
        return sorted(each.plugin_name for each in impls if keeps_metadata(each.plugin))

    def save(self, name: str, arrays: Saved, output: Output, options: SaveOptions) -> None:
        """Let format ``name`` write ``arrays``.

        Raises:
            UnknownFormat: no format of that name can be saved.
            MissingLibrary: the format needs a library that is not installed.
            PluginError: the format, or a wrapper, failed.
            InitregError: what the format says about the arrays.
            OSError: what the system says about the file.
        """
        callers = self.calls.callers("initreg_save")
        if name not in callers:
            known = ", ".join(self.savers())
            raise UnknownFormat(f"format {name!r} is not saved; those that are: {known}")
        self._require(name)
        try:
            callers[name](arrays=arrays, output=output, options=options)
            if not output.files:
                message = f"format {name!r} wrote no file. Write to output.file(), and nowhere else"
                raise PluginError(message + self._through("initreg_save"))
        except (InitregError, OSError, MemoryError):
            raise
        except BaseException as error:
            from initreg.storage.rehearsal import Enough

            is_users = error is arrays.interrupted or not is_fault(error)
            if is_users or isinstance(error, Enough):
                raise
            wrapper = self.calls.guilty_wrapper("initreg_save", name, error)
            who = f"wrapper {wrapper!r}" if wrapper else f"format {name!r}"
            raise PluginError(f"{who} could not save: {brief(error)}") from error

    def _require(self, name: str) -> None:
        """Raise MissingLibrary for a format whose libraries are not installed."""
        for record in self.records:
            for library, remedy in record.missing.items():
                if record.name == name and not is_installed(library):
                    raise MissingLibrary(f"format {name!r}", library, remedy)

    def _open_with(self, name: str, source: Source, options: OpenOptions) -> Mapping[str, Any]:
        self._require(name)
        try:
            arrays = self.calls.callers("initreg_open")[name](source=source, options=options)
        except PluginError as error:
            raise PluginError(f"{source.label}: format {name!r}: {said(error)}") from error
        except InitregError:
            raise
        except BaseException as error:
            if not is_fault(error):
                raise
            label = source.label
            wrapper = self.calls.guilty_wrapper("initreg_open", name, error)
            if wrapper:
                message = f"{label}: wrapper {wrapper!r} of initreg_open failed: {brief(error)}"
                raise PluginError(message) from error
            if isinstance(error, MemoryError):
                raise NotEnoughMemory.of(f"{label}: format {name!r}") from error
            if source.path is not None and not source.exists:
                raise source.not_found() from error
            message = f"{label}: format {name!r} could not open it: {brief(error)}"
            raise DamagedFile(message) from error
        if not isinstance(arrays, Mapping):
            kind = type(arrays).__name__
            message = f"format {name!r}: initreg_open returned a {kind}, not a mapping"
            raise PluginError(message + self._through("initreg_open"))
        return arrays

    def _through(self, hook: str) -> str:
        """What an error adds if wrappers may be to blame: one may swallow a result or an error."""
        names = ", ".join(self.calls.wrappers(hook))
        return f". The call has passed through the wrappers {names}" if names else ""

    def target(self, obj: object) -> Target:
        """The target that writes into ``obj``.

        An object that is a ``Target`` already is returned as it is. An open ``ArrayMap`` becomes a
        target with its names, shapes and dtypes that can be planned for, but not written.

        Raises:
            UnknownTarget: no target writes into such an object.
            PluginError: two targets do.
        """
        if isinstance(obj, ArrayMap):
            specs = [VariableSpec(s.name, s.shape, s.dtype, s.aliases) for s in obj.specs()]
            return Blueprint(obj.label, specs)
        failed: dict[str, str] = {}
        answers = self.calls.ask_each(
            "initreg_target", failed, checked_target, (InitregError,), obj=obj
        )
        found = [(name, target) for name, target in answers.items() if target is not None]
        if len(found) == 1:
            target: Target = found[0][1]
            return target
        if not found and is_target(obj):
            return obj  # type: ignore[return-value]
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        if found:
            names = " and ".join(repr(name) for name, _ in found)
            raise PluginError(
                f"{len(found)} targets accept a {kind}: {names}{self._through('initreg_target')}"
            )
        wrappers = self.calls.wrappers("initreg_target")
        reasons = "".join(
            f". {'Wrapper' if name in wrappers else 'Target'} {name!r} failed: {why}"
            for name, why in sorted(failed.items())
        )
        raise UnknownTarget(
            f"no installed target writes into a {kind}. Give {self._takes()}{reasons}"
        )

    def _takes(self) -> str:
        """What the targets say that they write into."""
        found: list[str] = []
        for record in self.records:
            if record.broken is None and "target" in record.kinds:
                takes = getattr(self.manager.get_plugin(record.name), "initreg_takes", ())
                words = [takes] if isinstance(takes, str) else takes
                found += [each for each in words if isinstance(each, str)] or [
                    f"what {record.name!r} takes"
                ]
        *others, last = found or ["what an installed target takes"]
        return f"{', '.join(others)} or {last}" if others else last


def _refuse_stand_ins(source: Source, label: str) -> None:
    """Raise DamagedFile if a further file of the source is what a failed download left."""
    for each in source.further:
        if each.is_file and (what := each.stand_in()):
            raise DamagedFile(f"{label}: its file {each.label} is {what}")
