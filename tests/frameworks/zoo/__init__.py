"""Architectures that exist in torch and in Keras, each with random weights, for test_zoo.py."""
