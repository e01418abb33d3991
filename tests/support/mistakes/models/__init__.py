"""Traces of small models, right or with a mistake in one layer."""
