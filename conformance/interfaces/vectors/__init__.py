"""Vectors: inputs, right answers and tolerances as files, for ports that cannot be called from here."""
