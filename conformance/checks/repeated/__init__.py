"""Calls beside those of the cases: repeats, many calls in turn, and twin programs."""
