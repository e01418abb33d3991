"""The smallest case that fails in the same way."""
