"""Commands about recorded runs: `kterm compare`, `kterm expect`, `kterm recheck` and `kterm rows`."""
