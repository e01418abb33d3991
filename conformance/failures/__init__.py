"""One failure, made smaller and written as a script."""
