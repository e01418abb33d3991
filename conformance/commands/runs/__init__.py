"""Commands about recorded runs: `kterm recheck` and `kterm rows`."""
