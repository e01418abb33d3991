"""Commands that print facts about adapters, which are no verdicts."""
