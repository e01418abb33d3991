"""A failure as a script that needs NumPy and the framework alone."""
