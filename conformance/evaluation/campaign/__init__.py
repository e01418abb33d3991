"""A campaign: as many cases as wanted, over seeds and workers. Passes leave sums, and failures everything."""
