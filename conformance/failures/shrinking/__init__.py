"""Shrinking: from a failing case to the smallest case that fails in the same way."""
