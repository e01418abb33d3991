"""Scripts: what an adapter runs, as source that needs only the framework and NumPy."""
