"""The exit codes of all commands."""

CONFORMS = 0
DOES_NOT = 1
USAGE = 2
"""A usage or configuration error."""
NOT_LOADED = 3
"""An adapter could not be loaded, or no framework is installed."""
INTERRUPTED = 130
TERMINATED = 143
"""128 and the number of SIGTERM, as shells have it."""
