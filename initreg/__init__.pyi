"""Generated from __init__.py by `make stubs`; do not edit."""

from initreg.api.comparing import ComparedOutput as ComparedOutput
from initreg.api.comparing import ComparedOutputs as ComparedOutputs
from initreg.api.comparing import compare_outputs as compare_outputs
from initreg.api.diffing import Diff as Diff
from initreg.api.diffing import diff as diff
from initreg.api.dumping import Dumped as Dumped
from initreg.api.dumping import dump as dump
from initreg.api.layer_diffs import ArrayDiff as ArrayDiff
from initreg.api.layer_diffs import LayerDiff as LayerDiff
from initreg.api.mapping import map as map
from initreg.api.merging import Merged as Merged
from initreg.api.merging import merge as merge
from initreg.api.opening import load as load
from initreg.api.opening import open as open
from initreg.api.reported import ReportedArray as ReportedArray
from initreg.api.reported import ReportedSource as ReportedSource
from initreg.api.reporting import Report as Report
from initreg.api.reporting import report as report
from initreg.api.resuming import ResumePoint as ResumePoint
from initreg.api.resuming import resume as resume
from initreg.api.rule_texts import rules_text as rules_text
from initreg.api.saving import convert as convert
from initreg.api.saving import save as save
from initreg.api.sessinit import ChainInit as ChainInit
from initreg.api.sessinit import DictRestore as DictRestore
from initreg.api.sessinit import JustCurrentSession as JustCurrentSession
from initreg.api.sessinit import SaverRestore as SaverRestore
from initreg.api.sessinit import SaverRestoreRelaxed as SaverRestoreRelaxed
from initreg.api.sessinit import get_model_loader as get_model_loader
from initreg.api.showing import Shown as Shown
from initreg.api.showing import ShownArray as ShownArray
from initreg.api.showing import show as show
from initreg.api.sidecars import save_states as save_states
from initreg.api.smart_init import SmartInit as SmartInit
from initreg.api.stating import ArrayStats as ArrayStats
from initreg.api.stating import Stats as Stats
from initreg.api.stating import stats as stats
from initreg.api.training_states import RandomStates as RandomStates
from initreg.api.verifying import Verification as Verification
from initreg.api.verifying import Verified as Verified
from initreg.api.verifying import verify as verify
from initreg.arrays.array_map import ArrayMap as ArrayMap
from initreg.arrays.differences import Difference as Difference
from initreg.arrays.heat_maps import HeatMap as HeatMap
from initreg.arrays.lazy_array import LazyArray as LazyArray
from initreg.arrays.saved import Saved as Saved
from initreg.arrays.statistics import Statistics as Statistics
from initreg.bridge.lines import MappedVariable as MappedVariable
from initreg.bridge.lines import OpenQuestion as OpenQuestion
from initreg.bridge.lines import Reading as Reading
from initreg.bridge.mapped import Mapped as Mapped
from initreg.errors import AmbiguousNames as AmbiguousNames
from initreg.errors import AmbiguousSource as AmbiguousSource
from initreg.errors import AxesWarning as AxesWarning
from initreg.errors import CastWarning as CastWarning
from initreg.errors import DamagedFile as DamagedFile
from initreg.errors import DuplicateName as DuplicateName
from initreg.errors import InitregError as InitregError
from initreg.errors import InitregWarning as InitregWarning
from initreg.errors import LocalOnly as LocalOnly
from initreg.errors import MergeError as MergeError
from initreg.errors import MergeWarning as MergeWarning
from initreg.errors import MetadataWarning as MetadataWarning
from initreg.errors import MismatchError as MismatchError
from initreg.errors import MismatchWarning as MismatchWarning
from initreg.errors import MissingError as MissingError
from initreg.errors import MissingLibrary as MissingLibrary
from initreg.errors import MissingWarning as MissingWarning
from initreg.errors import NamingWarning as NamingWarning
from initreg.errors import NotEnoughMemory as NotEnoughMemory
from initreg.errors import NothingMatched as NothingMatched
from initreg.errors import PartialRestoreError as PartialRestoreError
from initreg.errors import PlanError as PlanError
from initreg.errors import PluginError as PluginError
from initreg.errors import RefusedFile as RefusedFile
from initreg.errors import ReshapeWarning as ReshapeWarning
from initreg.errors import ResumeWarning as ResumeWarning
from initreg.errors import RuleError as RuleError
from initreg.errors import SourceNotFound as SourceNotFound
from initreg.errors import StateWarning as StateWarning
from initreg.errors import TargetError as TargetError
from initreg.errors import UnknownFormat as UnknownFormat
from initreg.errors import UnknownTarget as UnknownTarget
from initreg.errors import UnmetWarning as UnmetWarning
from initreg.errors import UnreadableFile as UnreadableFile
from initreg.errors import UnusedError as UnusedError
from initreg.errors import UnusedWarning as UnusedWarning
from initreg.errors import UnwritableFile as UnwritableFile
from initreg.merging.inputs import NonFinite as NonFinite
from initreg.merging.plan import MergePart as MergePart
from initreg.merging.plan import MergePlan as MergePlan
from initreg.merging.plan import MergeRow as MergeRow
from initreg.plan.plan import Plan as Plan
from initreg.plan.rows import Hint as Hint
from initreg.plan.rows import Row as Row
from initreg.plan.rows import Way as Way
from initreg.plugin.claim import Claim as Claim
from initreg.plugin.claim import Confidence as Confidence
from initreg.plugin.hookspecs import OpenOptions as OpenOptions
from initreg.plugin.hookspecs import SaveOptions as SaveOptions
from initreg.plugin.hookspecs import hookimpl as hookimpl
from initreg.plugin.installed import plugin_manager as plugin_manager
from initreg.plugin.installed import probe as probe
from initreg.plugin.part_names import PartSet as PartSet
from initreg.plugin.part_names import part_sets as part_sets
from initreg.plugin.probing import Probe as Probe
from initreg.plugin.source import Source as Source
from initreg.plugin.target import Part as Part
from initreg.plugin.target import PieceSpec as PieceSpec
from initreg.plugin.target import Target as Target
from initreg.plugin.training_hookspecs import Inference as Inference
from initreg.plugin.training_hookspecs import StateFile as StateFile
from initreg.plugin.verb_hookspecs import Verb as Verb
from initreg.specs import ArraySpec as ArraySpec
from initreg.specs import Automatic as Automatic
from initreg.specs import Chunk as Chunk
from initreg.specs import ChunkedExtent as ChunkedExtent
from initreg.specs import Codec as Codec
from initreg.specs import Extent as Extent
from initreg.specs import LayerSpec as LayerSpec
from initreg.specs import OpaqueExtent as OpaqueExtent
from initreg.specs import PartSpec as PartSpec
from initreg.specs import Place as Place
from initreg.specs import SlicedExtent as SlicedExtent
from initreg.specs import VariableSpec as VariableSpec
from initreg.state_specs import OptimizerSpec as OptimizerSpec
from initreg.state_specs import StateSpec as StateSpec
from initreg.storage.output import Output as Output
from initreg.storage.stand_ins import stand_in as stand_in
from initreg.store_paths import StorePath as StorePath
from initreg.varmanip import dump_session_params as dump_session_params
from initreg.varmanip import get_all_checkpoints as get_all_checkpoints
from initreg.varmanip import get_checkpoint_path as get_checkpoint_path
from initreg.varmanip import load_checkpoint_vars as load_checkpoint_vars
from initreg.varmanip import load_chkpt_vars as load_chkpt_vars
from initreg.varmanip import save_checkpoint_vars as save_checkpoint_vars
from initreg.varmanip import save_chkpt_vars as save_chkpt_vars

__version__: str

__all__ = [
    "AmbiguousNames",
    "AmbiguousSource",
    "ArrayDiff",
    "ArrayMap",
    "ArraySpec",
    "ArrayStats",
    "Automatic",
    "AxesWarning",
    "CastWarning",
    "ChainInit",
    "Chunk",
    "ChunkedExtent",
    "Claim",
    "Codec",
    "ComparedOutput",
    "ComparedOutputs",
    "Confidence",
    "DamagedFile",
    "DictRestore",
    "Diff",
    "Difference",
    "Dumped",
    "DuplicateName",
    "Extent",
    "HeatMap",
    "Hint",
    "Inference",
    "InitregError",
    "InitregWarning",
    "JustCurrentSession",
    "LayerDiff",
    "LayerSpec",
    "LazyArray",
    "LocalOnly",
    "Mapped",
    "MappedVariable",
    "MergeError",
    "MergePart",
    "MergePlan",
    "MergeRow",
    "MergeWarning",
    "Merged",
    "MetadataWarning",
    "MismatchError",
    "MismatchWarning",
    "MissingError",
    "MissingLibrary",
    "MissingWarning",
    "NamingWarning",
    "NonFinite",
    "NotEnoughMemory",
    "NothingMatched",
    "OpaqueExtent",
    "OpenOptions",
    "OpenQuestion",
    "OptimizerSpec",
    "Output",
    "Part",
    "PartSet",
    "PartSpec",
    "PartialRestoreError",
    "PieceSpec",
    "Place",
    "Plan",
    "PlanError",
    "PluginError",
    "Probe",
    "RandomStates",
    "Reading",
    "RefusedFile",
    "Report",
    "ReportedArray",
    "ReportedSource",
    "ReshapeWarning",
    "ResumePoint",
    "ResumeWarning",
    "Row",
    "RuleError",
    "SaveOptions",
    "Saved",
    "SaverRestore",
    "SaverRestoreRelaxed",
    "Shown",
    "ShownArray",
    "SlicedExtent",
    "SmartInit",
    "Source",
    "SourceNotFound",
    "StateFile",
    "StateSpec",
    "StateWarning",
    "Statistics",
    "Stats",
    "StorePath",
    "Target",
    "TargetError",
    "UnknownFormat",
    "UnknownTarget",
    "UnmetWarning",
    "UnreadableFile",
    "UnusedError",
    "UnusedWarning",
    "UnwritableFile",
    "VariableSpec",
    "Verb",
    "Verification",
    "Verified",
    "Way",
    "compare_outputs",
    "convert",
    "diff",
    "dump",
    "dump_session_params",
    "get_all_checkpoints",
    "get_checkpoint_path",
    "get_model_loader",
    "hookimpl",
    "load",
    "load_checkpoint_vars",
    "load_chkpt_vars",
    "map",
    "merge",
    "open",
    "part_sets",
    "plugin_manager",
    "probe",
    "report",
    "resume",
    "rules_text",
    "save",
    "save_checkpoint_vars",
    "save_chkpt_vars",
    "save_states",
    "show",
    "stand_in",
    "stats",
    "verify",
]
