"""The error of everything that reads or writes traces."""


class TraceError(ValueError):
    """A trace that cannot be read or written, or a model that cannot be captured; one line: what, where, what to do."""
