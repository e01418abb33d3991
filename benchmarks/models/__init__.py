"""Real models with random weights: how the judge of a user's own model does on them."""
