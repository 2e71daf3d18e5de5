"""Several processes that train one model: which one writes, and what they agree on.

These are the workers of a ``tf.distribute.MultiWorkerMirroredStrategy``. To read a variable, all of
them may have to take part, so all do the same work, and one of them writes.

Source: ``is_chief`` in TensorFlow's python/distribute/multi_worker_util.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from initreg.api import sidecars
from initreg.api.resuming import ResumePoint
from initreg.errors import InitregError

_SEVERAL = ("CollectiveAllReduceStrategy", "CollectiveAllReduceStrategyV1")
_NONE = -1  # instead of an epoch or a step that is not known


def strategy_of(model: Any) -> Any | None:
    """The ``tf.distribute.Strategy`` that a model was made under, None if there was none."""
    strategy = getattr(model, "distribute_strategy", None)
    is_default = type(strategy).__name__.startswith("_Default")
    return strategy if hasattr(strategy, "scope") and not is_default else None


def scope_of(model: Any) -> AbstractContextManager[Any]:
    """The scope in which variables for a model are made, so that they are spread as its own."""
    strategy = strategy_of(model)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def is_one_of_several(model: Any) -> bool:
    """Whether other processes train the same model."""
    strategy = strategy_of(model)
    kinds = [base.__name__ for base in type(strategy).__mro__]
    return any(kind in kinds for kind in _SEVERAL) and _task_count(strategy) > 1


def is_writer(model: Any) -> bool:
    """Whether this process is the one that writes files."""
    if not is_one_of_several(model):
        return True
    resolver: Any = strategy_of(model).cluster_resolver  # type: ignore[union-attr]
    if resolver.task_type in ("chief", "evaluator", None):
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return not has_chief and resolver.task_type == "worker" and int(resolver.task_id) == 0


def _task_count(strategy: Any) -> int:
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None:
        return 1
    jobs = resolver.cluster_spec().as_dict()
    return sum(len(tasks) for job, tasks in jobs.items() if job in ("chief", "worker"))


def agreed(model: Any, find: Callable[[], ResumePoint | None]) -> ResumePoint | None:
    """The checkpoint that ``find`` returns, if all workers find the same one.

    Each worker calls it, and waits here for the others.

    Raises:
        InitregError: the workers found different ones, or one of them could not look.
    """
    if not is_one_of_several(model):
        return find()
    point, failed = None, None
    try:
        point = find()
        own = _described(point)
    except Exception as error:  # the others must not wait for good
        failed, own = error, [1, _NONE, _NONE, 0]
    rows = _gathered(strategy_of(model), own)
    if any(row != rows[0] or row[0] for row in rows):
        # A worker that ends now would break off the gathering of those that are behind. Nobody ends
        # before all have gathered, if they gather twice.
        with contextlib.suppress(Exception):
            _gathered(strategy_of(model), own)
    if failed is not None:
        raise failed
    broken = [number for number, row in enumerate(rows) if row[0]]
    if broken:
        raise InitregError(
            f"the workers do not resume: worker {broken[0]} of {len(rows)} cannot read its folder. "
            "Its own error says why"
        )
    if any(row != rows[0] for row in rows):
        found = "; ".join(f"worker {number}: {_text(row)}" for number, row in enumerate(rows))
        raise InitregError(
            "the workers would resume from different checkpoints, and nothing was changed: "
            f"{found}. Give the ModelSavers of all workers one shared folder, or copy the folder "
            "of the first worker to all others"
        )
    return point


def _described(point: ResumePoint | None) -> list[int]:
    """Whether looking failed, the epoch, the step, and a digest of the files. All are numbers."""
    if point is None:
        return [0, _NONE, _NONE, 0]
    sidecar = sidecars.read_sidecar(sidecars.sidecar_of(point.path))
    files = {} if sidecar is None else sidecar["files"]
    sums = "".join(
        f"{name} {files[name]['size']} {files[name]['crc32c']};" for name in sorted(files)
    )
    if not sums:
        sums = sidecars.digest_text(point.path)
    epoch = _NONE if point.epoch is None else point.epoch
    step = _NONE if point.step is None else point.step
    return [0, epoch, step, sidecars.checksum_of(sums)]


def _text(row: Sequence[int]) -> str:
    _, epoch, step, digest = row
    if (epoch, step, digest) == (_NONE, _NONE, 0):
        return "none"
    known = [f"{name} {value}" for name, value in (("epoch", epoch), ("step", step)) if value >= 0]
    return ", ".join([*known, f"crc32c {digest:08x}"])


def _gathered(strategy: Any, row: list[int]) -> list[list[int]]:
    """The rows of all workers, in their order."""
    import tensorflow as tf

    local = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([row], tf.int64)
    )
    found: Any = strategy.gather(local, axis=0).numpy()
    replicas = len(found) // _task_count(strategy)  # of each worker, which all say the same
    return [[int(number) for number in each] for each in found[::replicas]]
