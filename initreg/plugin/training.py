"""What all plugins together know about training: checkpoints, slots, and what inference needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from initreg.errors import PluginError
from initreg.plugin.registry import Registry
from initreg.plugin.training_hookspecs import FileNames, Inference, StateFile
from initreg.specs import ArraySpec
from initreg.store_paths import FilePath

logger = logging.getLogger("initreg")


def checkpoints(registry: Registry, names: Collection[str]) -> dict[str, str]:
    """The checkpoints of a folder that are prefixes of files, and not files themselves.

    Args:
        registry: the plugins.
        names: the names of the files in the folder.

    Returns:
        The name of each checkpoint, with the name of its file that is written last.

    Raises:
        PluginError: a plugin failed. Otherwise a run might resume from an older checkpoint.
    """
    return _merged(_answers(registry, "initreg_checkpoints", names=names).values())


def checkpoints_and_states(
    registry: Registry, names: Collection[str], folder: FilePath
) -> tuple[dict[str, str], list[StateFile]]:
    """What :func:`checkpoints` returns, and the state files of the folder.

    Raises:
        PluginError: a plugin failed. Otherwise a run might resume from an older checkpoint.
    """
    given = FileNames(names, folder)
    answers = _answers(registry, "initreg_checkpoints", _checkpoints, names=given).values()
    states = [answer.state for answer in answers if getattr(answer, "state", None) is not None]
    return _merged(answers), states


def slots(registry: Registry, names: Collection[str], variables: Collection[str]) -> dict[str, str]:
    """The slots of an optimiser, each with its variable.

    If a plugin fails, that is logged. Its slots are then ordinary rows, and the plan is right.

    Args:
        registry: the plugins.
        names: names that may be those of slots.
        variables: names of variables.
    """
    failed: dict[str, str] = {}
    found = registry.calls.ask_each(
        "initreg_slots", failed, _mapping, names=names, variables=variables
    )
    for name, reason in failed.items():
        logger.warning("plugin %r failed to tell slots apart: %s", name, reason)
    return {k: v for k, v in _merged(found.values()).items() if k in names and v in variables}


def inference(registry: Registry, arrays: Sequence[ArraySpec]) -> Inference:
    """The arrays of a checkpoint that are not needed to use its model, according to all plugins.

    Args:
        registry: the plugins.
        arrays: the arrays of the checkpoint.

    Raises:
        PluginError: a plugin failed. Otherwise arrays that it knows might be published.
    """
    found = _answers(registry, "initreg_inference", _inference, arrays=arrays).values()
    names = {spec.name for spec in arrays}
    dropped = _merged(each.dropped for each in found)
    renamed = _merged(each.renamed for each in found)
    return Inference(
        {name: reason for name, reason in dropped.items() if name in names},
        {name: new for name, new in renamed.items() if name in names and name not in dropped},
    )


def parameter_files(registry: Registry) -> tuple[str, ...]:
    """The extensions of files that say which arrays of another file are a model's parameters."""
    found: list[str] = []
    for record in registry.records:
        plugin = registry.manager.get_plugin(record.name)
        if record.broken is None:
            found += getattr(plugin, "initreg_parameter_files", ())
    return tuple(dict.fromkeys(ending for ending in found if isinstance(ending, str) and ending))


def _answers(registry: Registry, hook: str, check: Any = None, **arguments: Any) -> dict[str, Any]:
    failed: dict[str, str] = {}
    found = registry.calls.ask_each(hook, failed, check or _mapping, **arguments)
    for name, reason in failed.items():
        raise PluginError(f"plugin {name!r} failed in {hook}: {reason}")
    return found


def _mapping(answer: Any) -> Mapping[str, str]:
    if answer is None:
        return {}
    if not isinstance(answer, Mapping) or not all(
        isinstance(text, str) for item in answer.items() for text in item
    ):
        raise PluginError(f"it returned {answer!r}, not a dict of str")
    return answer


def _checkpoints(answer: Any) -> Mapping[str, str]:
    state = getattr(answer, "state", None)
    if state is None:
        return _mapping(answer)
    if not isinstance(state, StateFile):
        raise PluginError(f"its state is a {type(state).__name__}, not a StateFile")
    for path in (each for item in _mapping(state.checkpoints).items() for each in item):
        if os.path.isabs(path) or os.pardir in Path(path).parts:
            raise PluginError(f"its state file names {path!r}, which is not in the folder")
    return _mapping(answer)


def _inference(answer: Any) -> Inference:
    if answer is None:
        return Inference()
    if not isinstance(answer, Inference):
        raise PluginError(f"it returned a {type(answer).__name__}, not an Inference")
    return Inference(_mapping(answer.dropped), _mapping(answer.renamed))


def _merged(answers: Any) -> dict[str, str]:
    """One dict. If two answers are about one name, that of the first plugin by name counts."""
    found: dict[str, str] = {}
    for answer in answers:
        found = {**answer, **found}
    return found
