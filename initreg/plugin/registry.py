"""The registry: finds plugins, weighs their claims, opens sources, saves, and finds targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pluggy

from initreg.arrays.array_map import ArrayMap
from initreg.errors import (
    AmbiguousSource,
    DamagedFile,
    InitregError,
    MissingLibrary,
    PluginError,
    UnknownFormat,
    UnknownTarget,
)
from initreg.option_spelling import option
from initreg.plugin import hookspecs, training_hookspecs
from initreg.plugin.calling import FAULTS, Calls, brief
from initreg.plugin.claim import Claim
from initreg.plugin.hookspecs import OpenOptions, SaveOptions
from initreg.plugin.loading import (
    HOME,
    PluginRecord,
    checked_claim,
    checked_kinds,
    checked_target,
    distribution,
    endings,
    is_installed,
    is_target,
    loaded,
    missing,
)
from initreg.plugin.source import Source
from initreg.plugin.target import Blueprint, Target
from initreg.specs import VariableSpec

if TYPE_CHECKING:
    from initreg.arrays.saved import Saved
    from initreg.storage.output import Output

GROUP = "initreg"


@dataclass(frozen=True, slots=True)
class Probe:
    """Which format opens a source, and what every plugin said about it.

    Attributes:
        source: what the source is called in messages.
        winner: the name of the format that opens it, None if no format claims it or two tie.
        claims: pairs of a format's name and its :class:`Claim`, the highest confidence first.
        declined: the formats that do not claim it.
        failed: the plugins that raised while claiming, each with the reason. A wrapper that raised
            is here too. The formats were then asked without it.
        broken: the plugins that take no part at all. ``PluginRecord.broken`` says why.
        lacking: the plugins that need a library that is not installed.
        tied: the formats that share the highest confidence, if there are several.
        hint: what the source looks like, if no format claims it.
        wrappers: the plugins that wrap ``initreg_claim``, and so can change every claim.
    """

    source: str
    winner: str | None
    claims: tuple[tuple[str, Claim], ...]
    declined: tuple[str, ...]
    failed: Mapping[str, str]
    broken: tuple[PluginRecord, ...]
    lacking: tuple[PluginRecord, ...]
    tied: tuple[str, ...] = ()
    hint: str = ""
    wrappers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "source": self.source,
            "winner": self.winner,
            "claims": [
                {"format": name, "confidence": claim.confidence.name, "reason": claim.reason}
                for name, claim in self.claims
            ],
            "tied": list(self.tied),
            "declined": list(self.declined),
            "failed": dict(self.failed),
            "broken": [record.to_dict() for record in self.broken],
            "lacking": [record.to_dict() for record in self.lacking],
            "hint": self.hint,
            "wrappers": list(self.wrappers),
        }

    def error(self) -> InitregError | None:
        """The error that opening the source would raise, or None if there is a winner."""
        if self.winner is not None:
            return None
        if self.tied:
            rivals = "; ".join(
                f"{name!r} ({claim.confidence.name}: {claim.reason})"
                for name, claim in self.claims
                if name in self.tied
            )
            return AmbiguousSource(
                f"{self.source}: {len(self.tied)} formats claim it alike: {rivals}. "
                "Choose one: " + option("format", self.tied[0])
            )
        message = f"{self.source}: no installed format claims it"
        if self.hint:
            message += f": {self.hint}"
        for name, reason in self.failed.items():
            kind = "Wrapper" if name in self.wrappers else "Format"
            message += f". {kind} {name!r} failed while claiming: {reason}"
        if self.broken:
            names = ", ".join(record.name for record in self.broken)
            message += f". Broken plugins took no part: {names}"
        working = [name for name in self.wrappers if name not in self.failed]
        if working:
            message += f". Claims pass through the wrappers {', '.join(working)}"
        return UnknownFormat(message + ". 'initreg plugins' lists the formats")


class Registry:
    """The plugins of one process, and the calls of their hooks.

    Attributes:
        manager: the :class:`pluggy.PluginManager` that makes every call. Use it to monitor or trace
            calls, and to add wrappers. Add formats and targets with :meth:`register`, which checks
            them.
        calls: calls the hooks of one plugin at a time.
        records: a record of every plugin, broken ones included, in the order of names.

    Args:
        entry_points: the plugins to load. The default is all that are installed.
    """

    def __init__(self, entry_points: Iterable[metadata.EntryPoint] | None = None) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.manager.add_hookspecs(training_hookspecs)
        self.records: list[PluginRecord] = []
        self.calls = Calls(self.manager)
        if entry_points is None:
            entry_points = metadata.entry_points(group=GROUP)
        # By name, and ours first among plugins of one name, so that the order of installation
        # decides nothing. pluggy calls last what was registered first, hence from the last name.
        named = sorted(
            ((point, *distribution(point.dist)) for point in entry_points),
            key=lambda each: (each[0].name, each[1] != HOME, each[0].value),
        )
        for _, namesakes in reversed([(k, [*v]) for k, v in groupby(named, lambda e: e[0].name)]):
            for point, dist, version in namesakes:
                self._load(point, PluginRecord(point.name, dist, version, point.value))
        self.records.sort(key=lambda record: record.name)

    def _load(self, point: metadata.EntryPoint, record: PluginRecord) -> None:
        if any(r.name == point.name and r.broken is None for r in self.records):
            record.broken = f"another plugin is called {point.name!r} already"
            self.records.append(record)
            return
        try:
            plugin = loaded(point)
        except FAULTS as error:
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
            record.missing = missing(plugin)
            record.kinds = kinds
        except FAULTS as error:  # pluggy's message has the signature that does not fit
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
        _ = source.head, source.names  # an unreadable file is our error, not each plugin's
        failed: dict[str, str] = {}
        answers = self.calls.ask_each("initreg_claim", failed, checked_claim, source=source)
        claims = [(name, claim) for name, claim in answers.items() if claim is not None]
        claims.sort(key=lambda item: (-item[1].confidence, item[0]))
        top = [name for name, claim in claims if claim.confidence == claims[0][1].confidence]
        if not claims and source.path is not None and not source.exists:
            raise source.not_found()
        return Probe(
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
        name = self._choose(source, format)
        if source.stand_in():
            raise DamagedFile(f"{source.label}: {source.stand_in()}")
        arrays = self._open_with(name, source, options)
        label = source.label
        try:
            stamps = extent_checks.check(arrays.items(), label, options.max_inflation)
            reads = reader.Reader(label, verify=options.verify, mmap=options.mmap, stamps=stamps)
            return ArrayMap(arrays, label=label, format=name, reader=reads)
        except BaseException as error:
            close = getattr(arrays, "close", None)
            if callable(close):
                close()
            if isinstance(error, InitregError) or not isinstance(error, FAULTS):
                raise
            raise DamagedFile(
                f"{label}: format {name!r} could not list its arrays: {brief(error)}"
            ) from error

    def _choose(self, source: Source, format: str | None) -> str:
        if format is None:
            probe = self.probe(source)
            if probe.winner is None:
                error = probe.error()
                assert error is not None
                raise error
            return probe.winner
        _ = source.head
        if source.path is not None and not source.exists:
            self.probe(source)  # raises SourceNotFound, unless it is a prefix
        if format not in self.formats():
            broken = [r.broken for r in self.records if r.name == format and r.broken]
            if broken:
                raise UnknownFormat(f"format {format!r} is installed, but {broken[0]}")
            raise UnknownFormat(
                f"no format is called {format!r}; installed are {', '.join(self.formats())}"
            )
        return format

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
        except FAULTS as error:
            if error is arrays.interrupted:  # by the user's own code
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
        except InitregError:
            raise
        except FAULTS as error:
            label = source.label
            wrapper = self.calls.guilty_wrapper("initreg_open", name, error)
            if wrapper:
                message = f"{label}: wrapper {wrapper!r} of initreg_open failed: {brief(error)}"
                raise PluginError(message) from error
            if isinstance(error, MemoryError):
                raise DamagedFile(f"{label}: format {name!r} ran out of memory") from error
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
            f"no installed target writes into a {kind}. Give a TF1 session, tf.Variables, a "
            f"tf.Module, a Keras model or a dict of numpy arrays{reasons}"
        )
