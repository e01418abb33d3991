"""Checks of a run as a whole: sums of errors from each group, and what they say of an adapter's arithmetic."""
