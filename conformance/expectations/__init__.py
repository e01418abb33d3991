"""Known divergences of frameworks: how they are written, matched and audited."""
