"""One run: described, written down, read back and reported."""
