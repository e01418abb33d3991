"""A failure as a script that needs only NumPy and the framework."""
