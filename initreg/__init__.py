"""Initialise TensorFlow variables from weights that somebody else saved.

>>> from initreg import SmartInit
>>> SmartInit(["base.npz", overrides]).init(session)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from initreg import forking as _forking  # noqa: F401 - what it does is done by its import

__version__ = "0.1.0"

# Arrays are read with preadv, which Linux has and macOS from 11 on. Without this line the first
# read would be an AttributeError.
if not hasattr(os, "preadv"):
    raise ImportError(
        "initreg needs a POSIX system with preadv(2): Linux, or macOS 11 or newer. "
        "On Windows, use the Windows Subsystem for Linux (WSL)"
    )

# The public names and the module that each is in. They are imported on first use: `initreg probe`,
# and a plugin that needs no more than `hookimpl` and `Claim`, must not pay for the rest.
# `make stubs` writes __init__.pyi from this list, for type checkers and editors.
_HOME = {
    # restore, look, save
    "SmartInit": "api.smart_init",
    "open": "api.opening",
    "load": "api.opening",
    "save": "api.saving",
    "convert": "api.saving",
    "dump": "api.dumping",
    "diff": "api.diffing",
    "report": "api.reporting",
    "show": "api.showing",
    "stats": "api.stating",
    "map": "api.mapping",
    "merge": "api.merging",
    "compare_outputs": "api.comparing",
    "rules_text": "api.rule_texts",
    "probe": "plugin.installed",
    "resume": "api.resuming",
    "save_states": "api.sidecars",
    "verify": "api.verifying",
    # what these return and take
    "ArrayMap": "arrays.array_map",
    "LazyArray": "arrays.lazy_array",
    "Plan": "plan.plan",
    "Row": "plan.rows",
    "Way": "plan.rows",
    "Hint": "plan.rows",
    "ArrayDiff": "api.layer_diffs",
    "Diff": "api.diffing",
    "LayerDiff": "api.layer_diffs",
    "Difference": "arrays.differences",
    "Dumped": "api.dumping",
    "ArrayStats": "api.stating",
    "Statistics": "arrays.statistics",
    "Stats": "api.stating",
    "ComparedOutput": "api.comparing",
    "ComparedOutputs": "api.comparing",
    "Merged": "api.merging",
    "MergePart": "merging.plan",
    "MergePlan": "merging.plan",
    "MergeRow": "merging.plan",
    "NonFinite": "merging.inputs",
    "Mapped": "bridge.mapped",
    "MappedVariable": "bridge.lines",
    "OpenQuestion": "bridge.lines",
    "Reading": "bridge.lines",
    "Probe": "plugin.probing",
    "Part": "plugin.target",
    "RandomStates": "api.training_states",
    "HeatMap": "arrays.heat_maps",
    "Report": "api.reporting",
    "ReportedArray": "api.reported",
    "ReportedSource": "api.reported",
    "ResumePoint": "api.resuming",
    "Shown": "api.showing",
    "ShownArray": "api.showing",
    "Verification": "api.verifying",
    "Verified": "api.verifying",
    # for plugin authors
    "hookimpl": "plugin.hookspecs",
    "plugin_manager": "plugin.installed",
    "OpenOptions": "plugin.hookspecs",
    "SaveOptions": "plugin.hookspecs",
    "Claim": "plugin.claim",
    "Confidence": "plugin.claim",
    "Source": "plugin.source",
    "PartSet": "plugin.part_names",
    "part_sets": "plugin.part_names",
    "stand_in": "storage.stand_ins",
    "Target": "plugin.target",
    "PieceSpec": "plugin.target",
    "Inference": "plugin.training_hookspecs",
    "StateFile": "plugin.training_hookspecs",
    "Verb": "plugin.verb_hookspecs",
    "ArraySpec": "specs",
    "Automatic": "specs",
    "Chunk": "specs",
    "ChunkedExtent": "specs",
    "Codec": "specs",
    "Extent": "specs",
    "LayerSpec": "specs",
    "OpaqueExtent": "specs",
    "OptimizerSpec": "state_specs",
    "PartSpec": "specs",
    "Place": "specs",
    "SlicedExtent": "specs",
    "StorePath": "store_paths",
    "StateSpec": "state_specs",
    "VariableSpec": "specs",
    "Output": "storage.output",
    "Saved": "arrays.saved",
    # the names of tensorpack
    "ChainInit": "api.sessinit",
    "DictRestore": "api.sessinit",
    "JustCurrentSession": "api.sessinit",
    "SaverRestore": "api.sessinit",
    "SaverRestoreRelaxed": "api.sessinit",
    "get_model_loader": "api.sessinit",
    "dump_session_params": "varmanip",
    "get_all_checkpoints": "varmanip",
    "get_checkpoint_path": "varmanip",
    "load_checkpoint_vars": "varmanip",
    "load_chkpt_vars": "varmanip",
    "save_checkpoint_vars": "varmanip",
    "save_chkpt_vars": "varmanip",
    # errors
    "AmbiguousNames": "errors",
    "AmbiguousSource": "errors",
    "DamagedFile": "errors",
    "DuplicateName": "errors",
    "InitregError": "errors",
    "LocalOnly": "errors",
    "MergeError": "errors",
    "MismatchError": "errors",
    "MissingError": "errors",
    "MissingLibrary": "errors",
    "NotEnoughMemory": "errors",
    "NothingMatched": "errors",
    "PartialRestoreError": "errors",
    "PlanError": "errors",
    "PluginError": "errors",
    "RefusedFile": "errors",
    "RuleError": "errors",
    "SourceNotFound": "errors",
    "TargetError": "errors",
    "UnknownFormat": "errors",
    "UnknownTarget": "errors",
    "UnreadableFile": "errors",
    "UnusedError": "errors",
    "UnwritableFile": "errors",
    # warnings
    "AxesWarning": "errors",
    "CastWarning": "errors",
    "InitregWarning": "errors",
    "MergeWarning": "errors",
    "MetadataWarning": "errors",
    "MismatchWarning": "errors",
    "MissingWarning": "errors",
    "NamingWarning": "errors",
    "ReshapeWarning": "errors",
    "ResumeWarning": "errors",
    "StateWarning": "errors",
    "UnmetWarning": "errors",
    "UnusedWarning": "errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'initreg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"initreg.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
