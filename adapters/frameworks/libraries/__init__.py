"""Adapters of libraries whose numbers another framework computes: layers on JAX, Keras, a compiler of PyTorch."""
