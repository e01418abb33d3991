"""Real models: how the judge does on them, and what capturing and judging cost."""
