"""One failure: the smallest case that fails in the same way, and a script that shows it without this suite."""
