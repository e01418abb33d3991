"""What capturing and judging a user's own model costs."""
