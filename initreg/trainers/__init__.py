"""For trainers: start from saved weights, save checkpoints, resume. One module per trainer.

Users import ``keras``, ``tf_keras``, ``tensorpack`` or ``tf1``. ``any_keras`` is what the two
modules for Keras have in common, and ``shared`` is what all of them have in common.

Only modules of this package import a framework, and each imports its own. Nothing else in the
kernel imports them, except ``varmanip``, inside a function.
"""
