"""How accurate each activation is, in units in the last place."""
