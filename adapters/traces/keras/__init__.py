"""Capture of Keras models, on PyTorch and on JAX: each keeps the way that gradients go in the backend."""
