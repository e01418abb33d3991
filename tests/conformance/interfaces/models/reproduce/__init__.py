"""Findings of traces as scripts."""
