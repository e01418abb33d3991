"""Capture of models of JAX: the arrays of each dense layer pass through the host, which keeps a copy."""
