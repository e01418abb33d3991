"""Comparison of what a framework gives with the rule, entry by entry and in norm."""
