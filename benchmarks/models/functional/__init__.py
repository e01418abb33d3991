"""Models of JAX, trained and judged."""
