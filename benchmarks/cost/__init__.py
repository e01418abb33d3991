"""What the suite costs: its tests, its link to adapters, its caches."""
