"""Scripts: what an adapter runs, as source that needs the framework and NumPy alone."""
