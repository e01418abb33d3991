"""Traces of training steps: what each dense layer was given and gave, as a framework delivered it."""
