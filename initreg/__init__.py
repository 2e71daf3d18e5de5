"""Initialise TensorFlow variables from weights that somebody else saved.

>>> from initreg import SmartInit
>>> SmartInit(["base.npz", overrides]).init(session)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Arrays are read with preadv, which Linux has and macOS from 11 on. Without this line the first
# read would be an AttributeError.
if not hasattr(os, "preadv"):
    raise ImportError(
        "initreg needs a POSIX system with preadv(2): Linux, or macOS 11 or newer. "
        "On Windows, use the Windows Subsystem for Linux (WSL)"
    )

# Where each public name lives. They are imported on first use: `initreg probe`, and a plugin that
# needs no more than `hookimpl` and `Claim`, must not pay for the rest.
_HOME = {
    "SmartInit": "smart_init",
    "open": "chain",
    "load": "chain",
    "dump": "dumping",
    "Dumped": "dumping",
    "dump_session_params": "varmanip",
    "get_all_checkpoints": "varmanip",
    "get_checkpoint_path": "varmanip",
    "load_checkpoint_vars": "varmanip",
    "load_chkpt_vars": "varmanip",
    "save_checkpoint_vars": "varmanip",
    "save_chkpt_vars": "varmanip",
    "save": "saving",
    "convert": "saving",
    "resume": "resuming",
    "save_states": "resuming",
    "ResumePoint": "resuming",
    "RandomStates": "states",
    "verify": "verifying",
    "Verification": "verifying",
    "Verified": "verifying",
    "probe": "registry",
    "Probe": "registry",
    "ArrayMap": "arrays",
    "ArraySpec": "arrays",
    "Extent": "arrays",
    "LazyArray": "arrays",
    "SlicedExtent": "arrays",
    "Hint": "plan",
    "Plan": "plan",
    "Row": "plan",
    "Claim": "claim",
    "Confidence": "claim",
    "OpenOptions": "hookspecs",
    "Output": "output",
    "SaveOptions": "hookspecs",
    "Saved": "saving",
    "hookimpl": "hookspecs",
    "Source": "source",
    "Target": "target",
    "VariableSpec": "target",
    "CastWarning": "errors",
    "AmbiguousSource": "errors",
    "DamagedFile": "errors",
    "DuplicateName": "errors",
    "InitregError": "errors",
    "InitregWarning": "errors",
    "MismatchError": "errors",
    "MismatchWarning": "errors",
    "MissingError": "errors",
    "MissingLibrary": "errors",
    "MissingWarning": "errors",
    "NothingMatched": "errors",
    "PartialRestoreError": "errors",
    "PlanError": "errors",
    "PluginError": "errors",
    "RefusedFile": "errors",
    "ReshapeWarning": "errors",
    "ResumeWarning": "errors",
    "RuleError": "errors",
    "SourceNotFound": "errors",
    "TargetError": "errors",
    "UnknownFormat": "errors",
    "UnknownTarget": "errors",
    "UnmetWarning": "errors",
    "UnreadableFile": "errors",
    "UnusedError": "errors",
    "UnwritableFile": "errors",
    "UnusedWarning": "errors",
}

if TYPE_CHECKING:
    from initreg.arrays import ArrayMap as ArrayMap
    from initreg.arrays import ArraySpec as ArraySpec
    from initreg.arrays import Extent as Extent
    from initreg.arrays import LazyArray as LazyArray
    from initreg.arrays import SlicedExtent as SlicedExtent
    from initreg.chain import load as load
    from initreg.chain import open as open
    from initreg.claim import Claim as Claim
    from initreg.claim import Confidence as Confidence
    from initreg.dumping import Dumped as Dumped
    from initreg.dumping import dump as dump
    from initreg.errors import AmbiguousSource as AmbiguousSource
    from initreg.errors import CastWarning as CastWarning
    from initreg.errors import DamagedFile as DamagedFile
    from initreg.errors import DuplicateName as DuplicateName
    from initreg.errors import InitregError as InitregError
    from initreg.errors import InitregWarning as InitregWarning
    from initreg.errors import MismatchError as MismatchError
    from initreg.errors import MismatchWarning as MismatchWarning
    from initreg.errors import MissingError as MissingError
    from initreg.errors import MissingLibrary as MissingLibrary
    from initreg.errors import MissingWarning as MissingWarning
    from initreg.errors import NothingMatched as NothingMatched
    from initreg.errors import PartialRestoreError as PartialRestoreError
    from initreg.errors import PlanError as PlanError
    from initreg.errors import PluginError as PluginError
    from initreg.errors import RefusedFile as RefusedFile
    from initreg.errors import ReshapeWarning as ReshapeWarning
    from initreg.errors import ResumeWarning as ResumeWarning
    from initreg.errors import RuleError as RuleError
    from initreg.errors import SourceNotFound as SourceNotFound
    from initreg.errors import TargetError as TargetError
    from initreg.errors import UnknownFormat as UnknownFormat
    from initreg.errors import UnknownTarget as UnknownTarget
    from initreg.errors import UnmetWarning as UnmetWarning
    from initreg.errors import UnreadableFile as UnreadableFile
    from initreg.errors import UnusedError as UnusedError
    from initreg.errors import UnusedWarning as UnusedWarning
    from initreg.errors import UnwritableFile as UnwritableFile
    from initreg.hookspecs import OpenOptions as OpenOptions
    from initreg.hookspecs import SaveOptions as SaveOptions
    from initreg.hookspecs import hookimpl as hookimpl
    from initreg.output import Output as Output
    from initreg.plan import Hint as Hint
    from initreg.plan import Plan as Plan
    from initreg.plan import Row as Row
    from initreg.registry import Probe as Probe
    from initreg.registry import probe as probe
    from initreg.resuming import ResumePoint as ResumePoint
    from initreg.resuming import resume as resume
    from initreg.resuming import save_states as save_states
    from initreg.saving import Saved as Saved
    from initreg.saving import convert as convert
    from initreg.saving import save as save
    from initreg.smart_init import SmartInit as SmartInit
    from initreg.source import Source as Source
    from initreg.states import RandomStates as RandomStates
    from initreg.target import Target as Target
    from initreg.target import VariableSpec as VariableSpec
    from initreg.varmanip import dump_session_params as dump_session_params
    from initreg.varmanip import get_all_checkpoints as get_all_checkpoints
    from initreg.varmanip import get_checkpoint_path as get_checkpoint_path
    from initreg.varmanip import load_checkpoint_vars as load_checkpoint_vars
    from initreg.varmanip import load_chkpt_vars as load_chkpt_vars
    from initreg.varmanip import save_checkpoint_vars as save_checkpoint_vars
    from initreg.varmanip import save_chkpt_vars as save_chkpt_vars
    from initreg.verifying import Verification as Verification
    from initreg.verifying import Verified as Verified
    from initreg.verifying import verify as verify

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'initreg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"initreg.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
