"""The ways in: Python, pytest, and the collectable suite."""
