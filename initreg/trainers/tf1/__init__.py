"""TF1 sessions: a hook that saves, and an ``init_fn`` that starts from weights or resumes.

>>> saver = ModelSaver("run", every_n_steps=1000)  # doctest: +SKIP
>>> scaffold = tf.compat.v1.train.Scaffold(init_fn=init_fn("base.npz", saver))  # doctest: +SKIP
>>> with tf.compat.v1.train.MonitoredTrainingSession(  # doctest: +SKIP
...     scaffold=scaffold, hooks=[saver], save_checkpoint_steps=None, save_checkpoint_secs=None
... ) as session: ...
"""

from __future__ import annotations

from initreg.trainers.tf1.hook import ModelSaver, init_fn

__all__ = ["ModelSaver", "init_fn"]
