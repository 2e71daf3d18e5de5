"""Saving and resuming ``fit``, for Keras 3 and ``tf_keras`` alike. Imports neither by itself."""
