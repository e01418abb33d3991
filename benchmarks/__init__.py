"""Measurements, run by hand from the root of a checkout: `python -m benchmarks.reference_speed`."""
