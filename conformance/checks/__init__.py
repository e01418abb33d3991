"""From answers to verdicts: comparison with the rule, the contract, the layout, and repeated calls."""
