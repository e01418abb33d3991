"""Tests of the reference: the activations, the rule, and what it refuses."""
