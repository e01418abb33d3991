"""Adapters of frameworks beside PyTorch and JAX, one file each."""
