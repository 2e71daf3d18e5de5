"""The hook that saves a TF1 session, and the ``init_fn`` that resumes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from initreg.api.resuming import ResumePoint
from initreg.api.sidecars import states_of
from initreg.api.smart_init import SmartInit
from initreg.errors import InitregError
from initreg.trainers.shared.run_folder import anywhere, newest
from initreg.trainers.shared.states import with_states
from initreg.trainers.tf1.checkpoints import CheckpointWriter
from initreg.trainers.tf1.initialising import check_workers, initialise_rest, restored_by
from initreg.trainers.tf1.restoring import Restoration

v1 = tf.compat.v1


class ModelSaver(tf.compat.v1.train.SessionRunHook):  # type: ignore[misc]
    """Saves the variables, the step and the states of ``objects``, and the graph once.

    It saves every so many steps or seconds, and at the end. The graph needs a global step. A save
    that fails, as on a full disk, is logged, and training goes on.

    Args:
        directory: where to save: a folder, which is made if it is missing, or a URL.
        every_n_steps: how often to save. Give either this or ``every_n_secs``.
        every_n_secs: how often to save, in seconds.
        max_to_keep: how many of the newest checkpoints to keep. None keeps all.
        keep_checkpoint_every_n_hours: of the older checkpoints, one in so many hours is kept for
            good. None keeps none of them.
        objects: by name, what has ``state_dict()`` and ``load_state_dict(state)``, such as a
            position in the data or a :class:`initreg.RandomStates`.
        var_list: as in ``tf.compat.v1.train.Saver``. By default what the Saver of the Scaffold
            saves, if :func:`init_fn` is given the saver, or else all that a Saver saves.
        storage_options: for a URL: what fsspec's file system is made with.

    Raises:
        ValueError: neither ``every_n_steps`` nor ``every_n_secs`` is given, or both.
        InitregError: an object has no ``state_dict()`` and ``load_state_dict(state)``.

    >>> saver = ModelSaver("run", every_n_steps=1000, max_to_keep=5)  # doctest: +SKIP
    >>> scaffold = v1.train.Scaffold(init_fn=init_fn("base.npz", saver))  # doctest: +SKIP
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
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("give either every_n_steps or every_n_secs")
        self.directory = anywhere(directory, storage_options)
        self.objects = with_states(objects)
        self._timer = v1.train.SecondOrStepTimer(every_n_secs, every_n_steps)
        self._options = (max_to_keep, keep_checkpoint_every_n_hours, var_list)
        self._writer: CheckpointWriter | None = None
        self._point: ResumePoint | None = None
        self._last: int | None = None
        self._restoration: Restoration | None = None

    # Called by init_fn.

    def use(self, saver: Any) -> None:
        """Save and restore as the Saver of the Scaffold does, unless there is a ``var_list``."""
        if self._writer is not None:
            self._writer.use(saver)

    def restore(self, session: Any, point: ResumePoint, saver: Any) -> set[str]:
        """Restore what was saved. ``saver`` is that of the Scaffold, for a session that does not
        have this hook. Returns the names of the global variables that were restored."""
        if self._writer is not None:
            self._restoration = self._writer.restore(session, point.path, is_last=False)
            return self._restoration.variables
        if getattr(saver, "saver_def", None) is None:
            return restored_by(SmartInit(point.path).init(session))
        restoration = Restoration(session, saver.as_saver_def())
        restoration.run(point.path)
        return restoration.variables

    def go_on(self, point: ResumePoint) -> None:
        """Resume from the checkpoint that was restored."""
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
        restoration, self._restoration = self._restoration, None
        if restoration is not None:  # local_init_op has run since
            restoration.again()
        with session.graph.as_default():
            self._writer.export_meta_graph()
        point, self._point = self._point, None
        self._last = None
        if point is not None:
            self._writer.go_on(point, self.objects)
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
    """An ``init_fn`` for ``tf.compat.v1.train.Scaffold``: start from weights, or resume.

    The session is filled from ``source``, or, if ``saver`` has a complete checkpoint, from that.
    A variable that the source does not have keeps its initial value, or gets it afterwards if the
    scaffold's ``init_op`` has not initialised it. A resume restores all that the saver saves:
    variables by the names of ``var_list``, tables, iterators and every other ``SaveableObject``. Do
    not give MonitoredTrainingSession a ``checkpoint_dir``: it would restore by itself, and never
    call ``init_fn``.

    The workers of a cluster begin when all variables are initialised. Give the scaffold
    ``init_op=tf.no_op()`` there, on the chief and on the workers. The scaffold's own ``init_op``
    initialises them before ``init_fn`` is called, so that a worker can begin with initial values.
    With ``init_op=tf.no_op()`` on a server, whatever is not restored is initialised, also if it has
    a value: that of a training whose chief was killed.

    Args:
        source: as in :class:`initreg.SmartInit`. None starts with the initial values. A file must
            exist when this is called, unless ``saver`` has a complete checkpoint by then.
        saver: the hook that saves this session. Its ``objects`` get their states, too.
        verify: whether to check all bytes of a checkpoint before it is taken.
        options: those of :class:`initreg.SmartInit`, for ``source``.

    Returns:
        A function of a scaffold and a session. It raises InitregError as
        :meth:`initreg.SmartInit.init` does, and DamagedFile for a state that an object does not
        take. It warns if other workers of the cluster may have begun before.

    Raises:
        InitregError: the source does not exist, no format claims it, or a rule matches nothing.

    >>> start = init_fn("base.npz", saver, on_missing="ignore")  # doctest: +SKIP
    >>> scaffold = tf.compat.v1.train.Scaffold(init_fn=start)  # doctest: +SKIP
    """
    start = SmartInit(source, **options)
    if saver is None or newest(saver.directory, report=lambda text: None) is None:
        start.check()  # rather than after the graph was built and its variables initialised

    def call(scaffold: Any, session: Any) -> None:
        check_workers(scaffold, session)
        initialise_rest(scaffold, session, restore(scaffold, session))

    def restore(scaffold: Any, session: Any) -> set[str]:
        its_saver = getattr(scaffold, "saver", None)
        if saver is not None:
            with session.graph.as_default():
                saver.use(its_saver)
        point = None if saver is None else newest(saver.directory, verify=verify)
        if point is None:
            return set() if source is None else restored_by(start.init(session))
        assert saver is not None
        restored = saver.restore(session, point, its_saver)
        saver.go_on(point)
        return restored

    return call
