"""The dense layers of a user's own model, judged from a trace of its training steps."""
