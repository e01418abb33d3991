"""Capture of PyTorch models."""
