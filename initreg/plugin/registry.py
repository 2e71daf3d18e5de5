"""Finds plugins, weighs their claims, opens a source with the winner, saves with the one named."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pluggy

from initreg.arrays.map import ArrayMap
from initreg.errors import (
    AmbiguousSource,
    DamagedFile,
    InitregError,
    MissingLibrary,
    PluginError,
    UnknownFormat,
    UnknownTarget,
)
from initreg.plugin import hookspecs
from initreg.plugin.claim import Claim, Confidence
from initreg.plugin.hookspecs import OpenOptions, SaveOptions
from initreg.plugin.loading import (
    FAULTS,
    HOME,
    PluginRecord,
    brief,
    distribution,
    endings,
    is_installed,
    kinds,
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
    """Who claims a source, and why. ``winner`` is a format's name, None if nobody claims it.

    ``claims`` holds ``(format, claim)``, the surest first; ``declined`` the formats that do not
    claim it; ``failed`` those that raised while claiming, with the reason; ``broken`` the plugins
    that take no part at all; ``tied`` the formats that share the first place. ``hint`` says what
    an unclaimed source looks like.
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

    def to_dict(self) -> dict[str, Any]:
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
        }

    def error(self) -> InitregError | None:
        """The error that opening the source would raise, None if there is a winner."""
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
                f"Choose one: format={self.tied[0]!r}"
            )
        message = f"{self.source}: no installed format claims it"
        if self.hint:
            message += f": {self.hint}"
        for name, reason in self.failed.items():
            message += f". Format {name!r} failed while claiming: {reason}"
        if self.broken:
            names = ", ".join(record.name for record in self.broken)
            message += f". Broken plugins took no part: {names}"
        return UnknownFormat(message + ". 'initreg plugins' lists the formats")


class Registry:
    """The plugins of one process. ``entry_points`` defaults to those installed."""

    def __init__(self, entry_points: Iterable[metadata.EntryPoint] | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        if entry_points is None:
            entry_points = metadata.entry_points(group=GROUP)
        # In name order, and ours first among namesakes, so that install order decides nothing.
        named = [(point, *distribution(point.dist)) for point in entry_points]
        for point, dist, version in sorted(
            named, key=lambda each: (each[0].name, each[1] != HOME, each[0].value)
        ):
            self._load(point, PluginRecord(point.name, dist, version, point.value))

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
        """Add a plugin: a module or object with hooks. A broken one is recorded, not raised."""
        if isinstance(record, str):
            record = PluginRecord(record, "", "", getattr(plugin, "__name__", repr(plugin)))
        self.records.append(record)
        try:
            self._manager.register(plugin, name=record.name)
            hooks = {c.name for c in self._manager.get_hookcallers(plugin) or ()}
            self._reject_unknown(plugin, hooks)
            record.missing = missing(plugin)
            record.kinds = kinds(hooks)
        except FAULTS as error:  # pluggy prints the offending signature
            record.broken = f"breaks the contract: {brief(error)}"
            if self._manager.has_plugin(record.name):
                self._manager.unregister(name=record.name)
        return record

    def _reject_unknown(self, plugin: object, hooks: set[str]) -> None:
        specified = {n for n in vars(hookspecs) if n.startswith("initreg_")}
        for name in hooks - specified:
            raise PluginError(f"there is no hook {name!r}; the hooks are {sorted(specified)}")
        if "initreg_claim" in hooks and "initreg_open" not in hooks:
            raise PluginError("it has initreg_claim, but no initreg_open")
        if "initreg_open" in hooks and "initreg_claim" not in hooks:
            raise PluginError("it has initreg_open, but no initreg_claim")
        if "initreg_save" in hooks and "initreg_open" not in hooks:
            raise PluginError("it has initreg_save, but neither initreg_claim nor initreg_open")
        if "initreg_save" in hooks:
            endings(plugin)
        if not hooks & {"initreg_claim", "initreg_target"}:
            raise PluginError("it implements no hook; is @hookimpl missing?")

    def formats(self) -> list[str]:
        """The names of the formats that work, in order."""
        return [r.name for r in self.records if r.broken is None and "format" in r.kinds]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """In name order: pluggy's own order is the reverse of registration."""
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return sorted(found, key=lambda impl: impl.plugin_name)

    def probe(self, source: Source) -> Probe:
        """Ask every format. Raises UnreadableFile, RefusedFile if the file cannot be looked at,
        SourceNotFound if nobody claims a path that names nothing."""
        _ = source.head, source.names  # so that a plugin never meets an unreadable file
        claims: list[tuple[str, Claim]] = []
        declined: list[str] = []
        failed: dict[str, str] = {}
        for impl in self._implementations("initreg_claim"):
            try:
                claim = _checked(_call(impl, source=source))
                if claim is None:
                    declined.append(impl.plugin_name)
                else:
                    claims.append((impl.plugin_name, claim))
            except PluginError as error:
                failed[impl.plugin_name] = str(error)
            except FAULTS as error:
                failed[impl.plugin_name] = brief(error)
        claims.sort(key=lambda item: (-item[1].confidence, item[0]))
        top = [name for name, claim in claims if claim.confidence == claims[0][1].confidence]
        if not claims and source.path is not None and not source.exists:
            raise source.not_found()
        return Probe(
            source=source.label,
            winner=top[0] if len(top) == 1 else None,
            claims=tuple(claims),
            declined=tuple(declined),
            failed=failed,
            broken=tuple(r for r in self.records if r.broken is not None),
            lacking=tuple(r for r in self.records if r.broken is None and r.missing),
            tied=tuple(top) if len(top) > 1 else (),
            hint=source.looks_like() if not claims else "",
        )

    def open(
        self, source: Source, options: OpenOptions | None = None, format: str | None = None
    ) -> ArrayMap:
        """Open ``source`` with the format that claims it, or with ``format``.

        Raises what :meth:`probe` raises, UnknownFormat, AmbiguousSource, MissingLibrary, and what
        the format says is wrong with the file.
        """
        from initreg.arrays import checking, reader

        options = options or OpenOptions()
        name = self._choose(source, format)
        if source.stand_in():
            raise DamagedFile(f"{source.label}: {source.stand_in()}")
        arrays = self._open_with(name, source, options)
        label = source.label
        try:
            stamps = checking.check(arrays.items(), label, options.max_inflation)
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

    def endings(self) -> dict[str, str]:
        """The endings of the paths that formats save under, each with the format's name. Of two
        formats with one ending, ours, or else the first by name, has it."""
        found: dict[str, str] = {}
        ours = {r.name for r in self.records if r.distribution == HOME}
        impls = self._implementations("initreg_save")
        for impl in sorted(impls, key=lambda impl: impl.plugin_name not in ours):
            for ending in endings(impl.plugin):
                found.setdefault(ending, impl.plugin_name)
        return found

    def save(self, name: str, arrays: Saved, output: Output, options: SaveOptions) -> None:
        """Let the format write. Raises UnknownFormat, MissingLibrary, PluginError, and what the
        format says is wrong with the arrays, or the system with the file (an OSError)."""
        impls = {i.plugin_name: i for i in self._implementations("initreg_save")}
        if name not in impls:
            raise UnknownFormat(f"format {name!r} is not saved; those that are: {', '.join(impls)}")
        self._require(name)
        try:
            _call(impls[name], arrays=arrays, output=output, options=options)
        except (InitregError, OSError, MemoryError):
            raise
        except FAULTS as error:
            raise PluginError(f"format {name!r} could not save: {brief(error)}") from error

    def _require(self, name: str) -> None:
        """Raise MissingLibrary for a format whose libraries are not installed."""
        record = next(r for r in self.records if r.name == name and r.broken is None)
        for library, remedy in record.missing.items():
            if not is_installed(library):
                raise MissingLibrary(f"format {name!r}", library, remedy)

    def _open_with(self, name: str, source: Source, options: OpenOptions) -> Mapping[str, Any]:
        self._require(name)
        impl = next(i for i in self._implementations("initreg_open") if i.plugin_name == name)
        try:
            arrays = _call(impl, source=source, options=options)
        except InitregError:
            raise
        except MemoryError as error:
            raise DamagedFile(f"{source.label}: format {name!r} ran out of memory") from error
        except FAULTS as error:
            if source.path is not None and not source.exists:
                raise source.not_found() from error
            raise DamagedFile(
                f"{source.label}: format {name!r} could not open it: {brief(error)}"
            ) from error
        if not isinstance(arrays, Mapping):
            kind = type(arrays).__name__
            raise PluginError(f"format {name!r}: initreg_open returned a {kind}, not a mapping")
        return arrays

    def target(self, obj: object) -> Target:
        """The target that writes into ``obj``. Raises UnknownTarget, or PluginError if two do.

        A ``Target`` is its own; an open map stands for a model of its names, shapes and dtypes,
        which can only be planned for.
        """
        if isinstance(obj, ArrayMap):
            specs = [VariableSpec(s.name, s.shape, s.dtype, s.aliases) for s in obj.specs()]
            return Blueprint(obj.label, specs)
        found: list[tuple[str, Target]] = []
        failed: dict[str, str] = {}
        for impl in self._implementations("initreg_target"):
            try:
                target = _call(impl, obj=obj)
            except InitregError:
                raise
            except FAULTS as error:
                failed[impl.plugin_name] = brief(error)
                continue
            if target is not None:
                found.append((impl.plugin_name, target))
        if len(found) == 1:
            return found[0][1]
        if not found and _is_target(obj):
            return obj  # type: ignore[return-value]
        kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
        if found:
            names = " and ".join(repr(name) for name, _ in found)
            raise PluginError(f"the targets {names} both want to write into a {kind}")
        reasons = "".join(f". Target {n!r} failed: {why}" for n, why in failed.items())
        raise UnknownTarget(
            f"no installed target writes into a {kind}. Give a TF1 session, tf.Variables, a "
            f"tf.Module, a Keras model or a dict of numpy arrays{reasons}"
        )


def _is_target(obj: object) -> bool:
    try:
        return isinstance(obj, Target)
    except Exception:  # the properties of a stranger's object are run to see whether they are there
        return False


def _checked(claim: Any) -> Claim | None:
    """The claim, if it is one; raises PluginError, for a confidence of any other type cannot be
    weighed against the others."""
    if claim is None:
        return None
    if not isinstance(claim, Claim):
        raise PluginError(f"initreg_claim returned a {type(claim).__name__}, not a Claim")
    if not isinstance(claim.confidence, Confidence) or not isinstance(claim.reason, str):
        raise PluginError(f"initreg_claim returned {claim!r}; give a Confidence and a str")
    return claim


def _call(impl: pluggy.HookImpl, **arguments: Any) -> Any:
    return impl.function(*(arguments[name] for name in impl.argnames))


_lock = threading.Lock()


def default_registry() -> Registry:
    """The registry of the installed plugins, made on first use."""
    with _lock:
        return _default()


@functools.cache
def _default() -> Registry:
    return Registry()


def probe(source: Any) -> Probe:
    """Ask every installed format whether ``source`` is its own; raises as Registry.probe does."""
    return default_registry().probe(Source(source))
