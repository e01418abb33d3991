"""Which mutants are found, where, and by how much."""
