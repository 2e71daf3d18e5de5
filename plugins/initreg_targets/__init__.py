"""The targets in the wheel: one module each, which is one entry point each.

``tf_session``, ``tf_variables``, ``keras_model`` and ``mapping`` are the targets. The first three
have hooks only, because each process imports each plugin. ``session_writing``,
``plain_variables``, ``eager_targets`` and ``keras_variables`` are imported with the first object of
their kind. The other modules help them: ``frameworks`` asks what an object is, ``variables`` and
``tf_memory`` write variables, ``keras_layout`` gives the names in Keras's files.
"""
