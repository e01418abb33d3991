"""A finding of a trace as a script of the framework's own call."""
