"""Commands about recorded runs: `kterm recheck`, `kterm rows` and `kterm expect`."""
