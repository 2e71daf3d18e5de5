"""TF1 sessions: a hook that saves, and an ``init_fn`` that starts from weights, or goes on.

>>> saver = ModelSaver("run", every_n_steps=1000)  # doctest: +SKIP
>>> scaffold = tf.compat.v1.train.Scaffold(init_fn=init_fn("base.npz", saver))  # doctest: +SKIP
>>> with tf.compat.v1.train.MonitoredTrainingSession(  # doctest: +SKIP
...     scaffold=scaffold, hooks=[saver], save_checkpoint_steps=None, save_checkpoint_secs=None
... ) as session: ...
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import tensorflow as tf

from initreg.api.resuming import ResumePoint, resume, states_of
from initreg.api.smart_init import SmartInit
from initreg.errors import InitregError, SourceNotFound
from initreg.trainers.tf1_saving import CheckpointWriter, give_states

v1 = tf.compat.v1


class ModelSaver(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """Saves the variables, the step and the states of ``objects``, and the graph once.

    ``directory``: where, made if it is missing. Every ``every_n_steps`` steps or ``every_n_secs``
    seconds, and at the end. ``max_to_keep``: how many of the newest stay; of those that would go,
    one in ``keep_checkpoint_every_n_hours`` stays for good. ``objects``: by name, what has
    ``state_dict()`` and ``load_state_dict(state)``: a position in the data, a
    :class:`initreg.RandomStates`. ``var_list`` as of ``tf.compat.v1.train.Saver``.

    The graph needs a global step. A save that the disk refuses is logged, and training goes on.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        every_n_steps: int | None = None,
        every_n_secs: float | None = None,
        max_to_keep: int | None = 10,
        keep_checkpoint_every_n_hours: float | None = 0.5,
        objects: Mapping[str, Any] | None = None,
        var_list: Any = None,
    ) -> None:
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("give either every_n_steps or every_n_secs")
        self.directory = Path(os.path.abspath(os.path.expanduser(directory)))
        self.objects = dict(objects or {})
        states_of(self.objects)  # raises now, rather than at the first save
        self._timer = v1.train.SecondOrStepTimer(every_n_secs, every_n_steps)
        self._options = (max_to_keep, keep_checkpoint_every_n_hours, var_list)
        self._writer: CheckpointWriter | None = None
        self._point: ResumePoint | None = None
        self._last: int | None = None

    def go_on(self, point: ResumePoint) -> None:
        """Give the objects their states, and count on: called by :func:`init_fn`."""
        self._point = point

    def begin(self) -> None:
        self._step = v1.train.get_global_step()
        if self._step is None:
            raise InitregError(
                "the graph has no global step: call tf.compat.v1.train.get_or_create_global_step()"
            )
        most, hours, var_list = self._options
        self._writer = CheckpointWriter(
            self.directory, max_to_keep=most, every_n_hours=hours, var_list=var_list
        )

    def after_create_session(self, session: Any, coord: Any) -> None:
        assert self._writer is not None
        with session.graph.as_default():
            self._writer.export_meta_graph(f"graph-{datetime.now():%m%d-%H%M%S}.meta")
        point, self._point = self._point, None
        self._last = None
        if point is not None:
            give_states(point.states, self.objects, str(point.path))
            self._writer.go_on(point.states)
            self._last = point.step
        self._timer.reset()
        self._timer.update_last_triggered_step(session.run(self._step))

    def before_run(self, run_context: Any) -> Any:
        return v1.train.SessionRunArgs(self._step)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        # The value may be from before the step that was just made.
        if self._timer.should_trigger_for_step(run_values.results + 1):
            step = run_context.session.run(self._step)
            if self._timer.should_trigger_for_step(step):
                self._timer.update_last_triggered_step(step)
                self._save(run_context.session, int(step))

    def end(self, session: Any) -> None:
        step = int(session.run(self._step))
        if step != self._last:
            self._save(session, step)

    def _save(self, session: Any, step: int) -> None:
        assert self._writer is not None
        states = states_of(self.objects)
        if self._writer.save(session, step, epoch=None, states=states) is not None:
            self._last = step


def init_fn(
    source: Any = None, saver: ModelSaver | None = None, *, verify: bool = False, **options: Any
) -> Callable[[Any, Any], None]:
    """What ``tf.compat.v1.train.Scaffold(init_fn=...)`` takes: fill the session from ``source``,
    or, if ``saver`` has a whole checkpoint, go on from that.

    It is called once the variables are initialised, so what the source does not have keeps its
    initial value. ``options`` are those of :class:`initreg.SmartInit`, for ``source``; ``verify``:
    check all bytes of a checkpoint before it is taken. Give MonitoredTrainingSession no
    ``checkpoint_dir``: it would restore by itself, and call no ``init_fn``.
    """
    start = SmartInit(source, **options)

    def call(scaffold: Any, session: Any) -> None:
        point = None
        if saver is not None:
            try:
                point = resume(saver.directory, verify=verify)
            except SourceNotFound:  # a first start
                point = None
        if point is None:
            if source is not None:
                start.init(session)
            return
        SmartInit(point.path).init(session)
        assert saver is not None
        saver.go_on(point)

    return call
