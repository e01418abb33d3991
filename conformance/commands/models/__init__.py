"""The commands for who trains a model of their own."""
