"""Commands for who writes a port."""
